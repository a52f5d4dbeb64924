"""The length of the way through the recorded steps, kept between two of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from birthmark.measurements import extend_path
from birthmark.network import name_parameters
from birthmark.shapes import Array, Parameters, Weights

Configuration = Weights | Parameters


def name_tensors(configuration: Configuration) -> dict[str, Tensor]:
    """The tensors themselves by name, in the order of their network."""
    if isinstance(configuration, Weights):
        return name_parameters(configuration)
    return {name: one.values for name, one in configuration.items()}


class PathLengths:
    """The sums of the moves so far, and the weights at the last of them.

    Attributes:
        lengths: By name of tensor, [R], as `extend_path` has them.
    """

    def __init__(self, initial: Configuration) -> None:
        self._initial = self._previous = initial
        self.lengths: dict[str, Tensor] = {}

    def extend(self, current: Configuration, *, is_start: bool) -> None:
        """Go on to these weights, which are the initial ones at the start."""
        self.lengths = extend_path(self.lengths, self._previous, current)
        if is_start:
            return
        if self._previous is self._initial:
            self._previous = current.clone()
            return
        kept = name_tensors(self._previous)
        for name, value in name_tensors(current).items():
            kept[name].copy_(value)

    def state_dict(self) -> dict[str, Array]:
        """Arrays from which `load_state_dict` goes on."""
        tensors = {f"path.{name}": value for name, value in self.lengths.items()}
        for name, value in name_tensors(self._previous).items():
            tensors[f"previous.{name}"] = value
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def load_state_dict(self, arrays: Mapping[str, Array]) -> None:
        """Stand where `state_dict` was taken."""
        self._previous = self._initial.clone()
        kept = name_tensors(self._previous)
        device = next(iter(kept.values())).device
        self.lengths = {}
        for name, array in arrays.items():
            which, _, rest = name.partition(".")
            if which == "path":
                self.lengths[rest] = torch.tensor(array, device=device)
            elif which == "previous":
                kept[rest].copy_(torch.tensor(array))
