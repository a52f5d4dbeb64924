"""What moved weights do to what goes through a layer, on a batch that stays the same.

Of a layer z = W x the output changes by dW x, what its own weights add, and by W0 dx,
what reaches it changed from below (the refined coordinate check, arXiv 2505.22491).
Biases are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from birthmark.measurements.pair import Pair
from birthmark.shapes import Tensor

NAMES = ("by_weights", "by_inputs", "by_noise", "output")


@dataclass(frozen=True)
class Signal:
    """Mean squares over the outputs of a layer: of dW x, W0 dx, noise x and W0 x0."""

    values_RS: Tensor  # [R, 4] float64, in the order of `NAMES`


def output_by_weights(pair: Pair) -> Tensor:
    """Size of what the moved weights add to the output, over that at the start.

    Root mean square of dW x over that of W0 x0, x what reaches the layer now. It is of
    order 1 in any width where features are learned, and falls with the width where
    training is lazy (arXiv 2505.22491).
    """
    return _ratio(pair, "by_weights")


def output_by_inputs(pair: Pair) -> Tensor:
    """Size of what the layers below add: root mean square of W0 dx over W0 x0."""
    return _ratio(pair, "by_inputs")


def output_by_noise(pair: Pair) -> Tensor:
    """What noise of the size of dW would add: the null of `output_by_weights`.

    The expectation over independent weights of the rms deviation and zero mean: more
    than that means that the deviation is aligned with what reaches the layer.
    """
    return _ratio(pair, "by_noise")


def _ratio(pair: Pair, part: str) -> Tensor:
    if pair.signal is None:
        return torch.full_like(pair.sums.count, torch.nan)
    values_RS = pair.signal.values_RS.to(pair.sums.count.device)
    squares_R = values_RS[:, NAMES.index(part)] / values_RS[:, NAMES.index("output")]
    return squares_R.sqrt()
