"""Counts, and values in segments: one for each bin of each replica."""

import numpy as np
import torch

from birthmark.shapes import Tensor


def count_rows(index_RN: Tensor, size: int) -> Tensor:
    """How often each of 0 ... size - 1 stands in each row, int64 [R, size].

    Args:
        index_RN: int32 in 0 ... size - 1.
        size: How many numbers there are.
    """
    num_rows = len(index_RN)
    row_R1 = torch.arange(num_rows, dtype=torch.int32, device=index_RN.device)[:, None]
    flat = (index_RN + size * row_R1).flatten()
    return torch.bincount(flat, minlength=num_rows * size).reshape(num_rows, size)


def number_segments(count_G: Tensor, num_values: int) -> Tensor:
    """For each value the number of its segment, int32 [N]."""
    numbers_G = torch.arange(len(count_G), dtype=torch.int32, device=count_G.device)
    return torch.repeat_interleave(numbers_G, count_G, output_size=num_values)


def sum_segments(values_N: Tensor, count_G: Tensor) -> Tensor:
    """The sum of each segment, [G]; zero where it is empty.

    They add in a fixed order: scattered sums on a GPU do not, and the last digits of a
    run done twice would differ. On a CPU by NumPy, in a quarter of the time of torch.
    """
    if values_N.device.type != "cpu":
        # unsafe: the host does not wait to see whether the counts add up
        return torch.segment_reduce(values_N, "sum", lengths=count_G, unsafe=True)
    start_G = (count_G.cumsum(0) - count_G).numpy()
    filled_G = count_G.numpy() > 0
    sums_G = np.zeros(len(start_G))
    with np.errstate(invalid="ignore", over="ignore"):  # sums of a failed replica
        sums_G[filled_G] = np.add.reduceat(values_N.numpy(), start_G[filled_G])
    return torch.from_numpy(sums_G)


def spread(values_G: Tensor, segment_N: Tensor) -> Tensor:
    """To each value the number that belongs to its segment, [N]."""
    return values_G.flatten().index_select(0, segment_N)
