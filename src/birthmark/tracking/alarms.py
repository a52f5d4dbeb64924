"""Alarms while training runs: jumps, a loss that diverges, forgotten starts.

The false-alarm rate and the lead time of the jumps were measured (`make alarms`, and
docs/how-to/track.md): no alarm in 300,000 records of made curves without a jump.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Finding
from birthmark.statistics import JumpAlarm, norm

_LOSS = "loss"  # the name under which `Tracker.log` is given it
_ONE_IN_A_MILLION = 4.75  # standard errors, one-sided
_SEEN_FIRST = 10.0  # of them must a correlation have stood above chance to be lost


class Alarms:
    """What is watched between two records, and what was said of it so far.

    Attributes:
        findings: One for each alarm that was raised.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._jumps = {"deviation": JumpAlarm(), _LOSS: JumpAlarm()}
        self._logs: list[float] = []
        self._loss = Divergence()
        self._readable: set[str] = set()

    def note(self, values: Mapping[str, float]) -> None:
        """Take the loss of a step."""
        if _LOSS not in values:
            return
        loss = values[_LOSS]
        self._loss.note(loss)
        if loss > 0 and math.isfinite(loss):
            self._logs.append(math.log(loss))

    def measured(self, step: int, found: xr.Dataset) -> list[Finding]:
        """Take a record; returns the alarms that it raises."""
        raised = []
        distance = found["distance"].isel(replica=0).values
        curves = {"deviation": float(norm(distance[~np.isnan(distance)]))}
        if self._logs:
            curves[_LOSS] = math.exp(float(np.median(self._logs)))
            self._logs = []
        for name, value in curves.items():
            if self._jumps[name].update(step, value):
                raised.append(_jumped(name, step, value))
        lost = self._loss.measured(step)
        if lost is not None:
            raised.append(lost)
        if "correlation" in found:
            raised += self._forgotten(step, found)
        self.findings += raised
        return raised

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` goes on."""
        return {
            "jumps": {name: one.state_dict() for name, one in self._jumps.items()},
            "logs": list(self._logs),
            "loss": self._loss.state_dict(),
            "readable": sorted(self._readable),
            "findings": [(f.what, f.name, list(f.where)) for f in self.findings],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state_dict` was taken."""
        for name, one in self._jumps.items():
            one.load_state_dict(state["jumps"][name])
        self._loss.load_state_dict(state.get("loss", {}))
        self._logs, self._readable = list(state["logs"]), set(state["readable"])
        self.findings = [
            _finding(name, what, tuple(where))
            for what, name, where in state["findings"]
        ]

    def _forgotten(self, step: int, found: xr.Dataset) -> list[Finding]:
        """Tensors whose start could be read and cannot any more."""
        sizes = found["size"].values
        correlations = found["correlation"].isel(replica=0).values
        lost = []
        for name, size, value in zip(
            found["parameter"].values.tolist(), sizes, correlations, strict=True
        ):
            errors = value * math.sqrt(size)  # of chance the correlation has 1/sqrt(N)
            if errors > _SEEN_FIRST:
                self._readable.add(name)
            elif name in self._readable and errors < _ONE_IN_A_MILLION:
                self._readable.discard(name)
                lost.append(name)
        if not lost:
            return []
        what = f"the start of {', '.join(lost[:5])} can be read no more, at step {step}"
        return [_finding("forgotten", what, tuple(lost))]


class Divergence:
    """Whether the loss is no number, or higher than before anything was learned.

    The null model is the network itself when its training began: a loss that has been
    below the highest of its first records and is above it at three in a row, by more
    than single losses scatter, is worse than no training.
    """

    def __init__(self) -> None:
        self._early: list[float] = []  # the losses of the first steps
        self._highest = -math.inf  # median loss of one of the first records
        self._since: list[float] = []  # the last record
        self._count = {"all": 0, "below": 0, "above": 0}  # records; above: in a row
        self._told: set[str] = set()

    def note(self, loss: float) -> None:
        """Take the loss of a step."""
        if len(self._early) < _EARLY_STEPS:
            self._early.append(loss)
        self._since.append(loss)

    def measured(self, step: int) -> Finding | None:
        """Take a record; what there is to say of the losses since the last one."""
        since, self._since = self._since, []
        if not since:
            return None
        if not all(map(math.isfinite, since)):
            return self._say("loss_nonfinite", f"the loss is no number at step {step}")
        middle, count = float(np.median(since)), self._count
        count["all"] += 1
        if count["all"] <= _EARLY_RECORDS:
            self._highest = max(self._highest, middle)
            return None
        if middle < self._highest:
            count["below"], count["above"] = count["below"] + 1, 0
        elif middle > self._highest + _ERRORS * self._scatter():
            count["above"] += 1
        else:
            count["above"] = 0
        if min(count["below"], count["above"]) < _IN_A_ROW:
            return None
        what = (
            f"the loss is {middle:.4g} at step {step}, above the {self._highest:.4g} "
            "with which it began"
        )
        return self._say("divergence", what)

    def _scatter(self) -> float:
        """Standard deviation of single early losses, by two estimates the larger."""
        early = np.array(self._early)
        # half of all normal numbers lie within 0.6745 deviations
        about = np.median(np.abs(early - np.median(early)))
        between = np.median(np.abs(np.diff(early))) / math.sqrt(2)
        return float(max(about, between)) / 0.6745

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` goes on."""
        return {
            "early": list(self._early),
            "highest": self._highest,
            "since": list(self._since),
            "count": dict(self._count),
            "told": sorted(self._told),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state_dict` was taken; an older state knows nothing of it."""
        if "early" not in state:
            return
        self._early, self._highest = list(state["early"]), state["highest"]
        self._since, self._count = list(state["since"]), dict(state["count"])
        self._told = set(state["told"])

    def _say(self, name: str, what: str) -> Finding | None:
        """Once."""
        if name in self._told:
            return None
        self._told.add(name)
        return _finding(name, what, ())


def _jumped(curve: str, step: int, value: float) -> Finding:
    what = f"the {curve} has jumped at step {step}, to {value:.4g}"
    return _finding(f"{curve}_jump", what, ())


def _finding(name: str, what: str, where: tuple[str, ...]) -> Finding:
    why, how, advice = _WORDS[name]
    level: Any = "error" if name in ("loss_nonfinite", "divergence") else "warning"
    return Finding(what, why, how, "", level, {}, name, where, advice)


_EARLY_STEPS = 128  # whose losses tell how much single ones scatter
_EARLY_RECORDS = 8  # with which a training begins
_IN_A_ROW = 3  # records
_ERRORS = 4.0  # standard deviations of a single loss
_CUSUM = "cumulative sum of what ln x rises beyond its own trend and scatter"
_WORDS = {
    "deviation_jump": (
        "the weights leave where they were: in networks that lost all they had learned "
        "this came before the plateau of the loss, and after its first rise",
        _CUSUM,
        "look at the loss; go back to an earlier checkpoint, with a smaller rate",
    ),
    "loss_jump": (
        "what was learned is being lost, or the data have changed",
        _CUSUM,
        "look at the batches of these steps; lower the learning rate",
    ),
    "divergence": (
        "what was learned is lost: the network is worse than before its training",
        "median loss since the last record above the highest of the first eight "
        "records, by 4 standard deviations of single losses, at three in a row",
        "go back to an earlier checkpoint, with a smaller learning rate",
    ),
    "loss_nonfinite": (
        "from there on nothing is learned",
        "a logged loss is NaN or Inf",
        "go back to a checkpoint before that step, with a smaller learning rate",
    ),
    "forgotten": (
        "nothing of the initial configuration is left there",
        "correlation with the start, in standard errors of chance, 1 / sqrt(N)",
        "",
    ),
}
