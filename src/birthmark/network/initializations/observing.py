"""Looking at a module while a batch runs through it, and leaving no trace."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from birthmark.errors import WeightsError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)

Loss = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def modes_put_back(module: nn.Module) -> Iterator[None]:
    """Flags of training and buffers, in their place, are after it as they were."""
    training = {each: each.training for each in module.modules()}
    buffers = [
        (each, name, buffer, buffer.clone())
        for each in module.modules()
        for name, buffer in each.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for each, flag in training.items():
            each.training = flag
        with torch.no_grad():
            for each, name, buffer, kept in buffers:
                buffer.copy_(kept)
                each._buffers[name] = (
                    buffer  # a forward pass may have put another there
                )


@contextmanager
def as_in_training(module: nn.Module) -> Iterator[None]:
    """Norms use the batch, nothing drops out; flags and buffers come back after it."""
    with modes_put_back(module):
        module.train()
        for each in module.modules():
            if isinstance(each, _DROPOUTS):
                each.eval()
        yield


@dataclass(frozen=True)
class MetLayer:
    """A dense or convolutional layer that the batch ran through."""

    name: str
    module: nn.Module
    weight: Tensor  # [O, I, *kernel]
    bias: Tensor | None  # [O]

    def __str__(self) -> str:
        return self.name or "the layer"


def layers_in_order(
    module: nn.Module, x: Tensor, names: Collection[str]
) -> list[MetLayer]:
    """Dense and convolutional layers in the order in which the batch meets them.

    Args:
        module: Each layer counts once, where it is met first.
        x: The batch.
        names: Of the parameters; layers whose weights are not among them are left out.
    """
    met: dict[str, MetLayer] = {}

    def note(name: str, layer: nn.Module) -> None:
        own = dict(layer.named_parameters(recurse=False))
        met.setdefault(name, MetLayer(name, layer, own["weight"], own.get("bias")))

    hooks = [
        layer.register_forward_hook(lambda layer, *_, name=name: note(name, layer))
        for name, layer in module.named_modules()
        if isinstance(layer, LAYERS) and f"{name}.weight".lstrip(".") in names
    ]
    _run(module, x, hooks)
    return list(met.values())


def output_of(module: nn.Module, layer: MetLayer, x: Tensor) -> Tensor:
    """What a layer gives for the batch, before the activation, when first met.

    Raises:
        WeightsError: It holds NaN or Inf.
    """
    outputs: list[Tensor] = []
    hook = layer.module.register_forward_hook(
        lambda _module, _inputs, output: outputs.append(output.detach())
    )
    _run(module, x, [hook])
    if not torch.isfinite(outputs[0]).all():
        raise WeightsError(f"{layer} gives NaN or Inf on this batch")
    return outputs[0]


def input_of(module: nn.Module, layer: MetLayer, x: Tensor) -> Tensor:
    """What comes into a layer when it is first met.

    Raises:
        WeightsError: It holds NaN or Inf.
    """
    inputs: list[Tensor] = []
    hook = layer.module.register_forward_pre_hook(
        lambda _module, given: inputs.append(given[0].detach())
    )
    _run(module, x, [hook])
    if not torch.isfinite(inputs[0]).all():
        raise WeightsError(f"{layer} is given NaN or Inf on this batch")
    return inputs[0]


def outputs_by_unit(module: nn.Module, layer: MetLayer, x: Tensor) -> Tensor:
    """Outputs of a layer as [examples and places, O]."""
    channel = -1 if isinstance(layer.module, nn.Linear) else 1
    return output_of(module, layer, x).movedim(channel, -1).flatten(0, -2)


def _run(module: nn.Module, x: Tensor, hooks: list[RemovableHandle]) -> None:
    try:
        with torch.no_grad():
            module(x)
    finally:
        for hook in hooks:
            hook.remove()
