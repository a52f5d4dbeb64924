"""Tensors that learn in the forward pass, and are no parameters of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from birthmark.checkup.passes import Pass

_DEEPEST = 3  # lists of lists of layers


def find_unregistered(model: nn.Module, seen: Pass) -> tuple[str, ...]:
    """Names, as Python would write them, of what a plain attribute holds."""
    known = {id(leaf) for leaf in seen.trace.leaves.values()}
    leaves = {
        id(node.variable) for node, step in seen.steps.items() if step.kind == "leaf"
    }
    strange = leaves - known
    if not strange:
        return ()
    found: dict[int, str] = {}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            inside = f"{path}.{key}".lstrip(".")
            for name, tensor in _walk(inside, value, _DEEPEST):
                if id(tensor) in strange:
                    found.setdefault(id(tensor), name)
    return tuple(found.values())


def _walk(name: str, value: Any, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        yield from ((f"{name}.{key}", one) for key, one in value.named_parameters())
    elif depth and isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _walk(f"{name}[{number}]", one, depth - 1)
    elif depth and isinstance(value, Mapping):
        for key, one in value.items():
            yield from _walk(f"{name}[{key!r}]", one, depth - 1)
