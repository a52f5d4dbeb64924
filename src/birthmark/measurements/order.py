"""Sorting, and quantiles of what is sorted.

On a CPU by NumPy: its sorts take an eighth to a third of the time of torch's.
"""

import numpy as np
import torch

from birthmark.shapes import Tensor

QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)


def sort_rows(values_RN: Tensor) -> Tensor:
    """Each row in rising order, NaN last."""
    if values_RN.device.type == "cpu":
        return torch.from_numpy(np.sort(values_RN.numpy(), axis=1))
    return values_RN.sort(dim=1).values


def argsort_rows(values_RN: Tensor, *, stable: bool = False) -> Tensor:
    """The order in which each row rises, int64; equal values as they come if stable."""
    if values_RN.device.type == "cpu":
        order_RN = np.argsort(values_RN.numpy(), axis=1, stable=stable)
        return torch.from_numpy(order_RN)
    return values_RN.argsort(dim=1, stable=stable)


def quantiles(sorted_RN: Tensor, start_RM: Tensor, count_RM: Tensor) -> Tensor:
    """Quantiles of segments of sorted rows, [R, M, Q]; NaN where a segment is empty.

    Linear between order statistics: definition 7 of Hyndman & Fan (1996), NumPy's
    `linear`. `torch.quantile` is the same but refuses more than 2^24 values.

    Args:
        sorted_RN: Rows in which each segment is in rising order.
        start_RM: Where each segment starts in its row, int64.
        count_RM: How many values it has, int64.
    """
    levels_Q = torch.tensor(QUANTILES, dtype=sorted_RN.dtype, device=sorted_RN.device)
    count_RM1 = count_RM.unsqueeze(-1)
    position_RMQ = levels_Q * (count_RM1 - 1).clamp(min=0)
    lower_RMQ = position_RMQ.floor().long()
    upper_RMQ = torch.minimum(lower_RMQ + 1, (count_RM1 - 1).clamp(min=0))
    low, high = (
        _take(sorted_RN, start_RM.unsqueeze(-1) + offset_RMQ)
        for offset_RMQ in (lower_RMQ, upper_RMQ)
    )
    quantiles_RMQ = low + (high - low) * (position_RMQ - lower_RMQ)
    return quantiles_RMQ.masked_fill(count_RM1 == 0, torch.nan)


def _take(rows_RN: Tensor, index_RMQ: Tensor) -> Tensor:
    # an empty last segment starts behind its row
    inside_RMQ = index_RMQ.clamp(max=rows_RN.shape[1] - 1)
    return rows_RN.gather(1, inside_RMQ.flatten(1)).reshape(index_RMQ.shape)
