"""What happened between two checkpoints: never from a bare threshold.

Three questions, each against its null model. Do the tensors resemble each other more
than units in another order would? Does the first look freshly drawn, by the law of its
numbers and by its largest singular value, or trained? Does the second?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from birthmark.weight_files.diffs import Diff, Kind, Verdict
from birthmark.weight_files.findings import find_findings
from birthmark.weight_files.readings import Reading, TensorDiff

_SAME = ("identical", "rounded")


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
            f"({_names(kept)}); the others are as far from it as a re-draw."
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
    return f"{reading.value:.3f} (a re-draw: {reading.redraw:.3f}{spread})"


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


def _names(tensors: Sequence[TensorDiff]) -> str:
    listed = ", ".join(t.name for t in tensors[:3])
    return listed + (", ..." if len(tensors) > 3 else "")
