"""What a tracker is given, made ready: how to read a model, and whose steps count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from birthmark.errors import SpecError
from birthmark.measurements import to_parameters
from birthmark.shapes import Parameters

Model = nn.Module | Callable[[], Any]
Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]


def make_reader(
    model: Model, tensors: str | Collection[str] | None
) -> Callable[[], Parameters]:
    """A function that gives the weights of a model, those whose names are asked for.

    It raises SpecError where no tensor is named so.
    """
    patterns = as_names("*" if tensors is None else tensors)

    def read() -> Parameters:
        every = to_parameters(model if isinstance(model, nn.Module) else model())
        chosen = {
            name: one
            for name, one in every.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        }
        if not chosen:
            raise SpecError(
                f"no tensor is named like {', '.join(patterns)}: there are "
                f"{', '.join(list(every)[:5])}, ..."
            )
        return Parameters(chosen)

    return read


def as_names(names: str | Collection[str]) -> tuple[str, ...]:
    """One name or several, as several."""
    return (names,) if isinstance(names, str) else tuple(names)


def find_optimizers(optimizer: Optimizers | None) -> list[torch.optim.Optimizer]:
    """Those that make the steps, inside of what accelerate wraps them in."""
    if optimizer is None:
        return []
    several = isinstance(optimizer, Sequence)
    given: Sequence[Any] = optimizer if several else [optimizer]  # type: ignore[assignment]
    return [_bare(one) for one in given]


def _bare(optimizer: Any) -> torch.optim.Optimizer:
    inner = getattr(optimizer, "optimizer", None)
    while isinstance(inner, torch.optim.Optimizer):
        optimizer, inner = inner, getattr(inner, "optimizer", None)
    bare: torch.optim.Optimizer = optimizer
    return bare
