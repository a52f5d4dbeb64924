"""A diff as sentences, as a table, as JSON and as a fragment of HTML."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from birthmark.weight_files.readings import Reading, TensorDiff
from birthmark.wording import align, to_json, write_html_table

if TYPE_CHECKING:
    from birthmark.weight_files.diffs import Diff

SCHEMA = "birthmark-diff/1"
_ORDER = ("broken", "unrelated", "moved", "filled", "scaled", "rounded", "identical")
_WORDS = {
    "broken": "NaN or Inf",
    "unrelated": "as a re-draw",
    "filled": "left its constant start",
    "moved": "moved",
    "scaled": "one factor alone",
    "rounded": "same, other dtype",
    "identical": "did not move",
}
HEADER = [
    "tensor",
    "shape",
    "what",
    "moved",
    "keeps",
    "changed",
    "signs flipped",
    "slope",
]
LEGEND = (
    "moved: length of the move over that of the start. keeps: correlation with it. "
    "changed: share of stored values. slope: of now against then, below 1 where "
    "weights shrank. In brackets: a re-draw; ~ the same moves made by other weights."
)


def rank(diff: Diff) -> list[TensorDiff]:
    """By state, and the farthest moved first; buffers last."""

    def key(tensor: TensorDiff) -> tuple[bool, int, bool, float]:
        moved = tensor.readings["relative_distance"]
        size = moved.value / (moved.redraw or math.inf)
        return (
            tensor.kind == "buffer",
            _ORDER.index(tensor.state),
            tensor.kind != "weight",
            -size if math.isfinite(size) else 0.0,
        )

    ranked = sorted(diff.tensors, key=key)
    if diff.verdict.kind in ("unrelated", "redrawn", "partly"):
        # there a tensor that is kept is the surprise
        ranked.sort(key=lambda t: (t.kind == "buffer", not t.related))
    return ranked


def table(diff: Diff, rows: int | None) -> tuple[list[str], list[list[str]]]:
    """One line a tensor."""
    return HEADER, [_row(tensor) for tensor in rank(diff)[:rows]]


def summarize(diff: Diff) -> list[str]:
    """The verdict, then what was compared and how fast."""
    ways = sum(not t.how for t in diff.tensors)
    named = f"{ways} by name" if ways < len(diff.tensors) else "all by name"
    rest = len(diff.tensors) - ways
    alone = len(diff.only_a) + len(diff.only_b) + len(diff.reshaped)
    matched = f"{named}, {rest} otherwise" if rest else named
    return [
        diff.verdict.headline,
        f"{len(diff.tensors)} tensors, {_amount(sum(t.count for t in diff.tensors))} "
        f"weights compared ({matched}); {alone or 'none'} without a partner."
        f"{_speed(diff)}",
    ]


def write_text(diff: Diff, rows: int | None) -> str:
    """Sentences, table and findings as plain text."""
    header, lines = table(diff, rows)
    more = len(diff.tensors) - len(lines)
    parts = [*summarize(diff), "", *align(header, lines)]
    if more:
        parts.append(f"... and {more} more tensors: text(rows=None), to_json()")
    parts += [LEGEND, ""]
    for finding in diff.verdict.findings:
        parts.append(f"{finding.level.upper()} {finding.what}")
    return "\n".join(parts).rstrip()


def write_json(diff: Diff) -> str:
    """All numbers; the schema is named in the first field and only grows."""
    content = {
        "schema": SCHEMA,
        "verdict": diff.verdict.kind,
        "headline": diff.verdict.headline,
        "a": diff.a,
        "b": diff.b,
        "total": diff.total,
        "tensors": [tensor_data(tensor) for tensor in diff.tensors],
        "only_a": [{"name": n, "shape": shape} for n, shape in diff.only_a],
        "only_b": [{"name": n, "shape": shape} for n, shape in diff.only_b],
        "reshaped": [
            {"name": n, "shape_a": a, "shape_b": b} for n, a, b in diff.reshaped
        ],
        "findings": diff.verdict.findings,
        "num_bytes": diff.num_bytes,
        "seconds": diff.seconds,
    }
    return to_json(content)


def write_fragment(diff: Diff) -> str:
    """Sentences and the rows that matter as HTML, for notebooks."""
    header, lines = table(diff, 10)
    said = "".join(f"<p>{html.escape(line)}</p>" for line in summarize(diff))
    return said + write_html_table(header, lines)


def _speed(diff: Diff) -> str:
    """How fast they were read, where that took a while."""
    if diff.num_bytes < 1e8:
        return ""
    speed = diff.num_bytes / 1e9 / max(diff.seconds, 1e-9)
    return f" {_amount(diff.num_bytes)}B in {diff.seconds:.1f} s, {speed:.1f} GB/s."


def _row(tensor: TensorDiff) -> list[str]:
    r = tensor.readings
    relation = tensor.relation
    spread = relation.null_std if relation is not None else float("nan")
    keeps = _say(r["correlation"].value, ".3f")
    if keeps and math.isfinite(spread):
        keeps += f" (0 ± {spread:.1g})"
    what = _WORDS[tensor.state]
    if tensor.how:
        what += f", {tensor.how}"
    return [
        tensor.name,
        "x".join(map(str, tensor.shape)) or "1",
        what,
        _moved(tensor),
        keeps,
        _say(r["changed"].value, ".0%"),
        _beside(r["sign_flips"], ".1%"),
        _say(r["slope"].value, ".3f"),
    ]


def _moved(tensor: TensorDiff) -> str:
    reading = tensor.readings["relative_distance"]
    if not math.isfinite(reading.value):
        size = math.sqrt(tensor.sums.dd / max(tensor.sums.count, 1))
        return f"from 0 to rms {size:.2g}" if size else "0"
    null = f" ({reading.redraw:.2f})" if reading.redraw is not None else ""
    return f"{reading.value:.3g}{null}"


def _beside(reading: Reading, form: str) -> str:
    said = _say(reading.value, form)
    if said and reading.noise is not None and math.isfinite(reading.noise):
        said += f" ~{reading.noise:{form}}"
    return said


def _say(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else ""


def _amount(number: float) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f} "


def tensor_data(tensor: TensorDiff) -> dict[str, Any]:
    """One tensor, as it stands in JSON."""
    data = {
        name: getattr(tensor, name)
        for name in (
            *("name", "name_a", "how", "shape", "dtype_a", "dtype_b", "kind", "state"),
            *("count", "related", "fresh_a", "fresh_b", "law"),
        )
    }
    return data | {"readings": tensor.readings}
