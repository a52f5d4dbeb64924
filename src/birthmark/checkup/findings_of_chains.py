"""Findings about plain chains: does signal or gradient vanish or explode?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from birthmark.checkup.advice import advise_chain, energy
from birthmark.checkup.readings import CheckUp, LayerReading
from birthmark.checkup.separation import MOST_EXAMPLES, NEIGHBOURS
from birthmark.checkup.thresholds import (
    BEYOND,
    ERRORS,
    TRAINABLE,
    share_error,
    width_error,
)
from birthmark.shapes import Finding
from birthmark.wording import say_count


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
    yield from _gathered(_signals_along(checkup))


def gradient_along_chains(checkup: CheckUp) -> Iterator[Finding]:
    """The gradient's energy, from the last layer of a plain chain to each other one."""
    yield from _gathered(_gradients_along(checkup))


def _gathered(found: Iterator[Finding]) -> Iterator[Finding]:
    """Chains of one kind in one finding, told by the one that changes most."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for one in found:
        kinds.setdefault((one.name, one.level), []).append(one)
    for alike in kinds.values():
        worst = max(alike, key=lambda one: abs(one.values["ln"]))
        more = len(alike) - 1
        if not more:
            yield worst
            continue
        also = f" So it does, less, along {say_count(more, 'more chain')}."
        names = [name for one in (worst, *alike) for name in one.where]
        where = tuple(dict.fromkeys(names))
        yield replace(worst, what=worst.what + also, where=where)


def _signals_along(checkup: CheckUp) -> Iterator[Finding]:
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


def _gradients_along(checkup: CheckUp) -> Iterator[Finding]:
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
        change = math.log(here) - math.log(start)
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
    return math.log(value) - math.log(start)


def _how(chain: list[LayerReading], layer: LayerReading) -> str:
    return (
        f"measured on the batch over a plain chain of {len(chain)} layers; note beyond "
        f"e^{TRAINABLE:g} (the trainable depth of 6 xi), warning beyond e^{BEYOND:g}, "
        "four standard errors of the finite widths apart"
    )


CHAIN_FINDINGS = (signal_along_chains, gradient_along_chains)
