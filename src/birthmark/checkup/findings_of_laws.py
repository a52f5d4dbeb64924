"""Findings about draws: which law, which scale, whose numbers."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from collections.abc import Iterator

from birthmark.checkup.findings_of_siblings import unlike_siblings
from birthmark.checkup.readings import CheckUp, TensorReading
from birthmark.checkup.thresholds import (
    ERRORS,
    GARBAGE,
    LARGEST_GAIN,
    ONE_HOT,
    REACH,
    RECTIFIERS,
)
from birthmark.shapes import Finding
from birthmark.wording import have, say_count, say_names, say_others


def nonfinite_weights(checkup: CheckUp) -> Iterator[Finding]:
    """NaN or Inf among the parameters."""
    bad = [t for t in checkup.tensors if t.nonfinite]
    if bad:
        names = tuple(t.name for t in bad)
        count = sum(t.nonfinite for t in bad)
        yield Finding(
            what=f"{say_count(count, 'number')} of {say_names(names)} "
            f"{'is' if count == 1 else 'are'} NaN or Inf.",
            why="One of them makes every output and every gradient NaN.",
            how="counted over all parameters",
            level="error",
            values={"count": float(count)},
            name="nonfinite_weights",
            where=names,
            advice="Draw these tensors again; look for a division by 0 or a file that "
            "was cut short.",
        )


def uninitialized_memory(checkup: CheckUp) -> Iterator[Finding]:
    """Numbers that span the range of the exponent."""
    bad = [t for t in checkup.tensors if t.reach > REACH and not t.nonfinite]
    if bad:
        names = tuple(t.name for t in bad)
        reach = max(t.reach for t in bad)
        yield Finding(
            what=f"{say_names(names)} {have(names)} numbers up to {reach:.0e} times "
            "the median one: this looks like memory that was never written.",
            why="torch.empty and to_empty leave in a tensor what stood there before.",
            how=f"largest over median absolute value, line at {REACH:.0e}; normal "
            "draws reach 8.5",
            source="torch documentation, Module.to_empty",
            level="error",
            values={"reach": reach},
            name="uninitialized_memory",
            where=names,
            advice="Initialize these tensors (reset_parameters, or torch.nn.init).",
        )


def shared_draws(checkup: CheckUp) -> Iterator[Finding]:
    """Tensors that hold the same random numbers."""
    tensors = {t.name: t for t in checkup.tensors}
    groups = dict.fromkeys(
        tuple(sorted((t.name, *t.shares_draw_with)))
        for t in checkup.tensors
        if t.shares_draw_with
    )
    harmful = [g for g in groups if _is_harmful([tensors[name] for name in g])]
    harmless = [g for g in groups if g not in harmful]
    for level, many in (("warning", harmful), ("note", harmless)):
        if many:
            yield _shared(many, level)


def _is_harmful(group: list[TensorReading]) -> bool:
    """Of two matrices that are trained; a target of them is meant to be a copy."""
    trained = [t for t in group if t.trainable and len(t.shape) > 1]
    return len(trained) > 1


def _shared(groups: list[tuple[str, ...]], level: str) -> Finding:
    more = f"; so do {len(groups) - 1} more groups" if groups[1:] else ""
    is_note = level == "note"
    return Finding(
        what=f"{say_names(groups[0])} hold the same numbers, up to a factor{more}.",
        why="A copy that is not trained may be meant as a target; equal biases under "
        "different weights keep nothing alike."
        if is_note
        else "Layers meant to be independent start correlated: a seed was set again "
        "between them, or a layer was copied after it was drawn.",
        how="cosine of the first 32 numbers above 0.999; independent draws never "
        "reach it",
        source="github.com/pytorch/pytorch/issues/120396",
        level=level,  # type: ignore[arg-type]
        values={"groups": float(len(groups))},
        name="shared_draw",
        where=tuple(name for group in groups for name in group),
        advice="Nothing, if a copy is what you want."
        if is_note
        else "Initialize each layer anew after copying, and seed once.",
    )


def garbage(checkup: CheckUp) -> Iterator[Finding]:
    """Finite numbers of no law, among tensors that were drawn: memory left over."""
    known = [t for t in checkup.tensors if t.family and t.family != "sparse"]
    if len(known) * 2 < len(checkup.tensors):
        return  # a trained model follows no law
    bad = [
        t
        for t in checkup.tensors
        if t.size >= 16
        and not t.nonfinite
        and t.reach <= REACH
        and (
            t.denormal > 0 or (_is_lawless(t) and t.reach > _heavy(t)) or _is_flipped(t)
        )
    ]
    if bad:
        names = tuple(t.name for t in bad)
        worst = max(bad, key=lambda t: t.reach)
        yield Finding(
            what=f"{say_names(names)} {have(names, 'follows', 'follow')} no law, with "
            f"numbers up to {worst.reach:.0e} times the median one, while "
            f"{len(known)} other tensors were drawn: this looks like memory that was "
            "never written.",
            why="torch.empty and to_empty leave in a tensor what stood there before: "
            "other numbers in each process.",
            how=f"refused by all families, and largest over median above {GARBAGE:g} "
            "(normal draws reach 8.5), or numbers below the smallest normal one",
            source="torch documentation, Module.to_empty",
            level="warning",
            values={"reach": worst.reach},
            name="uninitialized_memory",
            where=names,
            advice=f"Initialize {names[0]} (reset_parameters, or torch.nn.init).",
        )


def outliers(checkup: CheckUp) -> Iterator[Finding]:
    """A few numbers far beyond the law that all the others follow."""
    odd = [t for t in checkup.tensors if t.outliers and not _is_flipped(t)]
    if odd:
        names = tuple(t.name for t in odd)
        worst = max(odd, key=lambda t: t.reach)
        count = sum(t.outliers for t in odd)
        yield Finding(
            what=f"{say_count(count, 'number')} of {say_names(names)} "
            f"{'lies' if count == 1 else 'lie'} far beyond the law of all the others: "
            f"{worst.name} is {worst.law}.",
            why="torch.nn.init.trunc_normal_ with bounds that lie far out gives the "
            "bound itself, once in 17 million draws.",
            how=f"the others follow one law; largest over median {worst.reach:.0f} "
            "(normal draws reach 8.5)",
            source="github.com/pytorch/pytorch/issues/155588",
            level="note",
            values={"reach": worst.reach, "numbers": float(count)},
            name="outliers",
            where=names,
            advice="Give bounds near the law, a=-2 * std, b=2 * std, or clamp.",
        )


def _is_flipped(t: TensorReading) -> bool:
    """A number so far out that no bound of a law explains it: a flipped bit, say."""
    return t.outliers > 0 and t.reach > GARBAGE**2


def _heavy(t: TensorReading) -> float:
    """Biases may hold a few numbers on purpose: gates, priors of rare classes."""
    return GARBAGE if t.role in ("weight", "embedding") else GARBAGE**2


def _is_lawless(t: TensorReading) -> bool:
    return not t.family or (t.family == "sparse" and "no known family" in t.law)


def unexpected_laws(checkup: CheckUp) -> Iterator[Finding]:
    """Tensors that were not drawn as the user says."""
    for pattern, rule in checkup.expected.items():
        named = [t for t in checkup.tensors if fnmatch.fnmatch(t.name, pattern)]
        # a pattern means matrices and tables: gains of norms are ones beside them
        drawn = [t for t in named if t.role in ("weight", "embedding")]
        matched = drawn or named
        wrong = [t for t in matched if rule not in (*t.rules, t.family)]
        if wrong:
            names = tuple(t.name for t in wrong)
            yield Finding(
                what=f"{say_names(names)} {have(names, 'is', 'are')} not drawn from "
                f"{rule}, but: {wrong[0].law}.",
                why="The initialization that was asked for did not reach this tensor.",
                how=f"{len(wrong)} of {len(matched)} tensors that match {pattern!r}; "
                "family by Kolmogorov-Smirnov distance, scale within four standard "
                "errors",
                level="warning",
                values={"tensors": float(len(wrong))},
                name="unexpected_law",
                where=names,
                advice="Look at the order of initialization, at fan_in and fan_out.",
            )


def oversized_weights(checkup: CheckUp) -> Iterator[Finding]:
    """Scales that no rule has, where the signal does grow by them."""
    layers = {layer.name: layer for layer in checkup.layers}
    attention = {
        name
        for one in checkup.circuits.attention
        if one.largest > ONE_HOT
        for name in one.tensors
    }
    large: dict[TensorReading, float] = {}
    for t in checkup.tensors:
        random = t.family in ("uniform", "normal", "truncated_normal")
        layer = layers.get(t.layer) or layers.get(t.name)
        if t.role != "weight" or not random or t.rules or layer is None:
            continue
        if layer.role not in ("dense", "conv") or layer.followed_by_norm:
            continue
        if t.is_output or t.name in attention or t.name in checkup.circuits.hidden:
            continue  # judged by the loss, by the softmax, by what a norm hides
        gain = (t.fan_in or 1) * (t.std * t.std + t.mean * t.mean)
        if gain <= LARGEST_GAIN * math.exp(ERRORS * math.sqrt(2 / t.size)):
            continue  # also of squares that vanish
        if layer.forward > LARGEST_GAIN * max(layer.input or 0.0, 1.0):
            large[t] = gain
    if large:
        worst = max(large, key=lambda t: large[t])
        gain = large[worst]
        row = layers.get(worst.layer) or layers[worst.name]
        behind = row.activation
        wanted = 2 if behind in RECTIFIERS else 1
        also = say_others((t.name for t in large), worst.name)
        yield Finding(
            what=f"{worst.name} is {worst.law}: its outputs have {gain:.3g} times the "
            f"second moment of its inputs{also}.",
            why="Activations, logits and gradients behind and before it grow by the "
            "same factor.",
            how=f"fan_in E[w^2], line at {LARGEST_GAIN:.3g}, the largest gain "
            "of a rule, and the measured outputs as large",
            source="He et al. 1502.01852, eq. 7; torch.nn.init.calculate_gain",
            level="warning",
            values={"gain": gain},
            name="oversized_weights",
            where=tuple(t.name for t in large),
            advice=f"Divide {worst.name} by about {math.sqrt(gain / wanted):.2g}: its "
            f"gain is then {wanted:g}{f', as {behind} wants it' if behind else ''}.",
        )


def forgotten_defaults(checkup: CheckUp) -> Iterator[Finding]:
    """What was left as the framework draws it, while its likes were drawn anew."""
    for kind in sorted({t.layer_kind for t in checkup.tensors}):
        weights = [
            t for t in checkup.tensors if t.layer_kind == kind and t.role == "weight"
        ]
        left = [t for t in weights if t.is_default]
        redrawn = [t for t in weights if t.is_default is False]
        if left and len(redrawn) > len(left):
            law = Counter(t.rules[0] if t.rules else t.family for t in redrawn)
            names = tuple(t.name for t in left)
            yield Finding(
                what=f"{say_names(names)} {have(names)} torch's default law, while "
                f"{len(redrawn)} other {kind} weights were drawn anew "
                f"({law.most_common(1)[0][0] or 'no known law'}).",
                why="The initialization seems to have missed them: torch's default has "
                "a variance of 1 / (3 fan_in), a sixth of He's.",
                how="family and bound of each weight of this kind",
                source="torch.nn.Linear.reset_parameters",
                level="note",
                name="left_at_default",
                where=names,
                advice="Include them, or leave them on purpose.",
            )
        layers = {t.layer for t in redrawn}
        default = tuple(
            t.name
            for t in checkup.tensors
            if t.role == "bias" and t.layer in layers and t.rules == ("torch_default",)
        )
        if default:
            yield Finding(
                what=f"{say_names(default)} {have(default)} torch's default biases, "
                "while the weights were drawn anew.",
                why="The rules for weights assume biases of 0. Behind many layers "
                "random biases outweigh the signal and make inputs look alike.",
                how="largest bias against the bound 1 / sqrt(fan_in)",
                source="He et al. 1502.01852, section 2.2",
                level="note",
                name="default_biases",
                where=default,
                advice="Set them to 0: torch.nn.init.zeros_(layer.bias).",
            )


def unknown_laws(checkup: CheckUp) -> Iterator[Finding]:
    """Most weights follow no law of the library: a trained model, perhaps."""
    large = [
        t
        for t in checkup.tensors
        if t.size >= 1000 and t.role in ("weight", "embedding")
    ]
    unknown = [t for t in large if not t.family and not t.nonfinite and t.reach < REACH]
    if large and len(unknown) * 2 > len(large):
        names = tuple(t.name for t in unknown)
        yield Finding(
            what=f"{len(unknown)} of {len(large)} weight tensors follow no known law: "
            "this looks like a trained model.",
            why="The predictions assume independent draws.",
            how="Kolmogorov-Smirnov distance to uniform, normal and truncated normal",
            level="note",
            name="unknown_laws",
            where=names,
            advice="Nothing, if the start is meant to be a checkpoint.",
        )


LAW_FINDINGS = (
    nonfinite_weights,
    uninitialized_memory,
    garbage,
    outliers,
    unlike_siblings,
    shared_draws,
    unexpected_laws,
    oversized_weights,
    forgotten_defaults,
    unknown_laws,
)
