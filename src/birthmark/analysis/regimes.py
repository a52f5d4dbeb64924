"""Where a network stands at a time (regime), and what it is over all (learner)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis.studies import curves
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.transitions import Transitions, find_transitions
from birthmark.shapes import Array
from birthmark.spec import RunSpec

if TYPE_CHECKING:
    from birthmark.store import AnyRecords

LEARNERS = ("strong", "weak", "unstable", "undecided")
REGIMES = ("low trainability", "high trainability", "untrainability")
NOT_KNOWN = -1


@dataclass(frozen=True)
class Regimes:
    """The regime of each replica at each epoch."""

    epochs: Array  # [T]
    regime: Array  # [T, R] int: place in REGIMES, or -1 where no loss is known


def classify_learners(
    transitions: Transitions, thresholds: Thresholds | None = None
) -> Array:
    """What each replica is over its whole training, [R] of the names in LEARNERS.

    strong: the final train loss lies below the line for strong. A jump on the way does
    not count if the network came all the way back (the paper's strong networks spike).
    unstable: what counts as learned was reached, and later lost by a jump of the loss,
    by divergence, or by NaN or Inf, and not won back. weak: it was never reached,
    whatever came later. undecided: a loss between, such as one that creeps up.
    """
    lines = thresholds or Thresholds()
    reached = transitions.reached_epoch
    last_jump = [
        max((jump.epoch for jump in jumps), default=np.nan)
        for jumps in transitions.loss_jumps
    ]
    losses = np.stack(
        [last_jump, transitions.divergence_epoch, transitions.nonfinite_epoch]
    )
    unstable = (losses >= reached).any(axis=0)  # false where either is NaN
    strong, _ = lines.losses(transitions.chance_loss)
    ends = transitions.final_train_loss <= strong
    started = np.isfinite(transitions.min_train_loss) | (losses[2] >= 0)
    return np.select(
        [ends, unstable, started & np.isnan(reached)],
        ["strong", "unstable", "weak"],
        default="undecided",
    )


def label_regimes(
    records: AnyRecords,
    spec: RunSpec,
    thresholds: Thresholds | None = None,
    *,
    found: Transitions | None = None,
) -> Regimes:
    """The regime of each replica at each epoch, after 2012.02550 Figure 2c.

    untrainability: after the minimum of the train loss, where training went on to make
    it worse: the run ends at a multiple of the minimum (and not strong), diverged, or
    frozen by NaN or Inf, if need be before there was a minimum. Else high trainability
    below the level that counts as learned (median over a window around the epoch), and
    low trainability above. The transitions are found unless they are given.
    """
    lines = thresholds or Thresholds()
    found = found or find_transitions(records, spec, lines)
    epochs = records["epoch"].to_numpy().astype(float)
    loss_TR = curves(records, "train_loss")
    smooth_TR = running_median(loss_TR, found.window)
    strong, reached = lines.losses(found.chance_loss)
    high_TR = smooth_TR <= reached
    rises = found.final_train_loss > np.maximum(
        lines.rise * found.min_train_loss, strong
    )
    failed = np.isfinite(found.divergence_epoch) | np.isfinite(found.nonfinite_epoch)
    past_TR = (epochs[:, None] > found.min_train_epoch) & (rises | failed)
    past_TR |= epochs[:, None] >= found.nonfinite_epoch  # with a minimum or without
    regime = np.where(past_TR, 2, np.where(high_TR, 1, 0))
    known = np.isfinite(loss_TR) | past_TR
    return Regimes(epochs, np.where(known, regime, NOT_KNOWN))


def running_median(values_TR: Array, window: int) -> Array:
    """The median over a centred window of epochs, cut at the ends, NaN left out."""
    half = window // 2
    padded = np.pad(values_TR, ((half, half), (0, 0)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    known = np.isfinite(windows)
    ordered = np.sort(np.where(known, windows, np.inf), axis=-1)
    n = known.sum(axis=-1)
    middle = np.stack([np.maximum(n - 1, 0) // 2, n // 2], axis=-1)
    middle = np.minimum(middle, ordered.shape[-1] - 1)
    median: Array = np.take_along_axis(ordered, middle, axis=-1).mean(axis=-1)
    return np.where(n > 0, median, np.nan)
