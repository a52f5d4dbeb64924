"""A random sample of the coordinates of each large tensor."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from birthmark.shapes import Parameter, Parameters


class Sample:
    """The same places of each large tensor, whenever it is looked at.

    They depend on the name, the size and the number of places alone, so that a resumed
    run looks at the same ones. Tensors that are not larger are taken whole; of a shard
    the places are those that this process has.
    """

    def __init__(self, parameters: Parameters, num_places: int) -> None:
        """Draw the places, with replacement: each is as likely at each draw.

        Args:
            parameters: Whose names and sizes count.
            num_places: Of each tensor that has more.
        """
        self.sizes = {name: one.values[0].numel() for name, one in parameters.items()}
        self.places = {
            name: _draw(name, self.sizes[name], num_places).to(one.values.device)
            for name, one in parameters.items()
            if self.sizes[name] > num_places
        }

    @property
    def growths(self) -> dict[str, float]:
        """By name how many coordinates each one taken stands for."""
        return {name: self.growth(name) for name in self.sizes}

    def take(self, parameters: Parameters) -> Parameters:
        """Vectors of the sampled places, and small tensors as they are."""
        return Parameters(
            {
                name: self._take(name, one) if name in self.places else one
                for name, one in parameters.items()
            }
        )

    def growth(self, name: str) -> float:
        """How many coordinates each sampled one stands for."""
        if name not in self.places:
            return 1.0
        return self.sizes[name] / len(self.places[name])

    def _take(self, name: str, one: Parameter) -> Parameter:
        places = self.places[name].to(one.values.device)
        values = one.values.flatten(1).index_select(1, places)
        return replace(one, values=values, layout="OI")


def _draw(name: str, size: int, num_places: int) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(f"{name} {size}".encode()).digest()[:7])
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(size, (num_places,), generator=generator)
    return places.sort().values
