"""How readable a mark in the weights still is: its retention."""

import torch

from birthmark.measurements.moments import scaled
from birthmark.measurements.order import sort_rows
from birthmark.measurements.pair import Pair
from birthmark.shapes import Mark, Tensor


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
    # both in order: neighbours are looked up near each other
    inside_RN, outside_RN = (sort_rows(_score(x, pair.mark)) for x in pair.marked)
    below_RN = torch.searchsorted(outside_RN, inside_RN)
    not_above_RN = torch.searchsorted(outside_RN, inside_RN, right=True)
    wins_R = (below_RN + not_above_RN).sum(1).to(torch.float64) / 2
    # as floats: no pairs at all make 0 / 0
    return wins_R / float(outside_RN.shape[1]) / float(inside_RN.shape[1])


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


def _score(current_RN: Tensor, mark: Mark) -> Tensor:
    if mark.mode == "shift":
        return -current_RN if mark.value < 0 else current_RN
    size_RN = current_RN.abs()
    return -size_RN if mark.mode == "zero" or abs(mark.value) < 1 else size_RN
