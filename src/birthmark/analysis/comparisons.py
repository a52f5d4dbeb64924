"""Initializations side by side: who learns, how quickly, and who is told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis.outcomes import Candidate, read_outcomes
from birthmark.analysis.studies import fact
from birthmark.analysis.transitions import find_transitions
from birthmark.errors import SpecError
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.statistics import ALPHA, POWER, Ranking, rank, share_interval

if TYPE_CHECKING:
    import xarray as xr

# times the share of the largest class: an accuracy that one answer for all can have
GUESS = 1.1
METHOD = (
    "replica r of each initialization met the same batches in the same order; "
    f"differences by Student's paired t, {100 * (1 - ALPHA):.0f} % intervals, told "
    f"apart at a family-wise error of {100 * ALPHA:.0f} % within one outcome (Holm "
    f"over all pairs); detectable: with a power of {100 * POWER:.0f} % at Bonferroni's "
    "level; outcomes are not corrected for each other"
)


@dataclass(frozen=True)
class Failures:
    """Replicas of one candidate that went wrong, out of n."""

    name: str
    n: int
    num_nonfinite: int  # frozen by NaN or Inf
    num_diverged: int  # lost what they had learned, or reached the clipped plateau
    num_guessing: int  # end with a test accuracy that is no better than a guess
    num_failed: int  # any of these

    @property
    def guessing_interval(self) -> tuple[float, float]:
        """Exact 95 % interval (Clopper & Pearson 1934) of the share that guesses."""
        return share_interval(self.num_guessing, self.n, 1 - ALPHA)


@dataclass(frozen=True)
class Comparison:
    """Initializations that were trained under one protocol, and what came of it."""

    candidates: tuple[Candidate, ...]
    losses: tuple[float, ...]  # to be reached; () for the default levels
    tried_lrs: tuple[float, ...] = ()  # each chose its own among these, on other seeds

    @property
    def names(self) -> list[str]:
        """Of the candidates, in the order in which they were asked for."""
        return [one.name for one in self.candidates]

    @property
    def num_replicas(self) -> int:
        """Pairs that each comparison has."""
        return int(self.candidates[0].records.sizes["replica"])

    @property
    def budget(self) -> int:
        """Optimizer steps that each had."""
        return int(self.candidates[0].step_T[-1])

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """One an outcome, in the order of `read_outcomes`."""
        outcomes = read_outcomes(self.candidates, self.losses)
        return tuple(rank(self.names, outcome) for outcome in outcomes)

    @cached_property
    def failures(self) -> tuple[Failures, ...]:
        """One a candidate."""
        return tuple(map(_count_failures, self.candidates))

    def ranking(self, name: str) -> Ranking:
        """The ranking of the outcome of this name, as `test_accuracy`."""
        return next(one for one in self.rankings if one.outcome.name == name)


def make_comparison(
    candidates: Sequence[Candidate],
    losses: Sequence[float] = (),
    *,
    tried_lrs: Sequence[float] = (),
) -> Comparison:
    """Compare candidates that differ in their initialization alone.

    Args:
        candidates: At least two.
        losses: Test losses to be reached, in the unit of the loss; 0.5, 0.25 and 0.1
            of the loss of a guess unless given.
        tried_lrs: Among which each chose a learning rate of its own, on other seeds.

    Raises:
        SpecError: Too few candidates or replicas; they differ in more than their
            initialization; a loss is no number above 0.
    """
    candidates = tuple(candidates)
    if len(candidates) < 2:
        raise SpecError(f"a comparison needs 2 initializations, got {len(candidates)}")
    first = candidates[0]
    tuned = bool(tried_lrs)
    for one in candidates[1:]:
        if _protocol(one.spec, tuned) != _protocol(first.spec, tuned):
            raise SpecError(
                f"{one.name} and {first.name} differ in more than the initialization: "
                "only runs of one protocol are paired"
            )
    comparison = Comparison(candidates, tuple(losses), tuple(tried_lrs))
    if comparison.num_replicas < 2:
        raise SpecError("a comparison needs 2 replicas at least: set run.replicas")
    read_outcomes(candidates, comparison.losses)  # what does not fit is refused here
    return comparison


def join_curves(comparison: Comparison) -> xr.Dataset:
    """The curves of all candidates, for drawing and for programs.

    Dims candidate, step, replica: `test_loss`, `test_accuracy`, `train_loss`,
    `distance`, `distinct_share`, and `retention` where there is a mark.
    """
    names = ["test_loss", "test_accuracy", "train_loss"]
    if not all(one.has_classes for one in comparison.candidates):
        names.remove("test_accuracy")
    curves = {
        name: np.array([one.curve(name) for one in comparison.candidates])
        for name in names
    }
    for name in ("distance", "distinct_share", "retention"):
        values = np.array([getattr(one, f"{name}_TR") for one in comparison.candidates])
        if np.isfinite(values).any():
            curves[name] = values
    coords = {"candidate": comparison.names, "step": comparison.candidates[0].step_T}
    dims = ("candidate", "step", "replica")
    import xarray as xr

    return xr.Dataset({name: (dims, one) for name, one in curves.items()}, coords)


def _protocol(spec: RunSpec, tuned: bool) -> RunSpec:
    """All that candidates must have in common."""
    if tuned:
        spec = spec.with_settings({"training.lr": 1.0})
    plain = RunSpec(data={"name": "none"})
    return spec.model_copy(
        update={"initialization": plain.initialization, "record": plain.record}
    )


def _count_failures(one: Candidate) -> Failures:
    diverged_R, guessing_R = _diverged(one), _guessing(one)
    kinds = (one.frozen_R, diverged_R, guessing_R)
    failed_R = np.logical_or.reduce(kinds)
    counts = [int(replicas_R.sum()) for replicas_R in (*kinds, failed_R)]
    return Failures(one.name, len(failed_R), *counts)


def _diverged(one: Candidate) -> Array:
    """Replicas that have lost what they had learned, [R] bool."""
    if "loss" in one.own:  # no plateau and no guess is known
        train_TR = one.curve("train_loss")[1:]
        with np.errstate(all="ignore"):
            lowest_R = np.where(np.isfinite(train_TR), train_TR, np.inf).min(axis=0)
        lost_R: Array = (lowest_R <= one.chance / 2) & (train_TR[-1] > one.chance)
        return lost_R
    layer = str(one.records["layer"].to_numpy()[0])
    found = find_transitions(one.records, one.spec, layer=layer)
    # around the loss of a guess there is no rise to speak of
    clipped = one.spec.training.loss == "clipped_cross_entropy"
    had_learned_R = (found.min_train_loss <= one.chance / 2) | clipped
    diverged_R: Array = np.isfinite(found.divergence_epoch) & had_learned_R
    return diverged_R


def _guessing(one: Candidate) -> Array:
    """Replicas that are no better than a guess at the end; NaN guesses too."""
    if not one.has_classes:
        improved_R: Array = one.curve("test_loss")[-1] < one.chance
        return ~improved_R
    guess = GUESS * fact(one.records, "largest_class_share")
    better_R: Array = one.curve("test_accuracy")[-1] > guess
    return ~better_R
