"""Examples on the device: pixels stay uint8 and are converted as they are gathered."""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec


class Examples:
    """Half of a data set (training or test) on a device.

    On a CPU it lies in the memory of the arrays themselves, which must not change.

    Attributes:
        pixels_NI: As stored, uint8; what a network sees is
            `(pixels / full_scale - mean) / std`.
        classes_N: int64.
    """

    def __init__(
        self, dataset: Dataset, x: Array, y: Array, *, dtype: torch.dtype, device: str
    ) -> None:
        self.pixels_NI = _share(x).to(device)
        self.classes_N = _share(y).to(device)
        self.full_scale, self.mean = dataset.full_scale, dataset.mean
        self.std = dataset.std
        self._dtype = dtype
        self._bytes = torch.empty(0, dtype=torch.uint8, device=device)
        self._values = torch.empty(0, dtype=dtype, device=device)

    def __len__(self) -> int:
        return len(self.classes_N)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [..., I] and classes [...] at an index of any shape.

        The inputs stand in a buffer that the next call overwrites.
        """
        flat = index.reshape(-1)
        num_values = len(flat) * self.pixels_NI.shape[1]
        if num_values > len(self._bytes):
            self._bytes = self._bytes.new_empty(num_values)
            self._values = self._values.new_empty(num_values)
        pixels = self._bytes[:num_values].view(len(flat), -1)
        torch.index_select(self.pixels_NI, 0, flat, out=pixels)
        values = self._values[:num_values].view(len(flat), -1)
        x = self._scale_(values.copy_(pixels)).view(*index.shape, -1)
        return x, torch.index_select(self.classes_N, 0, flat).view(index.shape)

    def slices(self, size: int) -> Iterator[Tensor]:
        """Indices for `gather` that go through all examples in order."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield torch.arange(start, stop, device=self.pixels_NI.device)

    def _scale_(self, values: Tensor) -> Tensor:
        values.div_(self.full_scale)
        if self.mean or self.std != 1:
            values.sub_(self.mean).div_(self.std)
        return values


def _share(array: Array) -> Tensor:
    """A tensor in the memory of an array, which may be read-only."""
    with warnings.catch_warnings():
        # that writing to it would be wrong: nobody does
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array))


def load_examples(
    spec: RunSpec, dataset: Dataset, device: str
) -> tuple[Examples, Examples]:
    """Training and test set on the device, in the dtype of a run."""
    dtype = getattr(torch, spec.run.dtype)
    halves = (dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)
    train, test = (
        Examples(dataset, x, y, dtype=dtype, device=device) for x, y in halves
    )
    return train, test


def first_examples(
    dataset: Dataset, count: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor] | None:
    """The first training examples as a network sees them, on the host; None of none."""
    if not count:
        return None
    x, y = dataset.x_train[:count], dataset.y_train[:count]
    examples = Examples(dataset, x, y, dtype=dtype, device="cpu")
    return examples.gather(torch.arange(len(examples)))
