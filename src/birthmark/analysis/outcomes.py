"""What training from a start has come to: one number a replica for each outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from birthmark.analysis.studies import curves, fact
from birthmark.analysis.transitions import chance_loss
from birthmark.errors import SpecError, StoreError
from birthmark.shapes import OUTPUT, Array
from birthmark.spec import RunSpec
from birthmark.statistics import Outcome, unit_of

if TYPE_CHECKING:
    import xarray as xr

LEVELS = (0.5, 0.25, 0.1)  # of the loss of chance


@dataclass(frozen=True)
class Candidate:
    """What was trained from one initialization, with its records."""

    name: str
    spec: RunSpec
    records: xr.Dataset  # as docs/internals.md describes them
    run_key: str = ""  # '' where nothing was stored
    # names of the user's own model, data, loss and optimizer, where there are such
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def how(self) -> str:
        """How replicas were trained: `one by one`, or `as a stack`."""
        alone = self.records.attrs.get("how") == "one by one"
        return "one by one" if alone else "as a stack"

    @property
    def step_T(self) -> Array:
        """Recorded steps."""
        return self.records["step"].to_numpy().astype(float)

    @property
    def chance(self) -> float:
        """The loss of a guess; of a user's own loss, the median at the start."""
        if "loss" in self.own:
            return float(fact(self.records, "loss_at_start"))
        return chance_loss(self.spec, int(fact(self.records, "num_classes")))

    @property
    def has_classes(self) -> bool:
        """Whether answers are right or wrong."""
        return bool(self.records.attrs.get("num_classes")) and bool(
            np.isfinite(self.curve("test_accuracy")[0]).any()
        )

    def curve(self, name: str) -> Array:
        """Loss or accuracy by epoch, [T, R]."""
        return curves(self.records, name)

    @property
    def frozen_R(self) -> Array:
        """Which replicas NaN or Inf has frozen, bool."""
        return np.asarray(self.records["nonfinite_step"].to_numpy() >= 0)

    @property
    def distance_TR(self) -> Array:
        """L2 norm of the deviation of all weights and biases together."""
        weights_TRL = self._by_layer("distance")
        biases_TRL = self._by_layer("bias_distance")
        # NaN at the start is a layer without biases; later it is a failed replica
        has_biases_L = ~np.isnan(biases_TRL[0]).all(axis=0)
        biases_TRL = np.where(has_biases_L, biases_TRL, 0.0)
        unit = unit_of([weights_TRL, biases_TRL])
        squares_TRL = (weights_TRL / unit) ** 2 + (biases_TRL / unit) ** 2
        return np.asarray(np.sqrt(squares_TRL.sum(axis=-1)) * unit)

    @property
    def distinct_share_TR(self) -> Array:
        """Distinct units over units, in the hidden layer where that is least."""
        sizes_L = self._num_units()
        if not len(sizes_L):
            return np.full(self.curve("test_loss").shape, np.nan)
        distinct_TRL = self._by_layer("distinct_units")[..., : len(sizes_L)]
        return np.asarray((distinct_TRL / sizes_L).min(axis=-1))

    @property
    def retention_TR(self) -> Array:
        """How well the mark can be read, in its layer; NaN without a mark."""
        if self.spec.mark is None:
            return np.full(self.curve("test_loss").shape, np.nan)
        return curves(self.records, "mark_auc", self.spec.mark.layer)

    def _by_layer(self, name: str) -> Array:
        if name not in self.records:
            raise StoreError(
                f"the records of {self.name} lack {name!r}: they are of an earlier "
                "version; compare into a new store"
            )
        dims = ("step", "replica", "layer")
        return self.records[name].transpose(*dims).to_numpy().astype(float)

    def _num_units(self) -> Array:
        """Units of each hidden layer."""
        if "num_units" in self.records:
            return self.records["num_units"].to_numpy()[:-1].astype(float)
        hidden = [name for name in self.spec.network.layer_names if name != OUTPUT]
        return np.array(self.spec.network.widths[: len(hidden)], dtype=float)


def read_outcomes(
    candidates: Sequence[Candidate], losses: Sequence[float] = ()
) -> list[Outcome]:
    """The outcomes of candidates that had the same data, replicas and budget.

    A replica that NaN or Inf has frozen guesses: its accuracy is that of chance, its
    loss counts as that of chance, and it reaches no loss any more. How far it travelled
    is not known.

    Args:
        candidates: As they were trained.
        losses: Test losses to be reached; `LEVELS` of that of chance unless given.

    Raises:
        SpecError: The candidates differ in budget or replicas, or a loss is no number
            above 0.
    """
    first = candidates[0]
    for one in candidates:
        if one.curve("test_loss").shape != first.curve("test_loss").shape or not (
            np.array_equal(one.step_T, first.step_T)
        ):
            raise SpecError(
                f"{one.name} and {first.name} differ in steps or replicas: only runs "
                "with the same budget are compared"
            )
    positive = first.chance > 0  # a loss of the user's own may be anything
    levels = tuple(losses)
    levels = levels or tuple(share * first.chance for share in LEVELS if positive)
    for level in levels:
        if not (np.isfinite(level) and level > 0):
            raise SpecError(f"a loss to be reached is a number above 0, got {level}")
    outcomes = [_reaching(candidates, level) for level in sorted(levels, reverse=True)]
    if all(one.has_classes for one in candidates):
        outcomes.append(_accuracy(candidates))
    outcomes += [_mean_loss(candidates), _distance(candidates)]
    if first.spec.mark is not None:
        outcomes.append(_retention(candidates))
    if np.isfinite(first.distinct_share_TR).any():
        outcomes.append(_distinct(candidates))
    return outcomes


