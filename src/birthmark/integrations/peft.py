"""Adapters: the weight that really acts, and whether the adapter has trained.

    tracker = bm.Tracker(lambda: effective_weights(model), optimizer, store="runs")
    for adapter in describe_adapters(model):
        print(adapter)

The effective weight of a layer is what `merge` makes of a copy, which is right for
LoRA, rsLoRA, DoRA, PiSSA and OLoRA alike; base plus `get_delta_weight` is not for DoRA.
PiSSA and OLoRA move the base when they wrap a model and leave the effective weight.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


@dataclass(frozen=True)
class Adapter:
    """One adapter on one layer."""

    layer: str
    name: str
    state: str  # trained | B is zero: it changes nothing | merged into the base
    relative_change: (
        float  # norm of what it adds over that of the weight it is added to
    )

    def __str__(self) -> str:
        return f"{self.layer}, {self.name}: {self.state} ({self.relative_change:.2g})"


def effective_weights(model: nn.Module) -> dict[str, Tensor]:
    """For each adapted layer the weight that acts, by the layer's name and `.weight`.

    Layers are copied and merged one at a time; the model stays as it is.
    """
    return {f"{name}.weight": _merged(layer) for name, layer in _adapted(model)}


def describe_adapters(model: nn.Module) -> list[Adapter]:
    """Each adapter of each layer, and whether it does anything."""
    found = []
    for name, layer in _adapted(model):
        acting = _merged(layer).double()
        base = layer.get_base_layer().weight.detach().double()
        change = float((acting - base).norm() / acting.norm())
        for adapter in layer.active_adapters:
            found.append(Adapter(name, adapter, _state(layer, adapter, change), change))
    return found


def _adapted(model: nn.Module) -> Iterator[tuple[str, BaseTunerLayer]]:
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and hasattr(
            module.get_base_layer(), "weight"
        ):
            yield name, module


@torch.no_grad()
def _merged(layer: BaseTunerLayer) -> Tensor:
    if layer.merged:
        weight: Tensor = layer.get_base_layer().weight.detach().clone()
        return weight
    layer = copy.deepcopy(layer)
    layer.merge(safe_merge=True)
    merged: Tensor = layer.get_base_layer().weight.detach()
    return merged


def _state(layer: BaseTunerLayer, adapter: str, change: float) -> str:
    if layer.merged:
        return "merged into the base: what it adds cannot be told any more"
    ends = getattr(layer, "lora_B", {})
    if adapter in ends and not bool(ends[adapter].weight.any()):
        return "B is still zero: it changes nothing"
    if change == 0:
        return "changes nothing"
    return "acts"
