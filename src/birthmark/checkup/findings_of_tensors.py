"""Findings about parameters: what is equal, what is lost, what gets no gradient."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from birthmark.checkup.findings_of_units import is_dead
from birthmark.checkup.readings import CheckUp, TensorReading
from birthmark.checkup.thresholds import (
    FLUSHED,
    LOST_RANK,
    TRAINABLE,
)
from birthmark.shapes import Finding
from birthmark.wording import have, say_count, say_names


def stuck_tensors(checkup: CheckUp) -> Iterator[Finding]:
    """Weights without any gradient: a late start, or a dead end."""
    still = [t for t in _drawn(checkup) if t.trainable and t.gradient == 0 and t.size]
    late = [t for t in still if t.opens]
    shut = [t for t in still if not t.opens]
    moot = [t for t in shut if t.is_moot]
    # a single ReLU at the end, of a density say, is silent in half of all draws
    chance = {
        x.name
        for x in checkup.layers
        if x.dead == 1 and (x.dead_expected or 0) < 1 and not is_dead(x)
    }
    asleep = [t for t in shut if t.layer in chance and not t.is_moot]
    stuck = [t for t in shut if t not in moot and t not in asleep]
    if late:
        names = tuple(t.name for t in late)
        share = sum(t.size for t in late) / max(checkup.num_parameters, 1)
        openers = [t.name for t in checkup.tensors if _is_gate(t)]
        since = ""
        if openers:
            since = f", since {say_names(openers)} {have(openers, 'is', 'are')} zero"
        yield Finding(
            what=f"{say_names(names)} ({share:.0%} of the parameters) "
            f"{have(names, 'gets', 'get')} no gradient in the first step{since}.",
            why="A zero at the end of a branch or in the head is often wanted: what "
            "lies before it starts a step or two later.",
            how="gradient exactly 0 on the batch, and not any more after at most four "
            "small steps on a copy",
            source="Zhang et al. 1901.09321; Goyal et al. 1706.02677; Bachlechner et "
            "al. 2003.04887",
            level="note",
            values={"share": share},
            name="late_start",
            where=names,
            advice="Nothing, if the zeros are meant.",
        )
    if moot:
        names = tuple(t.name for t in moot)
        yield Finding(
            what=f"{say_names(names)} {have(names, 'gets', 'get')} no gradient: the "
            "attention has a single key in this batch.",
            why="A softmax over one number is 1, whatever the number.",
            how="gradient exactly 0, and every path to the outputs leads through a "
            "softmax of size 1",
            level="note",
            values={"tensors": float(len(moot))},
            name="single_key",
            where=names,
            advice="Check with longer sequences or larger images.",
        )
    if asleep:
        names = tuple(t.name for t in asleep)
        yield Finding(
            what=f"{say_names(names)} {have(names, 'gets', 'get')} no gradient: its "
            "few units are all silent on this batch, as by chance.",
            why="A ReLU that is never above 0 has no gradient; other batches or the "
            "layers before may wake it.",
            how="gradient exactly 0; fresh units on its inputs are silent as often",
            source="Lu et al. 1903.06733; Barron et al. 2103.13415 (softplus)",
            level="note",
            values={"tensors": float(len(asleep))},
            name="silent_by_chance",
            where=names,
            advice="Draw again, start its bias above 0, or use a softplus.",
        )
    if stuck:
        names = tuple(t.name for t in stuck)
        share = sum(t.size for t in stuck) / max(checkup.num_parameters, 1)
        yield Finding(
            what=f"{say_names(names)} ({share:.0%} of the parameters) "
            f"{have(names, 'gets', 'get')} no gradient at all.",
            why="A tensor whose gradient is exactly 0 does not move, and four steps of "
            "all the others did not change that.",
            how="gradient exactly 0 on the whole batch, before and after four small "
            "steps on a copy",
            source="Lu et al. 1903.06733",
            level="error",
            values={"share": share},
            name="no_gradient",
            where=names,
            advice=_advise_stuck(checkup, stuck),
        )


def _is_gate(t: TensorReading) -> bool:
    return t.family == "zeros" and (t.gradient or 0) > 0 and t.role != "bias"


def _advise_stuck(checkup: CheckUp, stuck: list[TensorReading]) -> str:
    """What to look at, by what else is seen."""
    zero = [t.name for t in stuck if t.family == "zeros"]
    dead = [layer.name for layer in checkup.layers if layer.dead == 1]
    if len(zero) > 1:
        return f"Draw {zero[0]} at random: zeros in two layers in a row stay zero."
    if dead:
        return f"Look at {dead[0]}, all of whose units are silent: its biases first."
    return "Look for zero weights, a detach(), or no_grad() on the way to the loss."


def duplicate_units(checkup: CheckUp) -> Iterator[Finding]:
    """Hidden units with the same weights, and whether their gradients part them.

    Units of the output are parted by their labels, sooner or later, whatever this
    batch holds.
    """
    symmetric, parted = [], []
    for t in checkup.tensors:
        if t.num_units is None or t.num_units < 2 or not t.distinct_units:
            continue
        if t.distinct_units == t.num_units or (t.is_output and not t.is_inside):
            continue
        jointly = t.distinct_jointly or t.distinct_units
        if t.family == "zeros":  # units that start at 0 are parted by their gradients
            if t.distinct_gradients == 1 and t.gradient:
                symmetric.append(t)
        elif jointly < t.num_units and (t.gradient is not None or checkup.unread):
            symmetric.append(t)
        elif t.family != "sparse":
            parted.append(t)
    for t in symmetric:
        count = t.distinct_jointly or t.distinct_units or 0
        yield Finding(
            what=f"{t.name} has {count} distinct of {t.num_units} units: the others "
            "repeat them, in weights and in gradient.",
            why="Equal units with equal gradients stay equal for ever: the layer works "
            f"as one of {say_count(count, 'unit')}, unless noise parts them.",
            how="rows of weights and of the gradient at step 0 compared to a relative "
            f"1e-4; law: {t.law}",
            source="Blumenfeld et al. 2007.01038",
            level="error" if count == 1 else "warning",
            values={"distinct": float(count), "units": float(t.num_units or 0)},
            name="duplicate_units",
            where=(t.name,),
            advice="Draw the weights at random, each unit its own.",
        )
    if parted:
        names = tuple(t.name for t in parted)
        alone = [t.name for t in parted if t.distinct_units == 1]
        yield Finding(
            what=f"Units of {say_names(names)} start with equal weights; their "
            "gradients differ, so the first step parts them.",
            why="They start as copies: a layer of one distinct unit passes a single "
            "number on, and its inputs are lost behind it."
            if alone
            else "They start as copies, and what lies behind must tell them apart.",
            how="rows of weights and of gradients compared to a relative 1e-4",
            source="Blumenfeld et al. 2007.01038",
            level="warning" if alone else "note",
            name="copied_units",
            where=names,
            advice="Draw each unit apart, unless the copies are meant.",
        )


def equal_experts(checkup: CheckUp) -> Iterator[Finding]:
    """Experts that hold the same numbers."""
    names = checkup.circuits.equal_experts
    if names:
        yield Finding(
            what=f"All experts of {say_names(names)} hold the same numbers.",
            why="Equal experts give the same output, whatever the router does: it gets "
            "no gradient from their difference, and they part by noise alone.",
            how="slices along the first axis compared exactly",
            source="He et al. 2410.07524 on copies of one trained layer",
            level="warning",
            name="equal_experts",
            where=names,
            advice="Draw each expert apart, or add noise to the copies if they come "
            "from one trained layer.",
        )


def unused_and_frozen(checkup: CheckUp) -> Iterator[Finding]:
    """Parameters that the loss does not see, and those that may not move."""
    ran = any(t.gradient is not None for t in checkup.tensors)
    apart = [
        t
        for t in checkup.tensors
        if ran and t.trainable and t.is_followed and t.gradient is None
    ]
    detached = [t for t in apart if _is_detached(checkup, t)]
    outside = tuple(t.name for t in apart if t.is_used and t not in detached)
    unused = [t for t in apart if not t.is_used and t.size]
    names = tuple(t.name for t in unused)
    twins = _have_working_twins(checkup, unused)
    if detached:
        cut = tuple(t.name for t in detached)
        yield Finding(
            what=f"The outputs are computed from {say_names(cut)}, and no gradient "
            "comes back.",
            why="Something between cuts the path: a detach(), no_grad(), or numbers "
            "taken out as NumPy's or Python's. Nothing before it learns.",
            how="upstream of the outputs in the traced forward pass; no path of "
            "autograd from the loss, nor to anything that comes earlier",
            level="warning",
            values={"tensors": float(len(cut))},
            name="detached",
            where=cut,
            advice=f"Look behind {cut[-1]} for what takes the gradient away; if it is "
            "meant, set requires_grad_(False).",
        )
    if outside:
        yield Finding(
            what=f"{say_names(outside)} {have(outside, 'works', 'work')} in the "
            "forward pass, but not for this loss.",
            why="What it gives is not in the outputs that the loss takes: auxiliary "
            "heads, poolers and hidden states have losses of their own.",
            how="used by an operation of the forward pass; no path of autograd from "
            "the loss",
            level="note",
            values={"tensors": float(len(outside))},
            name="outside_the_loss",
            where=outside,
            advice="Give the loss that you train with: loss= takes all outputs, "
            "objective= the model and the batch.",
        )
    if names:
        # mask tokens and segment biases, not the matrix of a layer
        optional = twins or all(t.role not in ("weight", "embedding") for t in unused)
        yield Finding(
            what=f"{say_names(names)} {have(names, 'does', 'do')} not take part in "
            "the forward pass of this batch.",
            why="They get no gradient and stay as they are; distributed training may "
            "stop at them."
            if not twins
            else "Their likes do: no example of this batch was sent to them.",
            how="no operation of the forward pass took them",
            level="note" if optional else "warning",
            values={"tensors": float(len(names))},
            name="unused_parameters",
            where=names,
            advice="Use them in forward, or take them out of the model."
            if not twins
            else "Check with a larger batch.",
        )
    frozen = [t for t in checkup.tensors if not t.trainable]
    if frozen:
        names = tuple(t.name for t in frozen)
        share = sum(t.size for t in frozen) / max(checkup.num_parameters, 1)
        yield Finding(
            what=f"{say_names(names)} ({share:.0%} of the parameters) "
            f"{have(names, 'is', 'are')} frozen.",
            why="With requires_grad False they stay as they start.",
            how="requires_grad",
            level="note",
            values={"share": share},
            name="frozen_parameters",
            where=names,
            advice="Nothing, if this is meant.",
        )


def _is_detached(checkup: CheckUp, t: TensorReading) -> bool:
    """Whether outputs come from it, and no gradient to it or anything before it."""
    if not t.is_upstream or t.first_use is None:
        return False
    return all(
        one.gradient is None
        for one in checkup.tensors
        if one.first_use is not None and one.first_use < t.first_use
    )


def _have_working_twins(checkup: CheckUp, unused: list[TensorReading]) -> bool:
    """Whether tensors of the same place in sibling modules did take part: experts."""
    working = {(_pattern(t.name), t.shape) for t in checkup.tensors if t.is_used}
    return bool(unused) and all((_pattern(t.name), t.shape) in working for t in unused)


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def lost_rank(checkup: CheckUp) -> Iterator[Finding]:
    """Weight matrices below full rank, which a continuous law never gives."""
    for t in checkup.tensors:
        copies = t.distinct_units is not None and t.distinct_units < (t.num_units or 0)
        structured = t.family in ("zeros", "constant", "identity", "sparse")
        if t.rank is None or structured or copies:
            continue
        full = t.rank + min(t.nullity or 0, t.nullity_transposed or 0)
        if 0 < t.rank <= full - LOST_RANK:
            yield Finding(
                what=f"{t.name} has rank {t.rank} of {full}: {t.nullity} directions of "
                "its input vanish.",
                why="Inputs that differ only there cannot be told apart behind it.",
                how="singular values above 1e-6 of the largest; independent draws have "
                "full rank",
                source="Saxe et al. 1312.6120",
                level="warning" if t.rank < full / 2 else "note",
                values={"rank": float(t.rank), "full": float(full)},
                name="lost_rank",
                where=(t.name,),
                advice="Draw it from a law of full rank, or use a matrix of that size.",
            )


def flushed_gradients(checkup: CheckUp) -> Iterator[Finding]:
    """Gradients too small for the number format."""
    bad = [
        t
        for t in checkup.tensors
        if t.dtype == "float16"
        and t.role in ("weight", "embedding")
        and (t.gradient_flushed or 0) > FLUSHED
    ]
    if bad:
        names = tuple(t.name for t in bad)
        share = max(t.gradient_flushed or 0 for t in bad)
        yield Finding(
            what=f"Up to {share:.0%} of the gradients of {say_names(names)} underflow "
            "in float16.",
            why="Below 6e-5 float16 loses digits, below 6e-8 everything: such weights "
            "do not learn.",
            how="share of gradients that are 0 or below the smallest normal number, "
            "line at one half",
            source="Micikevicius et al. 1710.03740, section 3.2",
            level="warning",
            values={"share": share},
            name="flushed_gradients",
            where=names,
            advice="Scale the loss (torch.amp.GradScaler), or use bfloat16.",
        )


def recurrent_memory(checkup: CheckUp) -> Iterator[Finding]:
    """How long the forget gates of an LSTM keep what they have seen."""
    gates: dict[str, float] = {}
    hidden: dict[str, int] = {}
    for t in checkup.tensors:
        if t.gates:  # one for inputs and one for states: their sum counts
            key = t.name.replace("bias_ih", "bias").replace("bias_hh", "bias")
            gates[key] = gates.get(key, 0.0) + t.gates[1]
            hidden[key] = t.size // 4
    steps = checkup.outcome.steps if checkup.outcome else None
    for key, mean in gates.items():
        keep = 1 / (1 + math.exp(-mean))
        lost = -math.log(keep) * (steps or 1)
        # torch's default puts each of the two biases into +-1/sqrt(hidden)
        below = mean < -2 / math.sqrt(hidden[key])
        if below or (steps and lost > TRAINABLE):
            yield Finding(
                what=f"The forget gates of {key} keep {keep:.2g} of their memory at "
                f"each step"
                + (f", {keep**steps:.1e} over the {steps} steps." if steps else "."),
                why="The gradient through the memory shrinks by the same factor: what "
                "lies further back is not learned at first.",
                how="sigmoid of the mean bias of the forget gates; "
                + ("below the range of torch's default" if below else "line at e^-6"),
                source="Gers et al. 2000; Jozefowicz et al. 2015",
                level="warning" if below else "note",
                values={"keep": keep, "bias": mean},
                name="short_memory",
                where=(key,),
                advice="Set the bias of the forget gates to 1, or draw it by the "
                "length of the sequences (Tallec & Ollivier 1804.11188).",
            )


def _drawn(checkup: CheckUp) -> list[TensorReading]:
    """Tensors that carry the signal: no biases."""
    return [t for t in checkup.tensors if t.role in ("weight", "scale", "embedding")]


TENSOR_FINDINGS = (
    stuck_tensors,
    duplicate_units,
    equal_experts,
    unused_and_frozen,
    lost_rank,
    flushed_gradients,
    recurrent_memory,
)
