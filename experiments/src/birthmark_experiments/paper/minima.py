"""The least loss of several replicas: of each, of their mean, and without the noise.

The train loss of one network fluctuates from epoch to epoch. The mean over replicas of
each one's minimum therefore lies below the minimum of the curve of their mean, and that
again below the minimum of a mean of very many replicas, which the running median over a
window of epochs stands for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.analysis import Run, Thresholds, running_median
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize


@dataclass(frozen=True)
class Minima:
    """Three minima of one loss of the replicas of a run, and where they lie."""

    of_each: Estimate  # mean over replicas of each one's minimum
    of_mean: float  # minimum of the curve of the mean
    of_mean_epoch: float
    of_smooth: float  # minimum of the running median of that curve
    of_smooth_epoch: float
    fluctuation: float  # std of the loss about its running median there, over it


@dataclass(frozen=True)
class Evaluated:
    """The train loss after some epochs, beside its running mean over each of them.

    The running mean is taken while the weights move, the evaluated loss with those of
    the last step of the epoch, over the whole training set.
    """

    epochs: tuple[int, ...]
    ratio: Estimate  # over replicas, of each one's mean ratio of the two
    of_mean: float  # least of the means over replicas, at these epochs


def compare_evaluated(run: Run) -> Evaluated | None:
    """Both train losses at the epochs where both are known; None without any."""
    evaluated_TR = run.values("train_loss_evaluated")
    running_TR = run.values("train_loss")
    known = np.isfinite(evaluated_TR).all(axis=1) & np.isfinite(running_TR).all(axis=1)
    if not known.any():
        return None
    ratio_TR = evaluated_TR[known] / running_TR[known]
    return Evaluated(
        epochs=tuple(run.records["epoch"].to_numpy()[known].tolist()),
        ratio=summarize(ratio_TR.mean(axis=0)),
        of_mean=float(evaluated_TR[known].mean(axis=1).min()),
    )


def find_minima(
    run: Run, name: str = "train_loss", thresholds: Thresholds | None = None
) -> Minima:
    """The minima of `train_loss` or `test_loss`; replicas with NaN or Inf left out."""
    lines = thresholds or Thresholds()
    loss_TR = run.values(name)[1:]
    loss_TR = loss_TR[:, np.isfinite(loss_TR).all(axis=0)]
    epochs = run.records["epoch"].to_numpy()[1:].astype(float)
    nothing = float("nan")
    if not loss_TR.size:
        return Minima(summarize([]), *(nothing,) * 5)
    mean_T = loss_TR.mean(axis=1)
    window = lines.window_epochs(int(epochs[-1]))
    smooth_T = running_median(mean_T[:, None], window)[:, 0]
    lowest = int(smooth_T.argmin())
    return Minima(
        of_each=summarize(loss_TR.min(axis=0)),
        of_mean=float(mean_T.min()),
        of_mean_epoch=float(epochs[mean_T.argmin()]),
        of_smooth=float(smooth_T[lowest]),
        of_smooth_epoch=float(epochs[lowest]),
        fluctuation=_fluctuation(loss_TR, lowest, window),
    )


def _fluctuation(loss_TR: Array, lowest: int, window: int) -> float:
    """Scatter of one replica's loss about its running median, relative to it."""
    near = slice(max(lowest - window, 0), lowest + window + 1)
    smooth_TR = running_median(loss_TR, window)[near]
    return float(np.std(loss_TR[near] / smooth_TR - 1))
