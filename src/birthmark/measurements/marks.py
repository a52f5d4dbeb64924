"""How readable a mark in the weights still is: its retention."""

import torch

from birthmark.measurements.moments import scaled
from birthmark.measurements.order import sort_rows
from birthmark.measurements.pair import Pair
from birthmark.shapes import Mark, Tensor
from birthmark.statistics import blur_matrix

_TINY = 1e-300  # of squares, which may vanish


def mark_auc(pair: Pair) -> Tensor:
    """Area under the ROC curve of the weights as a detector of the mark, in 0 ... 1.

    The probability that a weight under the mark scores higher than one beside it, ties
    counting half (Mann & Whitney 1947): 1 perfect, 1/2 gone. The score is -|w| where
    the mark made weights small (zero, or a factor below 1), |w| where it made them
    large, and w, with the sign of the shift, where it shifted them. NaN without a mark
    in the layer, or where the mark covers nothing or everything.
    """
    if pair.mark is None:
        return torch.full_like(pair.distance_R, torch.nan)
    return _auc(*(_score(x, pair.mark) for x in pair.marked))


def mark_pooled_auc(pair: Pair) -> Tensor:
    """`mark_auc` of sizes that are pooled as an eye does; see `statistics.pool_sizes`.

    Rows and columns of |w| are scaled to equal root mean square and blurred, so that
    what lies side by side is added up. NaN without a mark in the layer, where it covers
    nothing or everything, and for marks that shift.
    """
    if pair.mark is None or pair.mark.mode == "shift":
        return torch.full_like(pair.distance_R, torch.nan)
    mask_IO = pair.mark.mask_IO
    size_RIO = pair.current_RN.abs().reshape(-1, *mask_IO.shape)
    size_RIO = size_RIO / size_RIO.amax((1, 2), keepdim=True).clamp_min(_TINY)
    for axis in (2, 1):
        square_RIO = size_RIO.square().mean(axis, keepdim=True)
        size_RIO = size_RIO / (square_RIO + _TINY).sqrt()
    blur_II, blur_OO = (
        torch.tensor(blur_matrix(n), device=size_RIO.device) for n in mask_IO.shape
    )
    pooled_RN = (blur_II @ size_RIO @ blur_OO.mT).flatten(1)
    return _auc(*(_score(x, pair.mark) for x in pair.split_by_mark(pooled_RN)))


def mark_contrast(pair: Pair) -> Tensor:
    """(rms_out - rms_in) / (rms_out + rms_in) of the weights, in -1 ... 1.

    1 for weights of zero under the mark, 0 where the mark is gone, negative where it is
    made of large weights. NaN without a mark in the layer, or where the mark covers
    nothing or everything.
    """
    if pair.mark is None:
        return torch.full_like(pair.distance_R, torch.nan)
    inside_R, outside_R = (
        scaled(x, pair.current_scale_R1).square().mean(1).sqrt() for x in pair.marked
    )
    return (outside_R - inside_R) / (outside_R + inside_R)


def _auc(inside_RN: Tensor, outside_RN: Tensor) -> Tensor:
    # both in order: neighbours are looked up near each other
    inside_RN, outside_RN = sort_rows(inside_RN), sort_rows(outside_RN)
    below_RN = torch.searchsorted(outside_RN, inside_RN)
    not_above_RN = torch.searchsorted(outside_RN, inside_RN, right=True)
    wins_R = (below_RN + not_above_RN).sum(1).to(torch.float64) / 2
    # as floats: no pairs at all make 0 / 0
    return wins_R / float(outside_RN.shape[1]) / float(inside_RN.shape[1])


def _score(current_RN: Tensor, mark: Mark) -> Tensor:
    if mark.mode == "shift":
        return -current_RN if mark.value < 0 else current_RN
    size_RN = current_RN.abs()
    return -size_RN if mark.mode == "zero" or abs(mark.value) < 1 else size_RN
