"""Numbers whose squares float64 does not hold, in units in which it does."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from birthmark.weight_files.pairing import Match

_BLOCK = 2**22  # numbers that are looked at together
_FAR = 300  # exponents of two between sizes of which one has a unit of its own
_APART = 100  # by how many it is then smaller, in its unit, than the other in its own
_SAFE = 2.0**200  # sizes between its inverse and itself have squares, and sums of them


def in_own_unit(match: Match) -> Match:
    """The match with numbers divided by powers of two, where they are beyond measure.

    Only float64 reaches such sizes. The unit is the largest of both tensors; where one
    is so small beside the other that it would vanish, it has a unit of its own, in
    which it is small enough to change nothing in the other.
    """
    dtypes = {piece.dtype for pair in match.pieces for piece in pair}
    if not dtypes & {torch.float64, torch.complex128}:
        return match
    sides = zip(*match.pieces, strict=True)
    sizes = [max(_largest(piece.load()) for piece in side) for side in sides]
    if all(size == 0 or 1 / _SAFE < size < _SAFE for size in sizes):
        return match
    exponents = [math.frexp(size or max(sizes))[1] for size in sizes]
    largest = max(exponents)
    of_a, of_b = (
        2.0 ** min(own + _APART if own + _FAR < largest else largest, 1022)
        for own in exponents
    )
    return replace(
        match,
        pieces=tuple(
            (replace(a, unit=of_a), replace(b, unit=of_b)) for a, b in match.pieces
        ),
    )


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
