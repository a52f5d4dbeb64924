"""What happened between two checkpoints: never from a bare threshold.

Three questions, each against its null model. Do the tensors resemble each other more
than units in another order would? Does the first look freshly drawn, by the law of its
numbers and by its largest singular value, or trained? Does the second? Findings say
what a reader should know beside the answer, each with its null model as well.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from birthmark.shapes import Finding
from birthmark.weight_files.diffs import Diff, Kind, Verdict
from birthmark.weight_files.readings import Reading, TensorDiff
from birthmark.wording import say_count, say_names

_SAME = ("identical", "rounded")
_LISTED = 4
# below a third of noise's a spectrum is called low: noise itself varies by 2 %
_FEW_DIRECTIONS = 1 / 3
_HALF = {"bfloat16": "8", "float16": "11"}  # bits of a stored weight's fraction


def find_findings(kind: Kind, diff: Diff) -> Iterator[Finding]:
    """The gravest first."""
    for find in (
        _broken,
        _missing,
        _reshaped,
        _unrelated,
        _still,
        _scaled,
        _absorbed,
        _low_rank,
        _matched,
        _left_out,
    ):
        yield from find(kind, diff)


def _broken(kind: Kind, diff: Diff) -> Iterator[Finding]:
    broken = [t for t in diff.tensors if t.state == "broken"]
    if broken:
        count = int(sum(t.sums.nonfinite_b - t.sums.nonfinite_a for t in broken))
        yield Finding(
            what=f"{say_count(count, 'weight')} of {say_count(len(broken), 'tensor')} "
            f"became NaN or Inf: {_names(broken)}.",
            why="The model's outputs are NaN from there on.",
            how="counted; such pairs are left out of all other numbers",
            level="error",
            name="nonfinite",
            where=_where(broken),
            advice="Go back to the last checkpoint without them and lower the lr, or "
            "clip the gradient.",
            values={"count": float(count)},
        )


def _missing(kind: Kind, diff: Diff) -> Iterator[Finding]:
    for label, other, alone in (
        (diff.a.label, diff.b.label, diff.only_a),
        (diff.b.label, diff.a.label, diff.only_b),
    ):
        if not alone:
            continue
        shown = alone[:_LISTED]
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shown)
        more = f" and {len(alone) - _LISTED} more" if len(alone) > _LISTED else ""
        adapter = any("lora_" in name for name, _ in alone)
        yield Finding(
            what=f"{say_count(len(alone), 'tensor')} only in {label}: {listed}{more}.",
            why=f"{other} has no tensor of this name, and none of this shape whose "
            "numbers resemble it.",
            how="matched by name, wrapper and prefix, as fused or split projections, "
            "and by the correlation of a sample of numbers at 8 standard deviations",
            level="warning",
            name="missing",
            where=tuple(name for name, _ in alone),
            advice="These are adapters: merge them into the base and compare that."
            if adapter
            else "",
        )


def _reshaped(kind: Kind, diff: Diff) -> Iterator[Finding]:
    if diff.reshaped:
        listed = ", ".join(
            f"{name} from {list(a)} to {list(b)}"
            for name, a, b in diff.reshaped[:_LISTED]
        )
        yield Finding(
            what=f"{say_count(len(diff.reshaped), 'tensor')} changed shape: {listed}.",
            why="There is no weight by weight difference of two shapes.",
            how="same name, other shape; turned axes and fused parts were tried",
            level="warning",
            name="reshaped",
            where=tuple(name for name, _, _ in diff.reshaped),
        )


def _unrelated(kind: Kind, diff: Diff) -> Iterator[Finding]:
    found = [t for t in diff.tensors if t.state == "unrelated" and t.kind != "buffer"]
    if found and kind not in ("unrelated", "redrawn", "partly"):
        worst = found[0]
        relation = worst.relation
        assert relation is not None
        yield Finding(
            what=f"{say_count(len(found), 'tensor')} as far from {diff.a.label} as a "
            f"re-draw: {_names(found)}.",
            why="Drawn anew, as a new head is, or its start is forgotten; the others "
            "still hold theirs.",
            how=f"correlation of {worst.name} {relation.correlation:.3f}; of units in "
            f"another order {relation.null_mean:.3f} ± {relation.null_std:.2g}",
            level="note",
            name="redrawn",
            where=_where(found),
        )


def _still(kind: Kind, diff: Diff) -> Iterator[Finding]:
    real = [t for t in diff.tensors if t.kind != "buffer"]
    still = [t for t in real if t.state in ("identical", "rounded")]
    if still and len(still) < len(real):
        yield Finding(
            what=f"{len(still)} of {len(real)} tensors did not move: {_names(still)}.",
            why="Frozen, not given to the optimizer, without a gradient, or moved by "
            "less than its dtype can hold.",
            how="not one bit differs",
            level="note",
            name="still",
            where=_where(still),
        )


def _scaled(kind: Kind, diff: Diff) -> Iterator[Finding]:
    scaled = [t for t in diff.tensors if t.state == "scaled" and t.kind != "buffer"]
    if scaled and kind != "scaled":
        factors = [t.readings["slope"].decay or 0.0 for t in scaled]
        yield Finding(
            what=f"{say_count(len(scaled), 'tensor')} changed by one factor alone "
            f"({min(factors):.4g} to {max(factors):.4g}): {_names(scaled)}.",
            why="Weight decay alone does this: no gradient has reached them.",
            how="what is left of the move besides the factor is within rounding",
            level="note",
            name="scaled",
            where=_where(scaled),
        )


def _absorbed(kind: Kind, diff: Diff) -> Iterator[Finding]:
    coarse = [
        t
        for t in diff.weights()
        if t.state == "moved" and t.dtype_b == t.dtype_a and t.dtype_b in _HALF
    ]
    if not coarse:
        return
    changed = sum(t.sums.changed for t in coarse)
    count = sum(t.sums.count for t in coarse)
    if changed < count / 2:
        dtype = coarse[0].dtype_b
        yield Finding(
            what=f"{changed / count:.1%} of the weights changed as they are stored, in "
            f"{dtype}; the others hold the same bits.",
            why=f"{dtype} keeps {_HALF[dtype]} bits of a fraction: moves smaller than "
            "half a step of it do not show in the file, and were lost if the optimizer "
            "kept no float32 copy.",
            how=f"bits compared, {say_count(len(coarse), 'matrix', 'matrices')}",
            source="arXiv 2511.08567",
            level="note",
            name="absorbed",
            where=_where(coarse),
            values={"changed": changed / count},
        )


def _low_rank(kind: Kind, diff: Diff) -> Iterator[Finding]:
    low = []
    for t in diff.weights():
        reading = t.readings.get("participation_ratio")
        noise = 0.0 if reading is None else (reading.noise or 0.0)
        if reading is None or t.state != "moved":
            continue
        if reading.value < _FEW_DIRECTIONS * noise:
            low.append((t, reading.value, noise))
    if low:
        found = [t for t, _, _ in low]
        value = statistics.median(value for _, value, _ in low)
        noise = statistics.median(noise for _, _, noise in low)
        yield Finding(
            what=f"The moves of {len(low)} of {len(diff.weights())} matrices lie in "
            f"few directions: {value:.3g} carry them, {noise:.3g} noise (medians).",
            why="Gradients are of low rank and so are merged adapters; noise, rounding "
            "and re-draws are not.",
            how="participation ratio of the singular values of a sample of up to "
            "128 x 1024 moves; noise: independent moves of the same size",
            level="info",
            name="low_rank",
            where=_where(found),
            values={"participation_ratio": value, "noise": noise},
        )


def _matched(kind: Kind, diff: Diff) -> Iterator[Finding]:
    found = [t for t in diff.tensors if t.how]
    if found:
        ways = dict.fromkeys(t.how.split(": part of")[0] for t in found)
        examples = ", ".join(f"{t.name_a} = {t.name}" for t in found[:_LISTED])
        yield Finding(
            what=f"{say_count(len(found), 'tensor')} under another name or shape: "
            f"{examples}{', ...' if len(found) > _LISTED else ''}.",
            why="The numbers below compare them as these pairs.",
            how="; ".join(ways),
            level="info",
            name="matched",
            where=_where(found),
        )


def _left_out(kind: Kind, diff: Diff) -> Iterator[Finding]:
    for side in (diff.a, diff.b):
        if side.notes:
            shown = side.notes[:_LISTED]
            more = len(side.notes) - len(shown)
            yield Finding(
                what=f"{side.label}: {'; '.join(shown)}"
                f"{f'; and {more} more' if more else ''}.",
                why="Said so that nothing is missed.",
                how=side.format,
                level="info",
                name="left_out",
            )


def _where(tensors: Iterable[TensorDiff]) -> tuple[str, ...]:
    return tuple(t.name for t in tensors)


def _names(tensors: Iterable[TensorDiff]) -> str:
    return say_names(_where(tensors), _LISTED)


def judge(diff: Diff) -> Verdict:
    """The kind of a difference, one sentence, and what was found beside."""
    kind = _kind(diff)
    return Verdict(kind, _headline(kind, diff), tuple(find_findings(kind, diff)))


def _kind(diff: Diff) -> Kind:
    real = [t for t in diff.tensors if t.kind != "buffer"] or list(diff.tensors)
    if all(t.state in _SAME for t in real):
        return "identical"
    if all(t.state in (*_SAME, "scaled") for t in real):
        return "scaled"
    told = [t.related for t in real if t.kind == "weight" and t.related is not None]
    told = told or [t.related for t in real if t.related is not None]
    if not told:
        return "untold"
    fresh_a = is_fresh(t.fresh_a for t in diff.weights())
    fresh_b = is_fresh(t.fresh_b for t in diff.weights())
    if not any(told):
        return "redrawn" if fresh_a and fresh_b else "unrelated"
    if 2 * sum(told) < len(told):
        return "partly"
    if fresh_a:
        return "trained"
    if fresh_b and fresh_a is False:
        return "reversed"
    return "moved" if fresh_a is None else "continued"


def is_fresh(votes: Iterable[bool | None]) -> bool | None:
    """Whether most matrices look freshly drawn; None where too few can be told."""
    told = [vote for vote in votes if vote is not None]
    if not told:
        return None
    share = sum(told) / len(told)
    return True if share > 2 / 3 else False if share < 1 / 3 else None


def _headline(kind: Kind, diff: Diff) -> str:
    a, b, total = diff.a.label, diff.b.label, diff.total
    moved = f"has moved by {_length(total.relative_distance)}"
    keeps = f"keeps a cosine of {_cosine(total.cosine)} with it"
    if kind == "identical":
        cast = {t.dtype_b for t in diff.tensors if t.state == "rounded"}
        stored = f", stored as {', '.join(sorted(cast))}" if cast else ", bit for bit"
        return f"{b} has the weights of {a}{stored}."
    if kind == "scaled":
        return (
            f"{b} is {a} with each tensor times one factor, as weight decay alone "
            f"does: nothing else was learned{_factors(diff.tensors)}."
        )
    if kind == "trained":
        law = _common_law(diff.weights())
        return (
            f"{b} was trained from the random start {a}{law}: it {moved} and {keeps}."
        )
    if kind == "continued":
        return f"{b} carries on from {a}, trained before: it {moved} and {keeps}."
    if kind == "moved":
        return f"{b} comes from {a}: it {moved} and {keeps}."
    if kind == "reversed":
        return (
            f"{b} looks like the random start of {a}, not the other way round: give "
            f"the earlier one first. Read from {a}, it {moved}."
        )
    if kind == "partly":
        told = [t for t in diff.weights() if t.related is not None]
        kept = [t for t in told if t.related]
        return (
            f"{b} shares {len(kept)} of {len(told)} weight matrices with {a} "
            f"({_begin(kept)}); the others are as far from it as a re-draw."
        )
    if kind == "redrawn":
        law = _common_law(diff.weights())
        return (
            f"{b} is another random draw than {a}{law}: cosine "
            f"{_cosine(total.cosine)}, distance {_length(total.relative_distance)}."
        )
    if kind == "unrelated":
        return (
            f"{b} keeps nothing of {a} that can be seen: it has another start, or has "
            f"forgotten it: cosine {_cosine(total.cosine)}, distance "
            f"{_length(total.relative_distance)}."
        )
    return (
        f"{b} differs from {a} by {_length(total.relative_distance)}; the "
        "tensors are too small to tell whether it comes from there."
    )


def _length(reading: Reading) -> str:
    null = "" if reading.redraw is None else f" (a re-draw: {reading.redraw:.2f})"
    return f"{reading.value:.3g} of its length{null}"


def _cosine(reading: Reading) -> str:
    if reading.redraw is None:
        return f"{reading.value:.3g}"
    spread = f" ± {reading.redraw_std:.1g}" if reading.redraw_std is not None else ""
    redraw = round(reading.redraw, 3) + 0.0  # no -0.000
    return f"{reading.value:.3f} (a re-draw: {redraw:.3f}{spread})"


def _common_law(tensors: Sequence[TensorDiff]) -> str:
    laws = Counter(t.law for t in tensors if t.law)
    return f" ({laws.most_common(1)[0][0]})" if laws else ""


def _factors(tensors: Sequence[TensorDiff]) -> str:
    factors = [t.readings["slope"].decay for t in tensors if t.state == "scaled"]
    known = [one for one in factors if one is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    return f" (factor {low:.4g}" + (f" to {high:.4g})" if high > low * 1.0001 else ")")


def _begin(tensors: Sequence[TensorDiff]) -> str:
    listed = ", ".join(t.name for t in tensors[:3])
    return listed + (", ..." if len(tensors) > 3 else "")
