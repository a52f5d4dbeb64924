"""Findings about the signal: does it vanish, explode, collapse, or come in unscaled?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from birthmark.checkup.advice import rule_for
from birthmark.checkup.findings_of_chains import plain_chains
from birthmark.checkup.readings import CheckUp
from birthmark.checkup.thresholds import (
    BEYOND,
    FAINT_INPUT,
    GATE,
    INPUT_MOMENT,
    TRAINABLE,
)
from birthmark.shapes import Finding
from birthmark.wording import have, say_names


def nonfinite_signal(checkup: CheckUp) -> Iterator[Finding]:
    """NaN or Inf in the outputs of a layer."""
    bad = [layer for layer in checkup.layers if layer.nonfinite]
    if bad:
        yield Finding(
            what=f"NaN or Inf comes out of {bad[0].name or 'the model'} "
            f"({bad[0].nonfinite} numbers), and from there on.",
            why="The loss and all gradients become NaN in the first step.",
            how="counted in the outputs of each layer on the batch",
            level="error",
            values={"count": float(bad[0].nonfinite)},
            name="nonfinite_signal",
            where=tuple(layer.name for layer in bad),
            advice="Look at the first layer named: its weights, its inputs, its dtype.",
        )


def silent_layers(checkup: CheckUp) -> Iterator[Finding]:
    """Layers with weights that give exactly 0 for every input."""
    zero = {t.layer for t in checkup.tensors if t.family == "zeros"}
    inside = {t.layer for t in checkup.tensors if t.role == "weight"}
    silent = [
        layer.name
        for layer in checkup.layers
        if layer.forward == 0 and layer.name in inside - zero
    ]
    if silent and not any(f.name == "late_start" for f in checkup.findings):
        yield Finding(
            what=f"{say_names(silent)} {have(silent, 'gives', 'give')} exactly 0 for "
            "every input, with weights that are not 0.",
            why="Nothing of the input arrives there: a layer before it is silent, or "
            "the numbers are too small for their type.",
            how="second moment of the outputs on the batch",
            level="error",
            name="silent_layers",
            where=tuple(silent),
            advice="Look at the layer before the first one named.",
        )


def exploding_stream(checkup: CheckUp) -> Iterator[Finding]:
    """Growth over the whole depth where branches add up, outside of plain chains."""
    start = max((checkup.outcome and checkup.outcome.input_moment) or 1.0, 1.0)
    largest = max(
        (layer for layer in checkup.layers if math.isfinite(layer.forward)),
        key=lambda layer: layer.forward,
        default=None,
    )
    if largest is None or largest.forward <= 0:
        return
    change = math.log(largest.forward) - math.log(start)
    chains = {layer.name for chain in plain_chains(checkup) for layer in chain}
    if change > TRAINABLE and largest.name not in chains:
        yield Finding(
            what=f"The signal grows by 2^{change / math.log(2):+.1f} in second moment "
            f"up to {largest.name}.",
            why="Each residual branch of unit gain doubles the second moment: depth "
            "makes outputs and loss explode.",
            how=f"second moment of each layer's outputs against the input's, note at "
            f"e^{TRAINABLE:g}, warning at e^{BEYOND:g}",
            source="Zhang et al. 1901.09321; De & Smith 2002.10444",
            level="warning" if change > BEYOND else "note",
            values={"ln": change},
            name="stream_explodes",
            where=(largest.name,),
            advice="Start branches at 0 (Fixup, SkipInit, zero gamma), scale them by "
            "1 / sqrt(depth), or put a norm in front of each.",
        )


def collapsed_inputs(checkup: CheckUp) -> Iterator[Finding]:
    """Inputs that differ and come out alike."""
    gaps = [
        (layer, 1 - layer.correlation)
        for layer in checkup.layers
        if layer.correlation is not None
        and layer.role != "norm"
        and layer.num_units
        and layer.size > 1  # of single numbers a cosine knows the sign alone
    ]
    if len(gaps) < 2 or not (checkup.outcome and checkup.outcome.inputs_differ):
        return
    first = checkup.outcome.input_gap or gaps[0][1]
    last, gap = gaps[-1]
    if first <= 0 or last.forward == 0 or checkup.outcome.constant:
        return
    change = math.log(max(gap, 1e-16) / first)
    if change < -TRAINABLE:
        at = next(
            layer
            for layer, one in gaps
            if math.log(max(one, 1e-16) / first) < -TRAINABLE
        )
        gates = [
            t.name
            for t in checkup.tensors
            if t.role == "scale" and t.family == "constant" and 0 < abs(t.mean) < GATE
        ]
        yield Finding(
            what=f"Different inputs come out of layer {last.name} almost the same: 1 - "
            f"correlation falls from {first:.2g} to {gap:.1g}; lost at {at.name}.",
            why="The gradient cannot tell examples apart that the network cannot.",
            how=f"1 - cosine, mean over pairs of examples; note when it falls by "
            f"e^{TRAINABLE:g}, warning by e^{BEYOND:g} (once and twice the trainable "
            "depth)",
            source="Schoenholz et al. 1611.01232, section 3; Poole et al. 1606.05340",
            level="warning" if change < -BEYOND and not gates else "note",
            values={"ln": change, "gap": gap},
            name="inputs_collapse",
            where=(at.name, last.name),
            advice=f"Nothing, if small gates as {gates[0]} are meant: they open in the "
            "first steps."
            if gates
            else f"{rule_for(checkup.layers)}, use fewer layers, or residual branches.",
        )


def unusual_inputs(checkup: CheckUp) -> Iterator[Finding]:
    """Inputs far from the second moment of 1 that every rule assumes."""
    outcome = checkup.outcome
    if outcome is None or outcome.input_moment is None:
        return
    q = outcome.input_moment
    if not outcome.inputs_differ:
        yield Finding(
            what="All inputs of the batch are the same.",
            why="Nothing can be said about how the model tells inputs apart.",
            how="compared exactly",
            level="warning",
            name="equal_inputs",
            advice="Check with a batch of real, different examples.",
        )
    first = next((x for x in checkup.layers if x.input is not None), None)
    normed = first is not None and (first.followed_by_norm or first.role == "norm")
    if q > INPUT_MOMENT or q < FAINT_INPUT:
        large = q > INPUT_MOMENT
        yield Finding(
            what=f"The inputs have a second moment of {q:.3g} (mean "
            f"{outcome.input_mean or 0:.3g}); the rules assume 1.",
            why="Each layer up to the first norm, and the logits, are that much too "
            + ("large" if large else "small")
            + ".",
            how=f"mean of squares over the batch, lines at {FAINT_INPUT:g} and "
            f"{INPUT_MOMENT:g}",
            source="LeCun et al. 1998, section 4.3",
            level="note" if normed else "warning",
            values={"second_moment": q},
            name="unusual_inputs",
            advice="Subtract the mean and divide by the standard deviation of the "
            "training set.",
        )


SIGNAL_FINDINGS = (
    nonfinite_signal,
    silent_layers,
    exploding_stream,
    collapsed_inputs,
    unusual_inputs,
)
