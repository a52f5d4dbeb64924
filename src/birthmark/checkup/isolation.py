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
    """Refuse a model without parameters, and tensors that hold no numbers yet.

    Raises:
        WeightsError: There is no parameter, or one, or a buffer, is lazy, on the meta
            device, or made in inference mode.
    """
    if next(model.parameters(), None) is None:
        raise WeightsError(
            f"{type(model).__name__} has no parameters: keep its layers as attributes, "
            "in a ModuleList or a ModuleDict; torch does not look into plain lists"
        )
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(value):
            raise WeightsError(
                f"{name} is lazy and has no shape yet: run one batch through the "
                "model, then check it"
            )
        if value.is_inference():
            raise WeightsError(
                f"{name} was made in torch.inference_mode() and cannot be trained: "
                "build the model outside of it, then check it"
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
    leaves: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        leaf = parameter.detach()
        # of numbers below 16 bits, and of sparse ones, there are no gradients
        floats = leaf.is_floating_point() and leaf.element_size() > 1
        wanted = (floats or leaf.is_complex()) and leaf.layout is torch.strided
        leaves[name] = nn.Parameter(leaf, requires_grad=wanted)
    return leaves


@contextmanager
def standing_in(
    model: nn.Module, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> Iterator[None]:
    """Put other tensors in the place of the model's own, and its own back.

    Unlike `torch.func.functional_call` it lasts as long as the context, so that what
    runs forward again inside of backward (checkpointing) finds the same tensors; and
    it reaches variables of Keras layers, which hold their parameters twice.
    """
    own = {id(p): leaves[n] for n, p in model.named_parameters() if n in leaves}
    own |= {id(b): buffers[n] for n, b in model.named_buffers() if n in buffers}
    changed: list[tuple[dict[str, Any], str, Any]] = []
    places: list[dict[str, Any]] = []
    for module in model.modules():
        places += [module._parameters, module._buffers]
        for variable in _keras_variables(module):
            places.append(variable.__dict__)
    try:
        for place in places:
            for key, value in list(place.items()):
                if id(value) in own and isinstance(value, Tensor):
                    changed.append((place, key, value))
                    place[key] = own[id(value)]
        yield
    finally:
        for place, key, value in reversed(changed):
            place[key] = value


def _keras_variables(module: nn.Module) -> list[Any]:
    if not any(base.__module__.startswith("keras.") for base in type(module).__mro__):
        return []
    return list(getattr(module, "variables", ()))


def copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Copies in which a forward pass may update running statistics."""
    return {name: value.detach().clone() for name, value in model.named_buffers()}


def seed_streams(seed: int) -> None:
    """Set all streams that a user's factory may draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Put back random streams and the modules' plain attributes; compile nothing."""
    streams = random.getstate(), np.random.get_state()  # noqa: NPY002
    attributes: dict[nn.Module, Mapping[str, Any]] = {
        module: dict(module.__dict__) for module in model.modules()
    }
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=_devices(model)))
        if "torch._dynamo" in sys.modules:  # else nothing here can be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.enable_grad())
        seed_streams(0)
        try:
            yield
        finally:
            for module, before in attributes.items():
                module.__dict__.clear()
                module.__dict__.update(before)
            for parameter, gradient in gradients:
                if parameter.grad is not gradient:
                    parameter.grad = gradient
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
