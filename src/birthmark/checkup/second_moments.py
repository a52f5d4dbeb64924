"""Second moments of numbers so small or so large that their squares have no float."""

import math

import torch
from torch import Tensor


def root_mean_square(tensor: Tensor) -> float:
    """The root of the mean of squares, without underflow; NaN or Inf pass through."""
    flat = tensor.detach().flatten()
    flat = flat.abs() if flat.is_complex() else flat
    flat = flat if flat.dtype == torch.float64 else flat.float()
    if not flat.numel():
        return 0.0
    norm = float(torch.linalg.vector_norm(flat))
    if not 1e-15 < norm < 1e15:  # squares of single entries may have left the range
        largest = float(flat.abs().max())
        if largest == 0 or not math.isfinite(largest):
            return largest
        norm = largest * float(torch.linalg.vector_norm(flat / largest))
    return norm / math.sqrt(flat.numel())


def second_moment(tensor: Tensor) -> float:
    """The mean of squares, as a double; an infinity of float32 may be finite here."""
    return root_mean_square(tensor) ** 2
