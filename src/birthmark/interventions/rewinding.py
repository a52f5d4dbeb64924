"""One layer after the other put back to its start, or drawn anew, in a trained model.

Zhang, Bengio & Singer, arXiv 1902.01996: some layers can go back to where they began
and the network still works (they call them ambient), others cannot (critical). The null
model is the same layer drawn anew: it keeps size and law of the start and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from birthmark.interventions.models import Bench, Evaluate
from birthmark.interventions.texts import Replaced, Result, Table, table_of_layers
from birthmark.measurements import Source
from birthmark.shapes import Tensor
from birthmark.wording import say_names


@dataclass(frozen=True)
class Rewind(Result):
    """What becomes of a trained model when one layer at a time goes back."""

    end: float  # the number of the model as it is
    start: float  # ... with all layers at their start
    layers: tuple[Replaced, ...]  # in the order of the model
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """Which layers need what they learned, and which do not."""
        told = [one for one in self.layers if math.isfinite(one.share(self.end))]
        if not told:
            return (
                f"No layer matters: {self.end:.3g} at the end, and no re-draw of "
                "one makes it worse."
            )
        worst = max(self.layers, key=lambda one: one.value)
        ambient = [one for one in told if one.share(self.end) < 0.1]
        names = say_names([one.name for one in ambient])
        kept = (
            f"{len(ambient)} of {len(self.layers)} layers can go back to their start "
            f"at less than a tenth of what a re-draw costs ({names})"
            if ambient
            else f"None of {len(self.layers)} layers can go back to its start at less "
            "than a tenth of what a re-draw costs"
        )
        return (
            f"{kept}; {worst.name} needs most what it learned: {self.end:.3g} at the "
            f"end, {worst.value:.3g} with it at its start, {self.start:.3g} with all."
        )

    def table(self) -> Table:
        """One line a layer, in the order of the model."""
        return table_of_layers(self.layers, self.end, "rewound")


def rewind(
    model: nn.Module,
    start: Source,
    evaluate: Evaluate,
    *,
    layers: Sequence[str] | None = None,
    redraws: int = 3,
    batches: Iterable[Any] | None = None,
    seed: int = 0,
) -> Rewind:
    """Put one layer at a time back to its start, and evaluate.

    Args:
        model: Trained; it ends as it was given.
        start: Its initial weights: a module, a state dict, a mapping of arrays.
        evaluate: Takes the model and gives a number, the smaller the better. The model
            is in evaluation mode, and no gradient is kept.
        layers: Beginnings of names that go back together (`layers.0` for a block); each
            module with weights of its own unless said.
        redraws: How often each layer is drawn anew, as its start in another order.
        batches: Inputs to compute the running statistics of batch norms from.
        seed: Of the re-draws.

    Raises:
        WeightsError: The start is of another architecture, or no tensor begins so.
    """
    bench = Bench(model, evaluate, batches)
    before = bench.match(start, "the start")
    groups = bench.groups(layers)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for layer, names in groups.items():
        back = {name: before[name].values for name in names}
        drawn = [
            bench.try_at({n: shuffle(values, generator) for n, values in back.items()})
            for _ in range(max(1, redraws))
        ]
        count = sum(before[name].size for name in names)
        found.append(Replaced(layer, count, bench.try_at(back), tuple(drawn)))
    every = {name: one.values for name, one in before.items()}
    return Rewind(bench.try_at({}), bench.try_at(every), tuple(found), bench.notes)


def shuffle(values: Tensor, generator: torch.Generator) -> Tensor:
    """The same numbers in another order: a draw of exactly the same law."""
    flat = values.reshape(-1)
    order = torch.randperm(flat.numel(), generator=generator)
    return flat[order.to(flat.device)].reshape(values.shape)
