"""Add an initialization of your own
=================================

A rule is a function of what is to be filled, and returns a law that draws it. Then its
name does what ``he_normal`` does: in specs, in any torch module, in comparisons.
"""

from dataclasses import dataclass

import numpy as np
import torch

import birthmark as bm
from birthmark.analysis import find_differences

# %%
# A law says its mean, its standard deviation and the half-width of the axis on which
# its weights are drawn in figures; ``draw`` makes the numbers from the generator that
# it is given, and from nothing else.


@dataclass(frozen=True)
class Laplace:
    """The Laplace law of a scale: sharper than a normal one, with heavier tails."""

    scale: float
    mean = 0.0
    needs_matrix = False

    @property
    def std(self) -> float:
        return self.scale * 2**0.5

    @property
    def bound(self) -> float:
        return 4 * self.std

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]):
        return generator.laplace(0, self.scale, shape)


def laplace(target, *, gain: float = 2.0) -> Laplace:
    """The Laplace law with a variance of gain / fan_in, as He's rule has it."""
    return Laplace((gain / target.fan_in / 2) ** 0.5)


bm.register_initialization(laplace)

# %%
# In any torch module, and looked at before the first step:

model = torch.nn.Sequential(
    torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
)
bm.initialize_(model, "laplace", seed=0, bias="zeros")
batch = torch.randn(128, 64), torch.randint(10, (128,))
print(bm.check(model, batch).summary())

# %%
# Beside others, trained with the same batches, replica by replica. Two are told apart
# only where their paired differences can be told from chance.

spec = bm.RunSpec(
    data={"name": "digits"},
    network={"widths": [64, 64]},
    training={"epochs": 15},
    run={"replicas": 5},
    record={"distributions": []},
)
compared = bm.compare(["laplace", "he_normal", "glorot_uniform"], spec, store="rules")
for finding in find_differences(compared):
    print("-", finding.what)
