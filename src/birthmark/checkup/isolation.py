"""A model is looked at through aliases of its parameters, and left as it was."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from birthmark.errors import WeightsError


def refuse_unmaterialized(model: nn.Module) -> None:
    """Refuse tensors that hold no numbers yet.

    Raises:
        WeightsError: A parameter or buffer is lazy or on the meta device.
    """
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(value):
            raise WeightsError(
                f"{name} is lazy and has no shape yet: run one batch through the "
                "model, then check it"
            )
        if value.is_meta:
            raise WeightsError(
                f"{name} is on the meta device and holds no numbers: materialize with "
                "model.to_empty(device=...) and initialize, then check it"
            )


def alias_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Leaves that share the parameters' memory and nothing else, by name.

    All floating leaves ask for a gradient, frozen or not, so that the path of the
    signal can be followed. Hooks on the user's parameters, such as an optimizer that
    steps inside of backward, do not fire.
    """
    leaves = {}
    for name, parameter in model.named_parameters():
        leaf = parameter.detach()
        if leaf.is_floating_point() or leaf.is_complex():
            leaf.requires_grad_(True)
        leaves[name] = leaf
    return leaves


def copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Copies in which a forward pass may update running statistics."""
    return {name: value.detach().clone() for name, value in model.named_buffers()}


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Put back random streams and the modules' plain attributes; compile nothing."""
    streams = random.getstate(), np.random.get_state()  # noqa: NPY002
    attributes: dict[nn.Module, Mapping[str, Any]] = {
        module: dict(module.__dict__) for module in model.modules()
    }
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=_devices(model)))
        if "torch._dynamo" in sys.modules:  # else nothing here can be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.enable_grad())
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            for module, before in attributes.items():
                module.__dict__.clear()
                module.__dict__.update(before)
            random.setstate(streams[0])
            np.random.set_state(streams[1])  # noqa: NPY002


def _devices(model: nn.Module) -> list[int]:
    return sorted(
        {
            parameter.device.index or 0
            for parameter in model.parameters()
            if parameter.device.type == "cuda"
        }
    )
