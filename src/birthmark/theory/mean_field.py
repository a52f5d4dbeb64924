"""Mean-field theory of wide random dense networks: fixed points and depth scales.

Weights are N(0, w / fan_in), biases N(0, b). An input's pre-activations are Gaussian of
second moment q, two inputs' have the correlation c, and layer by layer
q' = w E phi(z)^2 + b and c' = (w E phi(u) phi(v) + b) / q' (Poole et al. 1606.05340,
eqs. 3 and 5; Schoenholz et al. 1611.01232, eqs. 2 and 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize

from birthmark.shapes import Array
from birthmark.theory.activations import (
    Activation,
    forward_moment,
    joint_moment,
    slope_moment,
)

_STEP = 1e-4  # of a numerical derivative by c: its error is of the order 1e-8
_ROUNDS = 20_000  # of the map to its fixed point
_SETTLED = 1e-12


@dataclass(frozen=True)
class RandomLayers:
    """The law from which all layers are drawn, and what it does to signals."""

    activation: str
    weight: float  # variance of a weight times the fan-in
    bias: float  # variance of a bias

    def next_moment(self, q: float) -> float:
        """The second moment of the next layer."""
        return self.weight * forward_moment(self._phi, q) + self.bias

    def next_correlation(self, q: float, c: float) -> float:
        """The correlation of two inputs, each of moment q, in the next layer."""
        product = self.weight * joint_moment(self._phi, q, c) + self.bias
        return product / self.next_moment(q)

    def gradient_factor(self, q: float) -> float:
        """chi_1: what a layer multiplies the gradient's second moment by."""
        return self.weight * slope_moment(self._phi, q)

    @cached_property
    def fixed_moment(self) -> float:
        """q*, to which the second moment tends; 0 and inf where it dies or explodes.

        A rectifier without biases keeps any moment at its critical variance: q* is 1.
        """
        if self.activation == "relu":
            return self._fixed_moment_of_relu()
        q = 1.0
        for _ in range(_ROUNDS):
            before, q = q, self.next_moment(q)
            if abs(q - before) <= _SETTLED * before:
                break
        return q

    @cached_property
    def chi(self) -> float:
        """chi_1 at q*: below 1 is order, above 1 chaos (rectifiers: at any moment)."""
        q = self.fixed_moment
        return self.gradient_factor(q if 0 < q < math.inf else 1.0)

    @cached_property
    def fixed_correlation(self) -> float:
        """c*, to which the correlation of any two inputs tends; 1 in the order."""
        if self.chi <= 1:
            return 1.0

        def surplus(c: float) -> float:
            return self._correlate(c) - c

        below_one = 1 - 1e-6
        if self.activation == "relu" or surplus(below_one) > 0:
            return 1.0
        return float(optimize.brentq(surplus, 0.0, below_one))

    @cached_property
    def depth_scale(self) -> float:
        """xi_c: layers in which the distance of c to c* falls by e; inf: no such rate.

        -1 / ln of the slope of the correlation map at c* (1611.01232, eq. 9).
        """
        c = self.fixed_correlation
        if c == 1.0:
            # without biases the arc-cosine map touches c' = c whatever the variance
            keeps_scale = self.activation == "relu" and self.bias == 0
            return math.inf if keeps_scale else _scale(self.chi)
        step = min(_STEP, (1 - c) / 2)
        slope = (self._correlate(c + step) - self._correlate(c - step)) / (2 * step)
        return _scale(slope)

    @cached_property
    def gradient_scale(self) -> float:
        """Layers in which the gradient's second moment changes by e: 1 / |ln chi_1|."""
        return _scale(self.chi)

    def trace(self, moment: float, correlation: float, depth: int) -> tuple[Array, ...]:
        """Second moments and correlations of the layers 1 ... depth, each [L].

        Args:
            moment: Of the inputs.
            correlation: Of two inputs.
            depth: How many layers.
        """
        q = self.weight * moment + self.bias
        c = (self.weight * moment * correlation + self.bias) / q
        moments, correlations = [q], [c]
        for _ in range(depth - 1):
            q, c = self.next_moment(q), self.next_correlation(q, c)
            moments.append(q)
            correlations.append(c)
        return np.array(moments), np.array(correlations)

    @property
    def _phi(self) -> Activation:
        return Activation(self.activation)

    def _fixed_moment_of_relu(self) -> float:
        rate = self.weight / 2
        if rate < 1:
            return self.bias / (1 - rate)
        return 1.0 if rate == 1 and self.bias == 0 else math.inf

    def _correlate(self, c: float) -> float:
        return self.next_correlation(self.fixed_moment, c)


def _scale(rate: float) -> float:
    return math.inf if abs(rate) == 1 else 1 / abs(math.log(abs(rate)))
