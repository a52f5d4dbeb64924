"""Tensors where they lie: a name, a shape, and a view made when it is needed."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from birthmark.errors import WeightsError
from birthmark.foreign_files import damage_named, open_regular
from birthmark.shapes import Tensor


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """One tensor of a file, a folder or a model, not yet read.

    `load` gives a view of the mapped file wherever the format allows it, so that only
    what is looked at is read, and nothing is kept. Where it does not (compressed
    arrays, torch's format from before 2020), the one tensor is read whole.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def count(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes that it takes in its own dtype."""
        return self.count * self.dtype.itemsize

    def renamed(self, name: str) -> StoredTensor:
        """The same tensor under another name."""
        return replace(self, name=name)

    def of_file(self, path: Path) -> StoredTensor:
        """The same tensor, whose damage is told of when it is read."""

        def load() -> Tensor:
            with damage_named(path, WeightsError):
                return self.load()

        return replace(self, load=load)


@dataclass(frozen=True, eq=False)
class WeightFile:
    """All tensors of one checkpoint, by name, and what was left out of it."""

    label: str  # as the user would call it: the file's name
    kind: str  # safetensors, torch, keras, h5, npz, model, ...
    tensors: Mapping[str, StoredTensor]
    notes: tuple[str, ...] = ()  # what was read as what, what was left out and why
    # pieces of tensors that lie in several files, one file a rank, by name
    shards: Mapping[str, tuple[StoredTensor, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Numbers in all tensors."""
        return sum(tensor.count for tensor in self._all)

    @property
    def num_bytes(self) -> int:
        """Bytes that all tensors take."""
        return sum(tensor.num_bytes for tensor in self._all)

    @property
    def _all(self) -> list[StoredTensor]:
        parts = [part for parts in self.shards.values() for part in parts]
        return [*self.tensors.values(), *parts]


def in_memory(name: str, tensor: Tensor) -> StoredTensor:
    """A tensor that is there already, or one that torch has mapped."""

    def load() -> Tensor:  # torch may conjugate or negate it only when it is used
        return tensor.resolve_conj().resolve_neg()

    return StoredTensor(name, tuple(tensor.shape), tensor.dtype, load)


class MappedFile:
    """A file in memory as far as it is looked at; its views are never written to."""

    def __init__(self, path: Path) -> None:
        try:
            with open_regular(path) as opened:
                # copy on write: torch wants writable memory, the file stays as it is
                self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the file is empty"
            raise WeightsError(f"cannot read {path}: {reason}") from error
        self.path = path

    def __len__(self) -> int:
        return len(self._map)

    def head(self, start: int, size: int) -> bytes:
        """Some bytes, copied."""
        return self._map[start : start + size]

    def view(self, start: int, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        """A tensor over the bytes from `start` on; nothing is read yet."""
        count = math.prod(shape)
        if not count:
            return torch.empty(shape, dtype=dtype)
        flat = torch.frombuffer(
            self._map, dtype=torch.uint8, offset=start, count=count * dtype.itemsize
        )
        if start % dtype.itemsize:
            flat = flat.clone()  # not aligned: read whole
        return flat.view(dtype).reshape(shape)

    def tensor(
        self, name: str, start: int, dtype: torch.dtype, shape: tuple[int, ...]
    ) -> StoredTensor:
        """A stored tensor over the bytes from `start` on.

        Raises:
            WeightsError: The file ends before the tensor does.
        """
        end = start + math.prod(shape) * dtype.itemsize
        if start < 0 or end > len(self):
            raise WeightsError(
                f"{self.path} is cut short: {name} ends at byte {end}, the file at "
                f"{len(self)}; fetch it again"
            )
        return StoredTensor(name, shape, dtype, lambda: self.view(start, dtype, shape))
