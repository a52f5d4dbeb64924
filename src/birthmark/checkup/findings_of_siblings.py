"""Findings about tensors that stand in one place of blocks that are built alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise

from birthmark.checkup.readings import CheckUp, TensorReading
from birthmark.checkup.thresholds import (
    ERRORS,
    FEWEST_SIBLINGS,
    SIBLING_GAP,
    TRAINABLE,
)
from birthmark.shapes import Finding
from birthmark.wording import say_count


def unlike_siblings(checkup: CheckUp) -> Iterator[Finding]:
    """One tensor that differs from those in the same place of the other blocks."""
    groups: dict[tuple[str, tuple[int, ...]], list[TensorReading]] = {}
    for t in checkup.tensors:
        pattern = re.sub(r"\d+", "#", t.name)
        # a default bias is drawn by the fan-in of the weights beside it
        by_fan = t.role == "bias" and t.family != "constant"
        if pattern != t.name and t.role != "other" and not t.nonfinite and not by_fan:
            groups.setdefault((pattern, t.shape), []).append(t)
    for (pattern, _), members in groups.items():
        odd = _odd_one(members) or _far_one(members, pattern)
        if odd is None:
            continue
        like = next(t for t in members if t is not odd)
        where = (odd.name,) if len(members) > 2 else (odd.name, like.name)
        yield Finding(
            what=f"{odd.name} is {odd.law}, unlike its "
            f"{say_count(len(members) - 1, 'sibling')} in the other blocks "
            f"({like.law}).",
            why="Blocks that are built alike are drawn alike, unless an initialization "
            "missed one or reached it twice.",
            how="tensors of one name but for the numbers in it, and one shape; the "
            "others agree within sampling error, this one does not; of two or three, "
            f"more than e^{TRAINABLE / 2:g} apart",
            level="warning",
            values={"std": odd.std, "siblings": like.std},
            name="unlike_siblings",
            where=where,
            advice=f"Look at what draws {odd.name}: its order, its name, its fans.",
        )


def _odd_one(members: list[TensorReading]) -> TensorReading | None:
    """The only member whose size the others, which agree, do not explain."""
    if len(members) < FEWEST_SIBLINGS:
        return None
    sizes = {t.name: _size(t) for t in members}
    ordered = sorted(sizes.values())
    middle = ordered[len(ordered) // 2]
    if middle == 0:
        return None  # zeros, which one block may well not have
    off = []
    for t in members:
        # four standard errors of two sizes, and a tenth for what is drawn in parts
        error = 0.0 if t.family == "constant" else ERRORS / math.sqrt(t.size)
        size = sizes[t.name]
        if size == 0 or abs(math.log(size) - math.log(middle)) > error + SIBLING_GAP:
            off.append(t)
    return off[0] if len(off) == 1 else None


def _far_one(members: list[TensorReading], pattern: str) -> TensorReading | None:
    """Of two or three, which cannot outvote it, the one beyond the trainable range.

    Of two it is the one without a rule, else the larger. Layers in a row may be meant
    to differ, as a small last one; the same place of two blocks is not, unless one of
    them is zero.
    """
    in_blocks = re.search(r"#\.\D+\.", pattern) is not None
    ordered = sorted(members, key=_size)
    is_meant = _size(ordered[0]) == 0 or any(t.is_output for t in members)
    if not 2 <= len(members) < FEWEST_SIBLINGS or not in_blocks or is_meant:
        return None
    gaps = [math.log(_size(b)) - math.log(_size(a)) for a, b in pairwise(ordered)]
    if max(gaps) <= TRAINABLE / 2:
        return None
    if len(members) == 2:
        return min(ordered, key=lambda t: (bool(t.rules), -_size(t)))
    agree = min(gaps) <= SIBLING_GAP + ERRORS / math.sqrt(members[0].size)
    return (ordered[-1] if gaps[-1] == max(gaps) else ordered[0]) if agree else None


def _size(t: TensorReading) -> float:
    return math.hypot(t.mean, t.std)
