"""What a sample of a matrix says of its spectrum, beside a matrix of pure noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from birthmark.shapes import Tensor

_SMALLEST = 8  # rows and columns below which nothing is told


@dataclass(frozen=True)
class SampleSpectrum:
    """The spectrum of a sampled matrix, and that of independent numbers as many."""

    participation_ratio: float  # (sum s^2)^2 / sum s^4: directions that carry it
    noise: float  # the same, expected of independent normal numbers
    outlier: float  # largest s^2 in Tracy-Widom units beyond the edge of noise


def find_spectrum(values_OI: Tensor) -> SampleSpectrum | None:
    """Read a sample [O, I] in float64; None where it is small, constant or not finite.

    The participation ratio of noise is O I / (O + I + 1), since the sum of the fourth
    powers of its singular values is O I (O + I + 1) in units of its variance. The
    largest s^2 of noise lies near (sqrt(O) + sqrt(I))^2, with Johnstone's scale (Ann.
    Statist. 29, 2001): beyond 8 of his units it lies once in a million times.
    """
    O, I = values_OI.shape  # noqa: E741
    if min(O, I) < _SMALLEST or not bool(values_OI.isfinite().all()):
        return None
    matrix = values_OI if O <= I else values_OI.T
    gram = matrix @ matrix.T
    total, squares = float(gram.trace()), float(gram.square().sum())
    centred = matrix - matrix.mean()
    variance = float(centred.square().mean())
    if not total > 0 or not variance > 1e-24 * float(matrix.square().max()):
        return None
    largest = float(torch.linalg.eigvalsh(centred @ centred.T)[-1]) / variance
    few, many = math.sqrt(min(O, I)), math.sqrt(max(O, I) - 1)
    unit = (few + many) * (1 / few + 1 / many) ** (1 / 3)
    return SampleSpectrum(
        participation_ratio=total**2 / squares,
        noise=O * I / (O + I + 1),
        outlier=(largest - (few + many) ** 2) / unit,
    )
