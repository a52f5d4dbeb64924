"""Second moments of numbers so small or so large that their squares have no float."""

import math
import sys

import torch
from torch import Tensor


def as_float(tensor: Tensor) -> Tensor:
    """Numbers in float32, or in float64 where they are."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def root_mean_square(tensor: Tensor) -> float:
    """The root of the mean of squares, without underflow; NaN or Inf pass through."""
    flat = tensor.detach().flatten()
    flat = flat.abs() if flat.is_complex() else flat
    flat = as_float(flat)
    if not flat.numel():
        return 0.0
    norm = float(torch.linalg.vector_norm(flat))
    if not 1e-15 < norm < 1e15:  # squares of single entries may have left the range
        largest = float(flat.abs().max())
        if largest == 0 or not math.isfinite(largest):
            return largest
        norm = largest * float(torch.linalg.vector_norm(flat / largest))
    return norm / math.sqrt(flat.numel())


def in_range(tensor: Tensor) -> tuple[Tensor, int]:
    """Numbers whose squares have floats, and the power of two they are to be times."""
    if tensor.dtype != torch.float64 or not tensor.numel():
        return tensor, 0
    largest = float(tensor.abs().max())
    if 1e-100 < largest < 1e100 or largest == 0 or not math.isfinite(largest):
        return tensor, 0
    exponent = math.frexp(largest)[1]
    half = exponent // 2  # the whole power may be no number
    return tensor * 2.0**-half * 2.0 ** (half - exponent), exponent


def standard_deviation(tensor: Tensor) -> float:
    """About the mean, over n; in the unit of the numbers, however large it is."""
    scaled, exponent = in_range(as_float(tensor.detach()))
    return math.ldexp(float(scaled.std(correction=0)), exponent)


def second_moment(tensor: Tensor) -> float:
    """The mean of squares, as a double; an infinity of float32 may be finite here.

    What is not 0 stays so, and what is finite stays finite: squares beyond the range of
    doubles are its smallest or its largest number.
    """
    size = root_mean_square(tensor)
    if size == 0 or not math.isfinite(size):
        return size
    return min(max(size * size, sys.float_info.min), sys.float_info.max)
