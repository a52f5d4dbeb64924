"""Findings about the signal: does it vanish, explode, collapse, or fall silent?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from birthmark.checkup.advice import advise_chain, energy
from birthmark.checkup.readings import CheckUp, LayerReading
from birthmark.checkup.separation import MOST_EXAMPLES, NEIGHBOURS
from birthmark.checkup.thresholds import (
    BEYOND,
    ERRORS,
    FAINT_INPUT,
    FRESH_UNITS,
    GATE,
    INPUT_MOMENT,
    LARGE_SHARE,
    SATURATED,
    SYMMETRIC_DEAD,
    TRAINABLE,
    share_error,
    width_error,
)
from birthmark.checkup.words import have, say_names
from birthmark.shapes import Finding


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


def plain_chains(checkup: CheckUp) -> list[list[LayerReading]]:
    """Runs of dense and convolutional layers with nothing but activations between."""
    layers = {layer.name: layer for layer in checkup.layers}
    ends: dict[str, list[LayerReading]] = {}
    for layer in checkup.layers:
        if layer.role not in ("dense", "conv"):
            continue
        before = layers.get(layer.source)
        chain = ends.pop(before.name, None) if before is not None else None
        ends[layer.name] = [*(chain or []), layer]
    return [chain for chain in ends.values() if len(chain) > 1]


def signal_along_chains(checkup: CheckUp) -> Iterator[Finding]:
    """The second moment, from the first layer of a plain chain to each other one."""
    for chain in plain_chains(checkup):
        first = chain[0].input or chain[0].forward
        # a small head is often wanted, and costs nothing behind it
        found = _extreme(
            [(layer, first, layer.forward) for layer in chain[:-1]], chain, forward=True
        )
        if found is None:
            continue
        layer, change, beyond = found
        verb = "shrinks" if change < 0 else "grows"
        yield Finding(
            what=f"The signal {verb} by 2^{change / math.log(2):+.1f} in second moment "
            f"from the input of layer {chain[0].name} to layer {layer.name}.",
            why="Behind it the outputs depend on the input hardly at all."
            if change < 0
            else "Behind it activations saturate or overflow; the loss starts high.",
            how=_how(chain, layer),
            source="He et al. 1502.01852, eq. 7; Schoenholz et al. 1611.01232",
            level="warning" if beyond else "note",
            values={"ln": change, "layers": float(len(chain))},
            name="signal_vanishes" if change < 0 else "signal_explodes",
            where=(chain[0].name, layer.name),
            advice=advise_chain(chain, chain.index(layer), forward=True),
        )


def gradient_along_chains(checkup: CheckUp) -> Iterator[Finding]:
    """The gradient's energy, from the last layer of a plain chain to each other one."""
    for chain in plain_chains(checkup):
        last = energy(chain[-1])
        found = _extreme(
            [(layer, last, energy(layer)) for layer in chain], chain, forward=False
        )
        if found is None:
            continue
        layer, change, beyond = found
        # chaos, which pulls neighbours apart, makes gradients grow
        mixed = change > 0 and neighbours_lost(checkup, chain[-2])
        verb = "shrinks" if change < 0 else "grows"
        yield Finding(
            what=f"The gradient {verb} by 2^{change / math.log(2):+.1f} in energy from "
            f"layer {chain[-1].name} back to layer {layer.name}.",
            why="Layers near the input learn far "
            + ("slower" if change < 0 else "faster")
            + " than those near the output, at any one learning rate."
            + (" Inputs that were near each other are so no more." if mixed else ""),
            how=_how(chain, layer),
            source="Glorot & Bengio 2010; He et al. 1502.01852, eq. 13; Schoenholz et "
            "al. 1611.01232",
            level="warning" if beyond or mixed else "note",
            values={"ln": change, "layers": float(len(chain))},
            name="gradient_vanishes" if change < 0 else "gradient_explodes",
            where=(layer.name, chain[-1].name),
            advice=advise_chain(chain, chain.index(layer), forward=False),
        )


def neighbours_lost(checkup: CheckUp, layer: LayerReading) -> bool:
    """Whether nearest neighbours behind a layer are those of chance.

    Told for 32 examples and more: of fewer, chance keeps too many.
    """
    count = min(checkup.num_examples, MOST_EXAMPLES)
    if layer.neighbours is None or count < MOST_EXAMPLES // 2:
        return False
    chance = NEIGHBOURS / (count - 1)
    return layer.neighbours < chance + ERRORS * share_error(chance, NEIGHBOURS * count)


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
    change = math.log(largest.forward / start)
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
        if layer.correlation is not None and layer.role != "norm" and layer.num_units
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
            else "Draw weights at the edge of chaos (he_normal for ReLU) with zero "
            "biases, use fewer layers, or residual branches.",
        )


