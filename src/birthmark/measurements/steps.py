"""One step of an optimizer: its size, what made it, and what rounding took of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from birthmark.measurements.moments import dot, in_one_unit
from birthmark.measurements.pair import Pair
from birthmark.shapes import Tensor

_NAMES = ("move", "weights", "by_gradient", "by_decay", "wanted", "absorbed")
SQUARES = 4  # of these, the first ones; the others are counts


@dataclass(frozen=True)
class Step:
    """What is summed over a tensor around one step; shards are added up."""

    values_RS: Tensor  # [R, S] float64: squares and products, as `sum_step` gives them
    shrink: float = float("nan")  # of the weights since the start, by decay alone
    # [R, 3] of all steps: squared deviation, its products with what gradients and what
    # decay made of it; None where not every step was looked at
    whole_RS: Tensor | None = None

    def of(self, name: str) -> Tensor:
        """One of the sums, [R]."""
        values_R: Tensor = self.values_RS[:, _NAMES.index(name)]
        return values_R


def sum_step(
    before_RN: Tensor,
    after_RN: Tensor,
    gradient_RN: Tensor,
    by_gradient_RN: Tensor | None = None,
    by_decay_RN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The sums of a `Step`, [R, S], and the unit of its first `SQUARES`, [R].

    Args:
        before_RN: The weights, as they are stored.
        after_RN: The same after the step.
        gradient_RN: Where it is not 0, an update was wanted.
        by_gradient_RN: What of the move the present gradient makes, in float64; None
            where the rule of the optimizer is not known.
        by_decay_RN: What of it weight decay makes.
    """
    w_RN, move_RN = before_RN.double(), after_RN.double() - before_RN.double()
    wanted_RN, still_RN = gradient_RN != 0, move_RN == 0
    by = [one for one in (by_gradient_RN, by_decay_RN) if one is not None]
    (w_RN, move_RN, *by), unit_R = in_one_unit(w_RN, move_RN, *by)
    by_gradient_RN = None if by_gradient_RN is None else by.pop(0)
    by_decay_RN = None if by_decay_RN is None else by.pop(0)
    unknown_R = w_RN.new_full((len(w_RN),), torch.nan)
    found = {
        "move": dot(move_RN, move_RN),
        "weights": dot(w_RN, w_RN),
        "by_gradient": unknown_R
        if by_gradient_RN is None
        else dot(by_gradient_RN, move_RN),
        "by_decay": unknown_R if by_decay_RN is None else dot(by_decay_RN, move_RN),
        "wanted": wanted_RN.sum(1),
        "absorbed": (wanted_RN & still_RN).sum(1),
    }
    return torch.stack([found[name].double() for name in _NAMES], dim=1), unit_R


def update_ratio(pair: Pair) -> Tensor:
    """Norm of the last step over that of the weights before it.

    Of the order of 1e-3 in healthy training, by folklore; the square root of 2 for an
    independent re-draw (trust ratio: You et al., arXiv 1708.03888).
    """
    return _ratio(pair, "move", "weights").sqrt()


def absorbed_share(pair: Pair) -> Tensor:
    """Share of the weights with a gradient that the last step left at their very bits.

    Their updates are below half a unit in the last place, so rounding takes them whole
    (arXiv 2511.08567, 2602.03839). Near 0 in float32.
    """
    return _ratio(pair, "absorbed", "wanted")


def step_by_gradient(pair: Pair) -> Tensor:
    """Share of the last step that the gradient of its own batch makes.

    The projection of that part on the step, over the step's square; the shares of
    gradient, decay and momentum add up to 1. It is 1 for SGD without the others.
    """
    return _ratio(pair, "by_gradient", "move")


def step_by_decay(pair: Pair) -> Tensor:
    """Share of the last step that weight decay makes; 1 where there is no gradient."""
    return _ratio(pair, "by_decay", "move")


def step_by_momentum(pair: Pair) -> Tensor:
    """Share of the last step that gradients before it make, and rounding."""
    return 1 - step_by_gradient(pair) - step_by_decay(pair)


def distance_by_decay(pair: Pair) -> Tensor:
    """Relative distance that weight decay alone would give: a null of the distance.

    1 less the product of (1 - lr * decay) over all steps made; with SGD's momentum m
    each counts 1 / (1 - m) times. NaN where decay is part of an adaptive update.
    """
    shrink = float("nan") if pair.step is None else pair.step.shrink
    return torch.full_like(pair.sums.count, 1 - shrink)


def deviation_by_gradient(pair: Pair) -> Tensor:
    """Share of the whole deviation that gradients made, each in the step it was taken.

    The projection of the sum of these parts on the deviation, over its square; the
    shares of gradients, decay and momentum add up to 1. It is 1 for SGD without the
    others; with momentum m the share of momentum tends to m.
    """
    return _whole_ratio(pair, 1)


def deviation_by_decay(pair: Pair) -> Tensor:
    """Share of the whole deviation that weight decay made; 1 without a gradient."""
    return _whole_ratio(pair, 2)


def deviation_by_momentum(pair: Pair) -> Tensor:
    """Share of it that earlier gradients made once more, and rounding."""
    return 1 - deviation_by_gradient(pair) - deviation_by_decay(pair)


def _whole_ratio(pair: Pair, place: int) -> Tensor:
    if pair.step is None or pair.step.whole_RS is None:
        return torch.full_like(pair.sums.count, torch.nan)
    sums_RS = pair.step.whole_RS.to(pair.sums.count.device)
    return sums_RS[:, place] / sums_RS[:, 0]


def _ratio(pair: Pair, part: str, whole: str) -> Tensor:
    if pair.step is None:
        return torch.full_like(pair.sums.count, torch.nan)
    return pair.step.of(part) / pair.step.of(whole)
