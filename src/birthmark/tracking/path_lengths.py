"""The length of the way through the recorded steps, kept between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from birthmark.measurements import extend_path
from birthmark.network import name_parameters
from birthmark.shapes import Parameters, Weights
from birthmark.tracking.samples import Sample

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

    def __init__(self, initial: Configuration, sample: Sample | None = None) -> None:
        """Begin at the initial configuration, all of it or a sample.

        Args:
            initial: It must stay as it is; what the sample takes of it, with one.
            sample: Places of large tensors to follow, from which their way is
                estimated. All unless given.
        """
        self._sample = sample
        self._initial = self._previous = initial
        self.lengths: dict[str, Tensor] = {}

    def extend(self, current: Configuration, *, is_start: bool) -> None:
        """Go on to these weights; at the start there is no way yet."""
        if is_start:
            self.lengths = extend_path({}, self._initial, self._initial)
            return
        current = self._see(current)
        growths = None if self._sample is None else self._sample.growths
        self.lengths = extend_path(
            self.lengths, self._previous, current, growths=growths
        )
        if self._previous is self._initial:
            self._previous = current.clone()
            return
        kept = name_tensors(self._previous)
        for name, value in name_tensors(current).items():
            kept[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which `load_state_dict` goes on; they are those in use."""
        tensors = {f"path.{name}": value for name, value in self.lengths.items()}
        for name, value in name_tensors(self._previous).items():
            tensors[f"previous.{name}"] = value
        return tensors

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Stand where `state_dict` was taken."""
        self._previous = self._initial.clone()
        kept = name_tensors(self._previous)
        device = next(iter(kept.values())).device
        self.lengths = {}
        for name, array in arrays.items():
            which, _, rest = name.partition(".")
            if which == "path":
                self.lengths[rest] = torch.as_tensor(array).clone().to(device)
            elif which == "previous":
                kept[rest].copy_(torch.as_tensor(array))

    def _see(self, configuration: Configuration) -> Configuration:
        if self._sample is None or isinstance(configuration, Weights):
            return configuration
        return self._sample.take(configuration)
