"""How far moments of one draw scatter around what mean-field theory expects."""

from __future__ import annotations


def log_variance(depth: int, width: int) -> float:
    """The variance over draws of ln q of one input behind `depth` layers with ReLU.

    A layer adds E relu^4 / (E relu^2)^2 - 1 = 5 over the width, and the last one, whose
    pre-activations are looked at, 2 over the width (that variances add up as depth over
    width: Hanin & Rolnick 1803.01719). The mean of ln q lies half of it below the
    logarithm of the mean, which mean-field theory gives.
    """
    return (5 * (depth - 1) + 2) / width