def steps_to_reach(step_T: Array, loss_TR: Array, level: float) -> Array:
    """The first step at which the loss is down to a level, [R]; NaN where it never is.

    Between two recorded steps the loss is taken to fall exponentially.
    """
    down_TR = loss_TR <= level
    at_R = down_TR.argmax(axis=0)
    reached_R = down_TR.any(axis=0)
    before_R = np.maximum(at_R - 1, 0)
    columns = np.arange(loss_TR.shape[1])
    high_R, low_R = loss_TR[before_R, columns], loss_TR[at_R, columns]
    with np.errstate(all="ignore"):  # what is not reached is NaN at the end
        share_R = np.log(high_R / level) / np.log(high_R / low_R)
    share_R = np.where((at_R == 0) | ~np.isfinite(share_R), 1.0, share_R)
    step_R = step_T[before_R] + share_R * (step_T[at_R] - step_T[before_R])
    return np.where(reached_R, step_R, np.nan)


def _reaching(candidates: Sequence[Candidate], level: float) -> Outcome:
    step_T = candidates[0].step_T
    budget = float(step_T[-1])
    steps_AR = np.array(
        [
            steps_to_reach(one.step_T, one.curve("test_loss"), level)
            for one in candidates
        ]
    )
    censored_AR = np.isnan(steps_AR)
    num_early = int(((steps_AR > 0) & (steps_AR < step_T[1])).sum())
    caveat = (
        f"{num_early} of {steps_AR.size} replicas get there before the first recorded "
        f"step, {step_T[1]:.0f}: their times rest on interpolation alone, and differ "
        "as their losses at that step do."
    )
    return Outcome(
        name=f"steps_to_{level:.3g}",
        title=f"steps to a test loss of {level:.3g}",
        unit="steps",
        better="low",
        values_AR=np.where(censored_AR, budget, steps_AR),
        censored_AR=censored_AR,
        how="restricted mean: steps spent before the test loss is down to the level, "
        f"at most the budget of {budget:.0f}, which is also the value of a replica "
        "that never gets there; between recorded epochs the loss is taken to fall "
        "exponentially",
        caveat=caveat if num_early else "",
    )


def _accuracy(candidates: Sequence[Candidate]) -> Outcome:
    guess = 1 / fact(candidates[0].records, "num_classes")
    values_AR = np.array([one.curve("test_accuracy")[-1] for one in candidates])
    return _whole(
        "test_accuracy",
        "final test accuracy",
        "share",
        "high",
        np.where(np.isfinite(values_AR), values_AR, guess),
        "share of the test examples that are right after the last step",
    )


def _mean_loss(candidates: Sequence[Candidate]) -> Outcome:
    values = []
    for one in candidates:
        loss_TR = one.curve("test_loss")
        capped_TR = np.minimum(np.where(np.isnan(loss_TR), np.inf, loss_TR), one.chance)
        area_R = np.trapezoid(capped_TR, one.step_T, axis=0)
        values.append(area_R / np.ptp(one.step_T))
    return _whole(
        "mean_test_loss",
        "mean test loss over the training",
        "loss",
        "low",
        np.array(values),
        "area under the test loss against linear steps (trapezoids between recorded "
        f"epochs) over the budget; a loss above {_say_chance(candidates[0])}, "
        f"{candidates[0].chance:.3g}, counts as that",
    )


def _say_chance(one: Candidate) -> str:
    own = "loss" in one.own
    return "the median of all at the start" if own else "that of a guess"


def _distance(candidates: Sequence[Candidate]) -> Outcome:
    return _whole(
        "distance",
        "distance travelled",
        "weight",
        "",
        np.array(
            [np.where(one.frozen_R, np.nan, one.distance_TR[-1]) for one in candidates]
        ),
        "L2 norm of the deviation of all weights and biases after the last step",
    )


def _retention(candidates: Sequence[Candidate]) -> Outcome:
    return _whole(
        "retention",
        "retention of the mark",
        "AUC",
        "",
        np.array([one.retention_TR[-1] for one in candidates]),
        "ROC-AUC of the weights as detector of the mark after the last step: 1 "
        "perfect, 0.5 gone",
    )


def _distinct(candidates: Sequence[Candidate]) -> Outcome:
    outcome = _whole(
        "distinct_units",
        "distinct units",
        "share",
        "",
        np.array([one.distinct_share_TR[-1] for one in candidates]),
        "distinct units over units after the last step, in the hidden layer where "
        "that is least; counted, not tested: a symmetry breaks or it does not",
    )
    return replace(outcome, is_tested=False)


def _whole(
    name: str,
    title: str,
    unit: str,
    better: Literal["low", "high", ""],
    values_AR: Array,
    how: str,
) -> Outcome:
    """An outcome that is never censored."""
    censored_AR = np.zeros(values_AR.shape, dtype=bool)
    return Outcome(name, title, unit, better, values_AR, censored_AR, how)
