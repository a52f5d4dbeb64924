"""What mean-field theory expects of each layer, forward and backward.

Weights are taken as independent draws with mean 0 and the second moment that they have.
Then, for any input, E z^2 = fan_in E w^2 E x^2 + E b^2, activations act on Gaussians,
residual branches add up, and gradients travel back by fan_out E w^2 E phi'(z)^2
(He et al. 1502.01852, eqs. 7 and 13; Poole et al. 1606.05340, eq. 3; Schoenholz et al.
1611.01232, eq. 12; residual branches: Yang & Schoenholz 1712.08969).

Gradients are followed by their energy, the sum of squares over all numbers of an
output: it needs no geometry, since a layer multiplies it by fan_in E w^2 (He's fan_in
rule keeps it, whatever the widths and strides).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from birthmark.checkup.signal_graph import Step
from birthmark.theory import forward_moment, joint_moment, slope_moment


@dataclass(frozen=True)
class Transfer:
    """What a layer does to moments, from its own weights and geometry."""

    gain: float  # of the second moment forward: z^2 = gain x^2 + shift
    shift: float
    energy_gain: float  # of the gradient's energy backward
    input_moment: float  # measured
    input_correlation: float | None  # measured
    output_energy: float | None  # of the gradient, measured
    is_norm: bool = False  # the output's moment is `shift`, whatever comes in


@dataclass(frozen=True)
class Signal:
    """Second moment of one tensor and product moment of two inputs' tensors."""

    moment: float
    product: float | None
    is_gaussian: bool

    @property
    def correlation(self) -> float | None:
        """Cosine of two inputs."""
        if self.product is None or self.moment <= 0:
            return None
        return min(1.0, max(-1.0, self.product / self.moment))


def predict_forward(
    steps: Mapping[Any, Step],
    transfers: Mapping[str, Transfer],
    leaf_moments: Mapping[Any, float],
) -> dict[Any, Signal]:
    """The expected signal after each step, where there is theory for it.

    A prediction runs on from the data; after a step without theory it starts anew from
    the measured input of the next layer.
    """
    signals: dict[Any, Signal | None] = {}
    for node, step in steps.items():
        before = [signals[parent] for parent in step.parents]
        if step.kind == "layer":
            transfer = transfers.get(step.layer)
            first = before[0] if before else None
            signals[node] = _through_layer(transfer, first) if transfer else None
        elif step.kind == "leaf":
            moment = leaf_moments.get(node)
            signals[node] = (
                None if moment is None else Signal(moment, moment, is_gaussian=True)
            )
        else:
            signals[node] = _through_step(step, before)
    return {node: signal for node, signal in signals.items() if signal is not None}


def predict_backward(
    steps: Mapping[Any, Step],
    transfers: Mapping[str, Transfer],
    moments: Mapping[str, float],
    signals: Mapping[Any, Signal],
) -> dict[str, float]:
    """The expected energy of the gradient at each layer's output.

    Args:
        steps: Parents before children.
        transfers: Of each layer that theory knows.
        moments: Measured second moments of the layers' outputs, for the slopes.
        signals: Expected ones, for what is no layer's output.
    """
    energies: dict[Any, float | None] = {}
    at = {node: signal.moment for node, signal in signals.items()}
    for node, step in steps.items():  # where slopes are taken: the moment of z
        if step.kind == "layer":
            at[node] = moments[step.layer]
        elif step.kind == "same" and step.parents[0] in at:
            at[node] = at[step.parents[0]]
    by_layer = {}
    for node in reversed(list(steps)):
        step = steps[node]
        energy = energies.get(node)
        factor: float | None = None
        if step.kind == "layer":
            transfer = transfers.get(step.layer)
            if transfer is not None and transfer.output_energy is not None:
                if energy is None:  # the last layer, or before a step without theory
                    energy = transfer.output_energy
                else:
                    by_layer[step.layer] = energy
                factor = transfer.energy_gain
        elif step.kind in ("same", "add", "pool"):
            factor = 1.0
        elif step.activation is not None:
            q = at.get(step.parents[0], math.nan)
            factor = slope_moment(step.activation, q) if math.isfinite(q) else None
        for parent in step.parents:
            passed = None if energy is None or factor is None else energy * factor
            if parent in energies and (energies[parent] is None or passed is None):
                energies[parent] = None
            else:
                known = energies.get(parent) or 0.0
                energies[parent] = None if passed is None else known + passed
    return by_layer


def _through_layer(transfer: Transfer, before: Signal | None) -> Signal:
    if transfer.is_norm:
        return Signal(transfer.shift, None, is_gaussian=True)
    if before is None or before.product is None:
        moment = transfer.input_moment if before is None else before.moment
        correlation = transfer.input_correlation
        product = None if correlation is None else correlation * moment
        before = Signal(moment, product, is_gaussian=False)
    product = None
    if before.product is not None:
        product = transfer.gain * before.product + transfer.shift
    moment = transfer.gain * before.moment + transfer.shift
    return Signal(moment, product, is_gaussian=True)


def _through_step(step: Step, before: list[Signal | None]) -> Signal | None:
    known = [signal for signal in before if signal is not None]
    if len(known) < len(before) or not known:
        return None
    first = known[0]
    if step.kind == "same":
        return first
    if step.kind == "add" and len(known) == 2:
        product = None
        if known[0].product is not None and known[1].product is not None:
            product = known[0].product + known[1].product
        return Signal(
            known[0].moment + known[1].moment,
            product,
            is_gaussian=all(one.is_gaussian for one in known),
        )
    if step.activation is None or not first.is_gaussian:
        return None
    q, c = first.moment, first.correlation
    if not math.isfinite(q):
        return None
    product = None if c is None else joint_moment(step.activation, q, c)
    return Signal(forward_moment(step.activation, q), product, is_gaussian=False)
