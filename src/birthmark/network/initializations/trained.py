"""Initializations from something trained: as it is, and its controls.

Each reads the tensor of the same name from `file` (or that named by `key`), so that it
serves weights and biases alike. The spec hashes files by content.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from birthmark.errors import SpecError
from birthmark.network.initializations.classical import (
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    signed_constant,
)
from birthmark.network.initializations.files import FileLayout, read_tensor
from birthmark.network.initializations.target import Target
from birthmark.network.laws import Constant, Law, Normal, SignedConstant, Uniform
from birthmark.network.matrix_laws import Given
from birthmark.shapes import Array

_MAGNITUDES: dict[str, Callable[[Target], Law]] = {
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "signed_constant": signed_constant,
}
Magnitudes = Literal[
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "signed_constant",
]


class Shuffled(Given):
    """The entries of the tensor in random order."""

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        # What was trained from the same seed was drawn from the first numbers of this
        # stream: sorting by those would put the weights in order. Take the next ones.
        generator.random(self.values.size)
        order = np.argsort(generator.random(self.values.size), kind="stable")
        return np.asarray(self.values.ravel()[order].reshape(shape))


@dataclass(frozen=True, eq=False)
class Signed:
    """The signs of the tensor with the absolute values of a law around zero."""

    signs: Array
    magnitudes: Uniform | Normal | SignedConstant
    needs_matrix: ClassVar[bool] = False

    @property
    def mean(self) -> float:  # noqa: D102
        law = self.magnitudes
        shape = {Uniform: math.sqrt(3) / 2, Normal: math.sqrt(2 / math.pi)}
        return float(self.signs.mean()) * shape.get(type(law), 1.0) * law.std

    @property
    def std(self) -> float:  # noqa: D102
        second = float((self.signs**2).mean()) * self.magnitudes.std**2
        return math.sqrt(second - self.mean**2)

    @property
    def bound(self) -> float:  # noqa: D102
        return self.magnitudes.bound

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        return self.signs * np.abs(self.magnitudes.draw(generator, shape))


def checkpoint(
    target: Target,
    *,
    file: str,
    file_sha256: str,
    key: str = "",
    layout: FileLayout = "auto",
) -> Law:
    """The trained tensor as it is: is a pre-trained network an initialization?"""
    return Given(read_tensor(file, file_sha256, target, key=key, layout=layout))


def statistics_only(
    target: Target,
    *,
    file: str,
    file_sha256: str,
    key: str = "",
    layout: FileLayout = "auto",
) -> Law:
    """N(mean, std^2) of the trained tensor, drawn anew (Raghu et al. 1902.07208)."""
    values = read_tensor(file, file_sha256, target, key=key, layout=layout)
    mean, std = float(values.mean()), float(values.std())
    return Normal(mean, std) if std else Constant(mean)


def shuffled(
    target: Target,
    *,
    file: str,
    file_sha256: str,
    key: str = "",
    layout: FileLayout = "auto",
) -> Law:
    """The trained entries in random order: their histogram without their places."""
    return Shuffled(read_tensor(file, file_sha256, target, key=key, layout=layout))


def signs_only(
    target: Target,
    *,
    file: str,
    file_sha256: str,
    key: str = "",
    layout: FileLayout = "auto",
    magnitudes: Magnitudes = "glorot_uniform",
) -> Law:
    """Trained signs, absolute values drawn anew (Zhou et al. 1905.01067); 0 stays 0."""
    values = read_tensor(file, file_sha256, target, key=key, layout=layout)
    law = _MAGNITUDES[magnitudes](target)
    assert isinstance(law, Uniform | Normal | SignedConstant)
    return Signed(np.sign(values), law)


def lottery_ticket(
    target: Target,
    *,
    file: str,
    file_sha256: str,
    initial_file: str,
    initial_file_sha256: str,
    sparsity: float,
    key: str = "",
    layout: FileLayout = "auto",
) -> Law:
    """Initial weights where the trained ones are largest, else 0 (1803.03635).

    The share `sparsity` of each tensor, that with the smallest |trained weight|, is
    zero; the rest is rewound to `initial_file`. Biases are rewound whole.
    """
    if not 0 <= sparsity < 1:
        raise SpecError(f"sparsity must be at least 0 and below 1, got {sparsity}")
    initial = read_tensor(
        initial_file, initial_file_sha256, target, key=key, layout=layout
    )
    if target.is_vector:
        return Given(initial)
    trained = read_tensor(file, file_sha256, target, key=key, layout=layout)
    rank = np.argsort(np.argsort(np.abs(trained), axis=None, kind="stable"))
    pruned = rank.reshape(trained.shape) < round(sparsity * trained.size)
    return Given(np.where(pruned, 0.0, initial))
