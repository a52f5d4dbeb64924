"""When a run changes its ways: minima, divergence, jumps of loss and deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis.endings import lost_since
from birthmark.analysis.studies import curves, fact, last_hidden
from birthmark.analysis.thresholds import Thresholds
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.statistics import Jump, find_all_jumps

if TYPE_CHECKING:
    from birthmark.store import AnyRecords


@dataclass(frozen=True)
class Transitions:
    """The transitions of each replica, in epochs; NaN means not seen.

    An epoch of minimum is NaN where the loss is *still falling*: its minimum so far
    lies in the last epochs of the run, and the true one, if any, beyond them.
    """

    layer: str  # whose deviation is looked at
    last_epoch: int
    window: int  # of the jumps, in epochs
    chance_loss: float  # of a guess from the number of classes
    divergence_level: float  # train loss at which a replica has diverged
    min_train_epoch: Array  # [R]
    min_test_epoch: Array  # [R]
    train_still_falling: Array  # [R] bool
    min_train_loss: Array  # [R]
    min_test_loss: Array  # [R]
    final_train_loss: Array  # [R] median over the last window; NaN after NaN or Inf
    reached_epoch: Array  # [R] first with a train loss that counts as learned
    divergence_epoch: Array  # [R]
    loss_jumps: tuple[tuple[Jump, ...], ...]  # of each replica, the largest first
    deviation_jumps: tuple[tuple[Jump, ...], ...]
    nonfinite_step: Array  # [R] optimizer step at which NaN or Inf froze the replica
    nonfinite_epoch: Array  # [R] the epoch in which that step lies, or the loss is lost

    @property
    def loss_jump_epoch(self) -> Array:
        """Epoch of the largest jump of the train loss, [R]."""
        return _largest(self.loss_jumps)

    @property
    def deviation_jump_epoch(self) -> Array:
        """Epoch of the largest jump of the deviation, [R]."""
        return _largest(self.deviation_jumps)

    @property
    def lag(self) -> Array:
        """Largest deviation jump minus the loss jump nearest to it, in epochs, [R].

        NaN unless both were seen. The nearest, since a network that jumps about has
        loss jumps that have nothing to do with that of the deviation.
        """
        pairs = zip(self.deviation_jumps, self.loss_jumps, strict=True)
        return np.array([_nearest(deviation, loss) for deviation, loss in pairs])


def find_transitions(
    records: AnyRecords,
    spec: RunSpec,
    thresholds: Thresholds | None = None,
    *,
    layer: str | None = None,
) -> Transitions:
    """Find the transitions of every replica of a run.

    Args:
        records: With `num_classes` and, for the clipped loss, `largest_class_share` (of
            the training set) in the attributes.
        spec: What was run.
        thresholds: The defaults unless given.
        layer: Whose `deviation_std` is looked at; the last hidden layer unless given.

    Raises:
        StoreError: A fact about the data is missing in the attributes.
    """
    lines = thresholds or Thresholds()
    layer = layer or last_hidden(spec)
    epochs = records["epoch"].to_numpy().astype(float)
    train_TR = curves(records, "train_loss")
    test_TR = curves(records, "test_loss")
    deviation_TR = curves(records, "deviation_std", layer)
    last = int(epochs[-1])
    window = lines.window_epochs(last)
    chance = chance_loss(spec, int(fact(records, "num_classes")))
    _, learned = lines.losses(chance)
    level = divergence_level(spec, records, lines)
    lost_epoch = lost_since(epochs, train_TR)
    step = np.full(lost_epoch.shape, -1.0)
    if "nonfinite_step" in records:
        step = records["nonfinite_step"].to_numpy().astype(float)
    frozen = (step >= 0) | np.isfinite(lost_epoch)

    min_train, min_train_epoch, train_falls = _minima(epochs, train_TR, frozen, lines)
    min_test, min_test_epoch, test_falls = _minima(epochs, test_TR, frozen, lines)
    clipped = spec.training.loss == "clipped_cross_entropy"
    start = np.full_like(min_train_epoch, -1) if clipped else min_train_epoch
    high_TR = (train_TR >= level) if clipped else (train_TR > level)
    after_TR = epochs[:, None] > start
    return Transitions(
        layer=layer,
        last_epoch=last,
        window=window,
        chance_loss=chance,
        divergence_level=level,
        min_train_epoch=np.where(train_falls, np.nan, min_train_epoch),
        min_test_epoch=np.where(test_falls, np.nan, min_test_epoch),
        train_still_falling=train_falls,
        min_train_loss=min_train,
        min_test_loss=min_test,
        final_train_loss=_final(epochs, train_TR, frozen, window),
        reached_epoch=_first(epochs, train_TR <= learned),
        divergence_epoch=_first(epochs, high_TR & after_TR),
        loss_jumps=find_all_jumps(
            epochs, train_TR, window=window, least=lines.loss_jump, floor=learned
        ),
        deviation_jumps=find_all_jumps(
            epochs, deviation_TR, window=window, least=lines.deviation_jump
        ),
        nonfinite_step=np.where(step >= 0, step, np.nan),
        nonfinite_epoch=np.where(step >= 0, _epoch_of(step, records), lost_epoch),
    )


def chance_loss(spec: RunSpec, num_classes: int) -> float:
    """The loss of equal probabilities: ln C; (C - 1) / C^2 for the squared error."""
    if spec.training.loss == "mean_squared_error":
        return (num_classes - 1) / num_classes**2
    return math.log(num_classes)


def divergence_level(
    spec: RunSpec, records: AnyRecords, thresholds: Thresholds
) -> float:
    """The train loss at which a replica has diverged.

    The clipped loss has a plateau, -ln(eps) times the share of examples outside of the
    largest class: all probability on that class, all others abandoned (15.8 for HASYv2,
    2012.02550 Figure 1). A share of it is the level. Other losses have no plateau: the
    level is ln C, and counts after the minimum only.
    """
    if spec.training.loss != "clipped_cross_entropy":
        return math.log(fact(records, "num_classes"))
    plateau = -math.log(spec.training.eps) * (1 - fact(records, "largest_class_share"))
    return thresholds.divergence * plateau


def _minima(
    epochs: Array, loss_TR: Array, frozen: Array, lines: Thresholds
) -> tuple[Array, Array, Array]:
    """Minimum, its epoch, and whether the loss is still falling, each [R].

    A replica that NaN or Inf froze is not still falling: its loss rose to infinity.
    """
    filled = np.where(np.isfinite(loss_TR), loss_TR, np.inf)
    where = filled.argmin(axis=0)
    minimum = np.take_along_axis(filled, where[None], axis=0)[0]
    seen = np.isfinite(minimum)
    epoch = np.where(seen, epochs[where], np.nan)
    falling = seen & ~frozen & (epoch > epochs[-1] * (1 - lines.still_falling))
    return np.where(seen, minimum, np.nan), epoch, falling


def _final(epochs: Array, loss_TR: Array, frozen: Array, window: int) -> Array:
    last_TR = loss_TR[epochs > max(epochs[-1] - window, 0)]
    final = np.full(loss_TR.shape[1], np.nan)
    known = np.isfinite(last_TR).all(axis=0) & ~frozen
    if len(last_TR):
        final[known] = np.median(last_TR[:, known], axis=0)
    return final


def _first(epochs: Array, condition_TR: Array) -> Array:
    """The first epoch at which a condition holds, NaN where it never does, [R]."""
    first = epochs[condition_TR.argmax(axis=0)]
    return np.where(condition_TR.any(axis=0), first, np.nan)


def _epoch_of(step: Array, records: AnyRecords) -> Array:
    """The epoch (from 1) in which an optimizer step (from 1) was made."""
    ends = records["step"].to_numpy()
    epochs = records["epoch"].to_numpy().astype(float)
    at = np.searchsorted(ends, np.maximum(step, 0)).clip(max=len(ends) - 1)
    return np.asarray(epochs[at])


def _nearest(deviation: tuple[Jump, ...], loss: tuple[Jump, ...]) -> float:
    if not deviation or not loss:
        return math.nan
    return min((deviation[0].epoch - jump.epoch for jump in loss), key=abs)


def _largest(jumps: tuple[tuple[Jump, ...], ...]) -> Array:
    return np.array([one[0].epoch if one else np.nan for one in jumps])
