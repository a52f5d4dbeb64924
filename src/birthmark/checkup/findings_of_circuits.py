"""Findings about tensors that work together: attention, chains, sums, recurrences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from birthmark.checkup.readings import CheckUp, TensorReading
from birthmark.checkup.thresholds import (
    BEYOND,
    LARGEST_GAIN,
    ONE_HOT,
    TRAINABLE,
)
from birthmark.shapes import Finding
from birthmark.wording import say_names


def one_hot_attention(checkup: CheckUp) -> Iterator[Finding]:
    """A softmax over keys that has chosen before training began."""
    sharp = [one for one in checkup.circuits.attention if one.largest > ONE_HOT]
    if not sharp:
        return
    worst = max(sharp, key=lambda one: one.spread)
    names = tuple(dict.fromkeys(name for one in sharp for name in one.tensors))
    ratio = _gradient_ratio(checkup, worst.tensors)
    back = "" if ratio is None else f" Their gradient is {ratio:.1e} of the others'."
    yield Finding(
        what=f"The attention of {say_names(worst.tensors)} is one-hot: over "
        f"{worst.keys:.0f} keys the largest weight is {worst.largest:.2f} on average, "
        f"as its logits spread by {worst.spread:.3g}.{back}",
        why="A softmax that has decided passes almost no gradient to queries and keys, "
        "and each token copies one other.",
        how="mean of the largest probability over queries with eight keys and more, "
        f"line at {ONE_HOT:g}; entropy {worst.entropy:.2f} of ln(keys)",
        source="Vaswani et al. 1706.03762, section 3.2.1; Zhai et al. 2303.06296",
        level="warning",
        values={
            "largest": worst.largest,
            "entropy": worst.entropy,
            "logit_std": worst.spread,
            "layers": float(len(sharp)),
        },
        name="one_hot_attention",
        where=names,
        advice=f"Draw {say_names(worst.tensors)} smaller (logits want a spread near 1: "
        f"divide the product by {worst.spread:.2g}), check the factor 1 / sqrt(d) of "
        "the scores, or normalize queries and keys.",
    )


def _gradient_ratio(checkup: CheckUp, names: tuple[str, ...]) -> float | None:
    """Gradient of these tensors over that of the median matrix."""
    all_ = sorted(
        t.gradient for t in checkup.tensors if t.role == "weight" and t.gradient
    )
    own = [t.gradient for t in checkup.tensors if t.name in names and t.gradient]
    return max(own) / all_[len(all_) // 2] if all_ and own else None


def linear_chains(checkup: CheckUp) -> Iterator[Finding]:
    """Several matrices with no activation between them: one matrix, in effect."""
    chains = checkup.circuits.linear_chains
    wide = checkup.circuits.wide_chains
    longest = max(chains, key=lambda one: (len(one), one in wide), default=())
    if len(longest) >= 2:
        several = len(longest) >= 3 or longest in wide
        yield Finding(
            what=f"{len(longest)} matrices follow each other with no activation "
            f"between: {say_names(longest)}.",
            why="Their product is one matrix: the layers add parameters, and nothing "
            "that one of them could not compute.",
            how="products in the traced forward pass with only sums and moves between; "
            "factorizations, which are narrow inside, are left out",
            source="Saxe et al. 1312.6120",
            level="warning" if several else "note",
            values={"matrices": float(len(longest))},
            name="linear_chain",
            where=longest,
            advice=f"Put an activation behind {longest[0]}, or use one matrix.",
        )


def unequal_sums(checkup: CheckUp) -> Iterator[Finding]:
    """Tokens or features that drown the positions added to them, or are drowned."""
    circuits = checkup.circuits
    for one, moment, other, second in (*circuits.sums, *circuits.positions):
        if not (moment > 0 and second > 0):
            continue  # a table of zeros is filled by its gradient
        change = math.log(moment) - math.log(second)
        # features of images and sounds are told apart without positions
        may_be_small = (one, moment, other, second) in circuits.positions
        if change < TRAINABLE and -change < (BEYOND if may_be_small else TRAINABLE):
            continue
        large, small = (one, other) if change > 0 else (other, one)
        factor = math.exp(abs(change) / 2)
        yield Finding(
            what=f"{large} is {factor:.3g} times as large as {small}, to which it is "
            "added.",
            why="The smaller one carries almost nothing of the sum: positions cannot "
            "be told apart at first, or tokens cannot.",
            how="root mean squares of both on the batch, line at "
            f"{math.exp(TRAINABLE / 2):.3g} = e^3 (e^6 in second moments); e^6 for "
            "features above positions",
            source="Vaswani et al. 1706.03762, section 3.4",
            level="warning",
            values={"ratio": factor},
            name="unequal_sum",
            where=(large, small),
            advice=f"Draw {large} with the standard deviation of {small}, or scale "
            "one where they are added.",
        )


def hidden_scales(checkup: CheckUp) -> Iterator[Finding]:
    """Scales far from every rule that a norm behind the layer hides."""
    layers = {layer.name: layer for layer in checkup.layers}
    found: dict[TensorReading, float] = {}
    for t in checkup.tensors:
        layer = layers.get(t.layer)
        behind = layer is not None and layer.followed_by_norm
        if t.role != "weight" or not t.fan_in or t.rules or t.nonfinite:
            continue
        if not (behind or t.name in checkup.circuits.hidden):
            continue
        size = t.fan_in * (t.std * t.std + t.mean * t.mean)
        lost = layer is not None and 0 < layer.forward < FAINT
        if size > 0 and (math.log(size) > TRAINABLE or (size < 1 and lost)):
            found[t] = size
    if not found:
        return
    worst = max(found, key=lambda t: abs(math.log(found[t])))
    size = found[worst]
    large = size > 1
    others = [t.name for t in found if t is not worst]
    also = f"; so are those of {say_names(others)}" if others else ""
    yield Finding(
        what=f"{worst.name} is {worst.law}: its gain of {size:.3g} is hidden by the "
        f"norm behind it{also}.",
        why="The outputs look right, but an update of the usual size hardly turns so "
        "large a matrix: it learns that much slower."
        if large
        else "What comes out is smaller than the constant that the norm adds to the "
        "variance: the signal behind it fades.",
        how=f"fan_in times the mean square, line at e^{TRAINABLE:g}; or a second "
        f"moment below {FAINT:g} before the norm",
        source="van Laarhoven 1706.05350; Arora et al. 1812.03981",
        level="warning",
        values={"gain": size},
        name="hidden_scale",
        where=tuple(t.name for t in found),
        advice=f"Multiply {worst.name} by {math.sqrt(1 / size):.2g}, for a gain of 1.",
    )


def recurrent_radius(checkup: CheckUp) -> Iterator[Finding]:
    """A matrix that is applied again and again, and stretches its input each time."""
    line = math.sqrt(LARGEST_GAIN)
    large = [one for one in checkup.circuits.radii if one[1] > line]
    if large:
        name, radius, steps = max(large, key=lambda one: one[1])
        names = tuple(one[0] for one in large)
        yield Finding(
            what=f"{name} has a spectral radius of {radius:.3g}, and is applied at "
            f"each of {steps or 'the'} steps.",
            why="The state grows or saturates, and its gradient explodes, by this "
            "factor a step.",
            how=f"largest eigenvalue of each square block, line at {line:.3g}, the "
            "largest gain of a rule",
            source="Pascanu et al. 1211.5063; Le et al. 1504.00941",
            level="warning",
            values={"radius": radius, "steps": float(steps)},
            name="recurrent_radius",
            where=names,
            advice=f"Divide {name} by {radius:.2g}, or draw it orthogonal.",
        )


def running_statistics(checkup: CheckUp) -> Iterator[Finding]:
    """Running variances of batch norms that are far from the data's."""
    far = [one for one in checkup.circuits.statistics if abs(one[1]) > TRAINABLE]
    if far:
        name, change = far[0]  # those behind it may only follow
        names = tuple(one[0] for one in far)
        verb = "fades" if change > 0 else "blows up"
        yield Finding(
            what=f"The running variance of {name} is e^{change:+.1f} times the spread "
            "of its input about the running mean: in evaluation the signal "
            f"{verb} there"
            + (f", and in {say_names(names[1:])}." if names[1:] else "."),
            why="Training normalizes by the batch, evaluation by these statistics: the "
            "two are different networks.",
            how="median over channels of the running variance over the batch's second "
            f"moment about the running mean, line at e^{TRAINABLE:g}; the first norm "
            "beyond it is named first",
            source="Ioffe & Szegedy 1502.03167, section 3.1",
            level="warning" if abs(change) > BEYOND else "note",
            values={"ln": change},
            name="running_statistics",
            where=names,
            advice=f"Reset {name} (reset_running_stats()), or load the statistics that "
            "belong to the weights.",
        )


FAINT = 1e-5  # the constant that most norms add to the variance

CIRCUIT_FINDINGS = (
    one_hot_attention,
    linear_chains,
    unequal_sums,
    hidden_scales,
    recurrent_radius,
    running_statistics,
)
