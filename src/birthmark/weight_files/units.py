"""Numbers whose squares float64 does not hold, in units in which it does."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from birthmark.weight_files.pairing import Match

_BLOCK = 2**22  # numbers that are looked at together
_SAFE = 2.0**200  # sizes between its inverse and itself have squares, and sums of them


def in_own_unit(match: Match) -> Match:
    """The match with numbers divided by a power of two, where they are beyond measure.

    Only float64 reaches such sizes. The unit is the largest of both tensors.
    """
    dtypes = {piece.dtype for pair in match.pieces for piece in pair}
    if not dtypes & {torch.float64, torch.complex128}:
        return match
    largest = max(_largest(piece.load()) for pair in match.pieces for piece in pair)
    if largest == 0 or 1 / _SAFE < largest < _SAFE:
        return match
    unit = 2.0 ** math.frexp(largest)[1] if largest < 2.0**1022 else 2.0**1022
    pieces = [
        tuple(replace(piece, unit=unit) for piece in pair) for pair in match.pieces
    ]
    return replace(match, pieces=tuple((a, b) for a, b in pieces))


def _largest(tensor: torch.Tensor) -> float:
    """Of the finite sizes; 0 where there is none."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    rows = tensor.reshape(1) if tensor.ndim == 0 else tensor
    count = max(1, _BLOCK // max(1, rows[0].numel())) if len(rows) else 1
    found = 0.0
    for start in range(0, len(rows), count):
        sizes = rows[start : start + count].to(torch.float64).abs()
        finite = sizes[sizes.isfinite()]
        found = max(found, float(finite.max()) if len(finite) else 0.0)
    return found