def dead_units(checkup: CheckUp) -> Iterator[Finding]:
    """Units that are silent on the whole batch, beyond what chance explains."""
    dead, silent = [], []
    for layer in checkup.layers:
        share, count = layer.dead or 0.0, layer.num_units or 1
        if share == 0:
            continue
        null = _silent_by_chance(layer)
        error = math.hypot(share_error(null, count), share_error(null, FRESH_UNITS))
        if share > null + ERRORS * error:
            dead.append(layer)
        elif share > LARGE_SHARE and layer.input:
            silent.append(layer)
    if dead:
        worst = max(dead, key=lambda layer: layer.dead or 0)
        yield Finding(
            what=f"{_say_silent(worst)} on the whole batch, more than chance leaves"
            + (
                f"; so are many of {say_names(_others(dead, worst))}."
                if dead[1:]
                else "."
            ),
            why="A ReLU that is never above 0 has no gradient and does not learn.",
            how=_how_silent(worst) + ", line at four standard errors",
            source="Lu et al. 1903.06733",
            level="error" if worst.dead == 1 else "warning",
            values={"share": worst.dead or 0, "expected": _silent_by_chance(worst)},
            name="dead_units",
            where=tuple(layer.name for layer in dead),
            advice="Look at the biases (0 or slightly positive), at the sign and mean "
            "of the weights, and at the mean of the inputs.",
        )
    if silent:
        worst = max(silent, key=lambda layer: layer.dead or 0)
        yield Finding(
            what=f"{_say_silent(worst)} on the whole batch, as fresh units would be"
            + (
                f"; so are many of {say_names(_others(silent, worst))}."
                if silent[1:]
                else "."
            ),
            why="Inputs arrive there almost the same, so that a unit is on or off for "
            "all of them; off it has no gradient.",
            how=_how_silent(worst),
            source="Lu et al. 1903.06733; Poole et al. 1606.05340",
            level="note",
            values={"share": worst.dead or 0, "expected": _silent_by_chance(worst)},
            name="silent_units",
            where=tuple(layer.name for layer in silent),
            advice="Nothing in the draw; fewer layers, norms or residual branches keep "
            "inputs apart.",
        )


def _silent_by_chance(layer: LayerReading) -> float:
    return SYMMETRIC_DEAD if layer.dead_expected is None else layer.dead_expected


def _others(layers: list[LayerReading], worst: LayerReading) -> list[str]:
    return [layer.name for layer in layers if layer is not worst]


def _say_silent(layer: LayerReading) -> str:
    count = layer.num_units or 1
    silent = round((layer.dead or 0) * count)
    return f"{silent} of {count} units of layer {layer.name} are silent"


def _how_silent(layer: LayerReading) -> str:
    share = f"share {layer.dead:.0%}"
    if layer.dead_expected is None:
        return f"{share}; expected at most half under any symmetric law"
    expected = f"{layer.dead_expected:.0%}"
    if layer.role == "norm":
        return f"{share}; expected {expected}, as each channel has the mean 0"
    return f"{share}; expected {expected}, from {FRESH_UNITS} fresh units on its inputs"


def saturated_units(checkup: CheckUp) -> Iterator[Finding]:
    """Tanh and sigmoid driven to their flat ends."""
    for layer in checkup.layers:
        if layer.saturated is not None and layer.saturated > SATURATED:
            yield Finding(
                what=f"{layer.saturated:.0%} of the outputs of layer {layer.name} "
                f"drive {layer.activation} into saturation.",
                why="There the slope is below 1 % of the largest: the gradient stops.",
                how="share with |slope| below 1 %, line at one half",
                source="Glorot & Bengio 2010",
                level="warning",
                values={"share": layer.saturated},
                name="saturated_units",
                where=(layer.name,),
                advice="Make the weights smaller (glorot), or the inputs.",
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
            level="warning" if large and not normed else "note",
            values={"second_moment": q},
            name="unusual_inputs",
            advice="Subtract the mean and divide by the standard deviation of the "
            "training set.",
        )


def _extreme(
    pairs: list[tuple[LayerReading, float, float]],
    chain: list[LayerReading],
    *,
    forward: bool,
) -> tuple[LayerReading, float, bool] | None:
    """The layer of the largest change in ln, if it is beyond the trainable depth."""
    found = None
    for layer, start, here in pairs:
        if not (0 < start < math.inf and 0 < here < math.inf):
            continue
        change = math.log(here / start)
        at = chain.index(layer)
        passed = chain[: at + 1] if forward else chain[at:]
        spread = ERRORS * width_error([one.num_units or 1 for one in passed])
        foretold = _foretold(layer, start, forward=forward)
        excess = abs(change) - spread
        if foretold is not None and foretold * change > 0:  # no chance: theory has it
            excess = max(excess, min(abs(change), abs(foretold)))
        if excess > TRAINABLE and (found is None or abs(change) > abs(found[1])):
            found = (layer, change, excess > BEYOND)
    return found


def _foretold(layer: LayerReading, start: float, *, forward: bool) -> float | None:
    """The change in ln that mean-field theory has for these weights."""
    value = layer.forward_predicted
    if not forward:
        per_number = layer.backward_predicted
        value = None if per_number is None else per_number * layer.size
    if value is None or not 0 < value < math.inf:
        return None
    return math.log(value / start)


def _how(chain: list[LayerReading], layer: LayerReading) -> str:
    return (
        f"measured on the batch over a plain chain of {len(chain)} layers; note beyond "
        f"e^{TRAINABLE:g} (the trainable depth of 6 xi), warning beyond e^{BEYOND:g}, "
        "four standard errors of the finite widths apart"
    )


SIGNAL_FINDINGS = (
    nonfinite_signal,
    silent_layers,
    signal_along_chains,
    gradient_along_chains,
    exploding_stream,
    collapsed_inputs,
    dead_units,
    saturated_units,
    unusual_inputs,
)
