"""Tensors that resemble each other: a sample of numbers, and what chance would do.

The null model is the exchange of units: networks whose units are numbered in another
order are equally likely, so shifting one sample along an axis of units, round and
round, gives resemblances as unrelated tensors of just these numbers have them. All
shifts are had at once from one Fourier transform.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.fft import irfft, rfft
from scipy.optimize import linear_sum_assignment

from birthmark.shapes import Array, Tensor
from birthmark.weight_files.views import Piece, layouts

if TYPE_CHECKING:
    from birthmark.weight_files.pairing import Leftovers

SAMPLE_ROWS, SAMPLE_COLUMNS = 128, 1024
_FEW_ROWS, _FEW_COLUMNS = 64, 512  # where all tensors are held against all
_SMALLEST = 64  # numbers below which chance resembles too much
_SURE = 8.0  # standard errors at which two tensors are one: many pairs are tried
_FEWEST_SHIFTS = 8


@dataclass(frozen=True)
class Resemblance:
    """The correlation of two samples, and that of unrelated ones like them."""

    correlation: float
    null_mean: float  # over all shifts along an axis of units
    null_std: float
    count: int  # numbers in the sample

    @property
    def score(self) -> float:
        """How many standard deviations it lies from chance; NaN where none is seen."""
        if not self.null_std > 0:
            return float("nan")
        return (self.correlation - self.null_mean) / self.null_std


def sample(
    piece: Piece, rows: int = SAMPLE_ROWS, columns: int = SAMPLE_COLUMNS
) -> Tensor:
    """Rows and columns at equal distances, as a matrix [O, I] in float64.

    A tensor of more axes is a matrix of its first axis against all others; a vector is
    one row.

    Args:
        piece: Of any shape.
        rows: About how many rows to take at most.
        columns: About how many columns.
    """
    tensor = piece.load()
    if tensor.ndim == 0:
        tensor = tensor.reshape(1)
    if tensor.ndim > 1:
        tensor = tensor[:: max(1, tensor.shape[0] // rows)]
        # of the second axis only, so that a kernel stays whole
        step = max(1, tensor[0].numel() // columns)
        tensor = tensor[:, ::step] if tensor.shape[1] > step else tensor
        return tensor.to(torch.float64).flatten(1)
    step = max(1, tensor.numel() // (rows * columns))
    return tensor[::step].to(torch.float64).unsqueeze(0)


def resemble(a: Tensor, b: Tensor) -> Resemblance:
    """The correlation of two samples [O, I] against that of shifted ones."""
    x, y = _centred(a), _centred(b)
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    if not size > 0:
        return Resemblance(float("nan"), 0.0, float("nan"), x.size)
    nulls = []
    for axis in (0, 1):
        if x.shape[axis] >= _FEWEST_SHIFTS:
            turned = rfft(x, axis=axis), rfft(y, axis=axis)
            products = (turned[0] * turned[1].conj()).sum(1 - axis)
            shifts = irfft(products, n=x.shape[axis])[1:] / size
            nulls.append((float(shifts.mean()), float(shifts.std())))
    mean, std = max(nulls, key=lambda null: null[1], default=(0.0, float("nan")))
    return Resemblance(float((x * y).sum()) / size, mean, std, x.size)


def resemblance(a: Piece, b: Piece) -> float:
    """The correlation of two pieces of one shape on a sample; 0 where there is none."""
    found = resemble(sample(a), sample(b)).correlation
    return 0.0 if np.isnan(found) else found


def match_by_content(left: Leftovers) -> None:
    """Match what is left by its numbers: a renamed tensor resembles itself.

    Tensors of one shape are assigned to each other all at once. What stands in the same
    module as a match of this kind follows it: biases and gains may all be equal.
    """
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, tensor in left.b.items():
        if tensor.count >= _SMALLEST and tensor.dtype.is_floating_point:
            groups[tensor.shape].append(name)
    modules: dict[str, str] = {}
    for shape, names_b in groups.items():
        candidates = [
            (name, order)
            for name, tensor in left.a.items()
            if tensor.dtype.is_floating_point
            for order in layouts(tensor.shape, shape)
        ]
        for name_a, order, name_b in _assign(left, candidates, names_b):
            turned = "" if order == tuple(range(len(order))) else "transposed"
            pieces = [(Piece(left.a.pop(name_a), order), Piece(left.b.pop(name_b)))]
            left.match(name_b, name_a, pieces, "renamed, by its numbers", turned)
            modules[_module(name_b)] = _module(name_a)
    for name_b in [*left.b]:
        beside = modules.get(_module(name_b))
        last = name_b[len(_module(name_b)) :]
        if beside is not None and left.a.get(beside + last) is not None:
            left.take(beside + last, name_b, "renamed, as its module")


def _assign(
    left: Leftovers,
    candidates: list[tuple[str, tuple[int, ...]]],
    names_b: list[str],
) -> list[tuple[str, tuple[int, ...], str]]:
    if not candidates:
        return []
    x = np.stack([_unit(Piece(left.a[n], order)) for n, order in candidates])
    y = np.stack([_unit(Piece(left.b[n])) for n in names_b])
    similar = np.nan_to_num(x @ y.T)
    found = []
    taken = set()
    for row, column in zip(*linear_sum_assignment(-similar), strict=True):
        name_a, order = candidates[row]
        a, b = Piece(left.a[name_a], order), Piece(left.b[names_b[column]])
        if name_a not in taken and resemble(sample(a), sample(b)).score > _SURE:
            found.append((name_a, order, names_b[column]))
            taken.add(name_a)
    return found


def _unit(piece: Piece) -> Array:
    flat = _centred(sample(piece, _FEW_ROWS, _FEW_COLUMNS)).ravel()
    size = np.linalg.norm(flat)
    return (flat / size if size > 0 else np.zeros_like(flat)).astype(np.float32)


def _centred(values: Tensor) -> Array:
    array = np.nan_to_num(values.numpy(), posinf=0.0, neginf=0.0)
    centred: Array = array - array.mean()
    return centred


def _module(name: str) -> str:
    return name[: max(name.rfind("."), name.rfind("/"), 0)]
