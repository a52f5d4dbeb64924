"""From which axes of which parameters the axes of a tensor come.

A parameter often meets the data only after it was transposed, cut, masked, normalized
or cast. Labels follow it there, so that "which axis was summed over" has an answer for
each parameter, whatever class holds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Label = frozenset[tuple[str, int]]  # axes of parameters: (name, axis)


@dataclass(frozen=True)
class Derived:
    """What a tensor made of parameters and constants alone is made of."""

    names: frozenset[str]
    labels: tuple[Label, ...]  # one an axis of the tensor
    is_product: bool = False  # parameters were multiplied as matrices: used already

    def axes(self, name: str, dims: tuple[int, ...]) -> tuple[int, ...]:
        """Axes of the parameter `name` that these axes of the tensor run over."""
        found = {axis for d in dims for owner, axis in self.labels[d] if owner == name}
        return tuple(sorted(found))


def of_parameter(name: str, value: Tensor) -> Derived:
    """A parameter itself."""
    labels = tuple(frozenset({(name, axis)}) for axis in range(value.ndim))
    return Derived(frozenset({name}), labels)


def of_view(source: Derived, before: Tensor, after: Tensor) -> Derived:
    """Another view of the same memory: axes are matched by their strides."""
    spans = [
        (before.stride(d), before.stride(d) * before.shape[d], source.labels[d])
        for d in range(before.ndim)
        if before.shape[d] > 1 and before.stride(d) > 0
    ]
    # axes of size 1 have no stride to be known by: they keep their order
    single = [source.labels[d] for d in range(before.ndim) if before.shape[d] == 1]
    kept = iter(single if list(after.shape).count(1) == len(single) else ())
    labels = []
    for d in range(after.ndim):
        step, size = after.stride(d), after.shape[d]
        met: set[tuple[str, int]] = set(next(kept, ()) if size == 1 else ())
        if size > 1 and step > 0:
            for low, high, label in spans:
                if low < step * size and high > step:
                    met |= label
        labels.append(frozenset(met))
    return Derived(source.names, tuple(labels), source.is_product)


def of_elementwise(
    parts: list[tuple[Derived, Tensor]], after: Tensor, *, channels: int | None = None
) -> Derived:
    """Broadcasting from the right; what has another shape gives its names alone.

    Args:
        parts: What went in.
        after: What came out.
        channels: The axis along which a norm takes its vectors, where it is one.
    """
    labels: list[set[tuple[str, int]]] = [set() for _ in range(after.ndim)]
    for source, before in parts:
        if before.ndim == 1 and channels is not None and after.ndim > channels:
            labels[channels] |= source.labels[0]
            continue
        fits = before.ndim <= after.ndim and all(
            size in (1, after.shape[after.ndim - before.ndim + d])
            for d, size in enumerate(before.shape)
        )
        if fits:
            for d, label in enumerate(source.labels):
                labels[after.ndim - before.ndim + d] |= label
    names = frozenset().union(*(source.names for source, _ in parts))
    product = all(source.is_product for source, _ in parts)
    return Derived(names, tuple(frozenset(one) for one in labels), product)


def of_parts(
    parts: list[tuple[Derived, Tensor]], after: Tensor, stacked: int | None = None
) -> Derived:
    """Tensors side by side: each keeps its axes.

    Args:
        parts: What went in.
        after: What came out.
        stacked: The new axis along which they lie, where there is one.
    """
    labels: list[set[tuple[str, int]]] = [set() for _ in range(after.ndim)]
    for source, before in parts:
        axes = [d for d in range(after.ndim) if d != stacked]
        if before.ndim == len(axes):
            for d, label in zip(axes, source.labels, strict=True):
                labels[d] |= label
    names = frozenset().union(*(source.names for source, _ in parts))
    product = all(source.is_product for source, _ in parts)
    return Derived(names, tuple(frozenset(one) for one in labels), product)


def of_rows(source: Derived, before: Tensor, after: Tensor) -> Derived:
    """Slices along the first axis, one for each place of an index: [..., *slice]."""
    more = after.ndim - before.ndim + 1
    inside = source.labels[1:] if more >= 0 else ()
    labels = (*(frozenset[tuple[str, int]]() for _ in range(more)), *inside)
    fits = len(labels) == after.ndim and after.shape[more:] == before.shape[1:]
    blank = tuple(frozenset[tuple[str, int]]() for _ in range(after.ndim))
    return Derived(source.names, labels if fits else blank, is_product=not fits)


def labels_after_sum(
    source: Derived, before: Tensor, after: Tensor
) -> tuple[Label, ...]:
    """Labels after one axis was summed away: the first that explains the shape."""
    for axis in range(before.ndim):
        if (*before.shape[:axis], *before.shape[axis + 1 :]) == tuple(after.shape):
            return (*source.labels[:axis], *source.labels[axis + 1 :])
    return tuple(frozenset() for _ in range(after.ndim))


def is_part(tensor: Tensor) -> bool:
    """Whether it is a view of some of the numbers of another one."""
    try:
        whole = tensor.untyped_storage().nbytes()
    except (RuntimeError, NotImplementedError):  # subclasses without a storage
        return False
    return tensor.numel() * tensor.element_size() < whole


def shares_memory(before: Tensor, after: Tensor) -> bool:
    """Whether one is a view of the other."""
    try:
        same = before.untyped_storage().data_ptr() == after.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # subclasses without a storage
        return False
    return same and before.layout is torch.strided and before.numel() > 0
