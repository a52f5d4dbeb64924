"""What the records of the four tests near the start say, and claim (g) as statements.

Claim (g), that minima are found only near the start, stands as statements to break.
Whether minima are found from a start that was moved far away is no test of it: a moved
start is another random start, near which there may be minima as well. That stands on
the page as what it is, without a verdict.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.analysis import say_number
from birthmark.shapes import Array
from birthmark.statistics import ALPHA, describe_differences, interval
from ..frame import Facts, each
from ..paper.claims import (
    DOES_NOT_HOLD,
    HOLDS,
    NOT_SAID,
    Claim,
    Evidence,
    weigh,
    weigh_share,
)
from ..paper.words import say_power


@dataclass(frozen=True)
class Kept:
    """Training that was kept in a ball, beside free training."""

    name: str  # which ball
    gain_R: Array  # accuracy at the end, minus that of free training
    lost_R: Array  # whether it lost what it had learned

    @property
    def p_lost(self) -> float:
        """Whether more than half lose it: the exact binomial test."""
        k, n = int(self.lost_R.sum()), len(self.lost_R)
        return float(stats.binomtest(k, n, 0.5, "greater").pvalue)


@dataclass(frozen=True)
class Trials:
    """What the replicas trained by one loss showed."""

    arm: str  # the loss in plain words
    lost_R: Array  # whether free training lost what it had learned
    near: Kept  # in a ball around the start
    short: Kept | None = None  # in a ball around zero, if this was tried

    def saves(self, kept: Kept) -> bool | None:
        """Whether a ball keeps what free training loses; None: not known."""
        half = len(self.lost_R) / 2
        if self.lost_R.sum() <= half:
            return None  # there was nothing to be kept
        if kept.lost_R.sum() > half:
            return False if kept.p_lost <= ALPHA else None
        return True if _weigh_gain(self, kept).side == 1 else None

    def p_of(self, kept: Kept) -> float:
        """P of the test that `saves` rests on; NaN where it says nothing."""
        saved = self.saves(kept)
        if saved is None:
            return math.nan
        return _weigh_gain(self, kept).p if saved else kept.p_lost


def find_claims(trials: list[Trials]) -> list[Claim]:
    """Both statements, on one data set; the verdicts are those of the first loss."""
    near = [(one, one.near) for one in trials]
    short = [(one, one.short) for one in trials if one.short]
    # that a ball around zero saves a network speaks against the start
    return [_claim("g1", near, HOLDS, DOES_NOT_HOLD)] + [
        _claim("g2", short, DOES_NOT_HOLD, HOLDS)
        if trials[0].short
        else Claim("g2", NOT_SAID, math.nan, "It was not tried.", "none")
    ]


def _claim(
    letter: str, tried: list[tuple[Trials, Kept]], if_saved: str, if_lost: str
) -> Claim:
    first, kept = tried[0]
    evidence: list[Evidence] = []
    for one, ball in tried:
        evidence.append(_weigh_gain(one, ball))
        for name, lost_R in (("free", one.lost_R), (ball.name, ball.lost_R)):
            words = f"share that lost what it learned, {name}"
            evidence.append(weigh_share(words, one.arm, lost_R))
    return Claim(
        letter,
        {True: if_saved, False: if_lost, None: NOT_SAID}[first.saves(kept)],
        first.p_of(kept),
        " ".join(_say_lost(one, ball) for one, ball in tried),
        say_power([len(first.lost_R)]),
        tuple(evidence),
    )


def _weigh_gain(one: Trials, kept: Kept) -> Evidence:
    name = f"accuracy at the end, {kept.name} minus free"
    return weigh(name, one.arm, kept.gain_R, 0)


def _say_lost(one: Trials, kept: Kept) -> str:
    gain = _weigh_gain(one, kept)
    return (
        f"With the {one.arm} {int(one.lost_R.sum())} of {len(one.lost_R)} networks "
        f"lost what they had learned when free, and {int(kept.lost_R.sum())} "
        f"{kept.name}; the accuracy there is {say_number(gain.value)} higher "
        f"(95 % interval {say_number(gain.low)} to {say_number(gain.high)})."
    )


GOOD = 2.0  # times the train loss of free training: as good, in the ball
LEARNED = 0.5  # of the examples right, at least: what can be lost


@dataclass(frozen=True)
class NearTheStartFacts(Facts):
    """Means with intervals along each test, and paired differences."""

    protocol: str
    num_replicas: int
    line: Mapping[str, Any]
    reset: Mapping[str, Mapping[str, Any]]
    ball: Mapping[str, Any]
    moved: Mapping[str, Any]
    claims: Sequence[Claim]
    good: float = GOOD


def summarize(results: xr.Dataset) -> NearTheStartFacts:
    """Means with intervals along each test, and paired differences."""
    return NearTheStartFacts.read(
        results,
        line=_describe_line(results),
        reset=_table(results, "reset", "reset"),
        ball=_describe_ball(results),
        moved=_describe_moves(results),
        claims=find_claims([_read_trials(results)]),
    )


def _describe_line(results: xr.Dataset) -> dict[str, Any]:
    alphas = results["alpha"].to_numpy()
    loss_AR = results["line_train_loss"].transpose("alpha", "replica").to_numpy()
    inside = (alphas >= 0) & (alphas <= 1)
    rises = np.diff(loss_AR[inside], axis=0).max(axis=0)
    best_R = alphas[loss_AR.argmin(axis=0)]
    return {
        "best_alpha": interval(best_R),
        "largest_rise": float(rises.max()),
        "beyond": interval(results["line_train_loss"].isel(alpha=-1)),
        "before": interval(results["line_train_loss"].isel(alpha=0)),
        "last_alpha": float(alphas[-1]),
        "first_alpha": float(alphas[0]),
    }


def _describe_ball(results: xr.Dataset) -> dict[str, Any]:
    """The smallest ball in which the train loss is as good as that of free training."""
    loss = results["ball_train_loss"].transpose("radius", "replica").to_numpy()
    free = results["moved_end_train_loss"].sel(move=0).to_numpy()
    radii = results["radius"].to_numpy()
    good = loss <= GOOD * free
    least = np.where(good.any(axis=0), radii[good.argmax(axis=0)], np.nan)
    accuracy = results["ball_test_accuracy"]
    free_accuracy = results["moved_end_test_accuracy"].sel(move=0)
    return {
        "table": _table(results, "ball", "radius"),
        "least_good": interval(least),
        "best_accuracy_radius": float(accuracy.mean("replica").idxmax("radius")),
        "differences": _against(accuracy, free_accuracy, "radius"),
    }


def _describe_moves(results: xr.Dataset) -> dict[str, Any]:
    """Ends of training from moved starts, against the end from the start itself."""
    table = _table(results, "moved_end", "move")
    for key, one in each(results, "move").items():
        table[key]["way"] = interval(one["moved_way"])
        table[key]["from_start"] = interval(one["moved_from_start"])
        table[key]["before"] = interval(one["moved_train_loss"])
    compared = {
        "accuracy": results["moved_end_test_accuracy"],
        "log_loss": xr.ufuncs.log(results["moved_end_train_loss"]),
        "way": results["moved_way"],
    }
    return {"table": table} | {
        what: _against(values[values["move"] > 0], values.sel(move=0), "move")
        for what, values in compared.items()
    }


def _table(results: xr.Dataset, prefix: str, dim: str) -> dict[Any, dict[str, Any]]:
    names = ("train_loss", "test_loss", "test_accuracy")
    return {
        key: {name: interval(one[f"{prefix}_{name}"]) for name in names}
        for key, one in each(results, dim).items()
    }


def _against(
    values: xr.DataArray, reference: xr.DataArray, dim: str
) -> dict[Any, dict[str, float]]:
    return describe_differences(each(values, dim), reference)


def _read_trials(results: xr.Dataset) -> Trials:
    """For claim (g): the widest ball that is narrower than the way of training."""
    radius = max(r for r in results["radius"].to_numpy().tolist() if r < 1)
    accuracy = results["ball_test_accuracy"].sel(radius=radius)
    free = results["moved_end_test_accuracy"].sel(move=0)
    name = f"in a ball of {radius:g} around the start"
    gain, lost = accuracy - free, accuracy < LEARNED
    near = Kept(name, gain.to_numpy(), lost.to_numpy())
    return Trials("loss from logits", (free < LEARNED).to_numpy(), near)
