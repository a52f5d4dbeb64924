"""What each parameter does in one operation, and along which of its axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from birthmark.checkup.operations import (
    CONVOLUTIONS,
    PRODUCTS,
    Use,
    factors,
    groups_of,
    kind_of_use,
    summed_axes,
)
from birthmark.checkup.provenance import Derived

Made = tuple[Derived, Tensor]


@dataclass(frozen=True)
class Operation:
    """One call below autograd: what went in, by kind, and what came out."""

    name: str
    words: tuple[str, ...]  # names of its arguments
    args: tuple[Any, ...]
    made: tuple[Made, ...]  # arguments made of parameters
    data: tuple[Tensor, ...]
    results: tuple[Tensor, ...]

    @property
    def owners(self) -> tuple[str, ...]:
        """Names of all parameters in it."""
        return tuple(owner for source, _ in self.made for owner in source.names)

    def with_rows(self, rows: tuple[Made, ...]) -> Operation:
        """With rows that were looked up taken as what they were looked up from."""
        mine = {id(tensor) for _, tensor in rows}
        data = tuple(one for one in self.data if id(one) not in mine)
        return replace(self, made=(*self.made, *rows), data=data)

    def place_of(self, tensor: Tensor) -> int:
        """Which argument this is; -1 where it came inside a list or by keyword."""
        places = [i for i, one in enumerate(self.args) if one is tensor]
        return places[-1] if places else -1


@dataclass(frozen=True)
class Product:
    """A matrix as it was multiplied."""

    matrix: Tensor
    fan_in: int


def find_uses(
    done: Operation, leaves: Mapping[str, Tensor], node: int
) -> Iterator[tuple[Use, Product | None]]:
    """What each parameter does here; with the product, where it is a matrix."""
    for source, tensor in done.made:
        place = done.place_of(tensor)
        summed = summed_axes(done.name, done.args, place, tensor)
        if source.is_product:
            found = _factors_of(source, tensor, summed or (), leaves, node)
            yield from ((use, None) for use in found)
            continue
        if done.name in PRODUCTS and _is_query(done, tensor):
            yield from ((Use(one, "token", node=node), None) for one in source.names)
            continue
        for owner in source.names:
            if summed is None:
                word = done.words[place] if 0 <= place < len(done.words) else ""
                kind = kind_of_use(done.name, word, tensor, done.results[0])
                yield Use(owner, kind, source.axes(owner, ()), node=node), None
                continue
            kept = tuple(d for d in range(tensor.ndim) if d not in summed)
            use = _multiplied(done, source, owner, (kept, summed), leaves, node)
            fan_in = math.prod(tensor.shape[d] for d in summed)
            yield use, Product(tensor, fan_in) if use.kind == "matrix" else None


def _multiplied(
    done: Operation,
    source: Derived,
    owner: str,
    dims: tuple[tuple[int, ...], tuple[int, ...]],
    leaves: Mapping[str, Tensor],
    node: int,
) -> Use:
    """A parameter inside of a matrix, or what scales the rows of one."""
    kept, summed = dims
    units, inputs = source.axes(owner, kept), source.axes(owner, summed)
    if set(units) & set(inputs):  # a matrix and its transpose, added
        rest = range(1, leaves[owner].ndim)
        units, inputs = (0,), tuple(rest)
    wide = any(leaves[owner].shape[axis] > 1 for axis in inputs)
    beside = not inputs and units and len(done.made) > 1
    if beside or (not wide and len(source.names) > 1):  # a magnitude, a mask
        return Use(owner, "scale", units, node=node)
    convolution = done.name in CONVOLUTIONS
    return Use(
        owner,
        "matrix",
        units,
        inputs,
        groups=groups_of(done.name, done.args),
        is_convolution=convolution,
        transposed=convolution and bool(done.args[6]),
        node=node,
    )


def _factors_of(
    source: Derived,
    tensor: Tensor,
    summed: tuple[int, ...],
    leaves: Mapping[str, Tensor],
    node: int,
) -> Iterator[Use]:
    """Factors of a matrix: the outer axis of one is summed over, of the other kept."""
    kept = tuple(d for d in range(tensor.ndim) if d not in summed)
    for owner in source.names if summed else ():
        units, inputs = source.axes(owner, kept), source.axes(owner, summed)
        inner = set(range(leaves[owner].ndim)) - {*units, *inputs}
        if inner and bool(units) != bool(inputs):
            between = tuple(sorted(inner))
            yield Use(owner, "matrix", units or between, inputs or between, node=node)


def _is_query(done: Operation, tensor: Tensor) -> bool:
    """Whether this parameter is what a linear layer works on."""
    left, right = factors(done.name, done.args)
    mine = {id(one) for _, one in done.made}
    return tensor is left and id(right) in mine


def uses_of_factors(left: Made, right: Made) -> Iterator[Use]:
    """Two parameters that are multiplied to one matrix, as far as can be told yet."""
    (one, a), (other, b) = left, right
    for source, tensor, inner in ((one, a, a.ndim - 1), (other, b, b.ndim - 2)):
        outer = tensor.ndim - 1 if inner == tensor.ndim - 2 else tensor.ndim - 2
        for owner in source.names:
            units, inputs = source.axes(owner, (outer,)), source.axes(owner, (inner,))
            yield Use(owner, "matrix", units, inputs)


def uses_of_sum(
    done: Operation, spread: tuple[Derived, Tensor, tuple[int, ...]], node: int
) -> Iterator[Use]:
    """A product written out: data times a matrix by number, and now their sum.

    The axes of the units are those along which the data was one number.
    """
    source, tensor, shape = spread
    ndim = max(tensor.ndim, len(shape))
    given = done.args[1] if len(done.args) > 1 else None
    axes = [given] if isinstance(given, int) else given or range(ndim)
    summed = {axis % ndim - (ndim - tensor.ndim) for axis in axes}
    sizes = (1,) * (ndim - len(shape)) + shape
    alone = {
        d
        for d in range(tensor.ndim)
        if sizes[d + ndim - tensor.ndim] == 1 < tensor.shape[d]
    }
    inside = tuple(d for d in sorted(summed) if d >= 0)
    outside = tuple(sorted(alone - summed))
    for owner in source.names:
        units, inputs = source.axes(owner, outside), source.axes(owner, inside)
        if units and inputs and not set(units) & set(inputs):
            yield Use(owner, "matrix", units, inputs, node=node)
