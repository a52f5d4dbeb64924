"""Two checkpoints side by side, as one value: tensors, totals, verdict, findings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from birthmark.shapes import Finding
from birthmark.weight_files import texts
from birthmark.weight_files.readings import Reading, TensorDiff

Kind = Literal[
    "identical",  # bit for bit, or up to the dtype
    "scaled",  # one factor a tensor: weight decay alone
    "trained",  # from a random start
    "continued",  # from weights that were trained already
    "moved",  # related, and the start cannot be told
    "reversed",  # the second is the start of the first
    "partly",  # most tensors are unrelated, some are not
    "redrawn",  # two draws of a start
    "unrelated",
    "untold",  # too small or too coarse to tell
]


@dataclass(frozen=True)
class Side:
    """One of the two checkpoints."""

    label: str
    format: str
    num_tensors: int
    count: int  # numbers in it
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What happened between the two, and by which tests."""

    kind: Kind
    headline: str  # one sentence
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Total:
    """All weights in one number, without buffers, biases and gains."""

    count: int
    relative_distance: Reading
    cosine: Reading
    changed: float


@dataclass(frozen=True)
class Diff:
    """What `diff` found; printed as text, in notebooks as a table."""

    a: Side
    b: Side
    tensors: tuple[TensorDiff, ...]  # in the order of the second
    only_a: tuple[tuple[str, tuple[int, ...]], ...]  # names and shapes
    only_b: tuple[tuple[str, tuple[int, ...]], ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    num_bytes: int  # that were compared
    seconds: float
    verdict: Verdict = field(default_factory=lambda: Verdict("untold", ""))

    def __getitem__(self, name: str) -> TensorDiff:
        """The tensor of this name, as either checkpoint has it."""
        for tensor in self.tensors:
            if name in (tensor.name, tensor.name_a):
                return tensor
        raise KeyError(name)

    def weights(self) -> tuple[TensorDiff, ...]:
        """Matrices and kernels, without vectors and buffers."""
        return tuple(t for t in self.tensors if t.kind == "weight")

    @cached_property
    def total(self) -> Total:
        """All weights together; all vectors, where there are no others."""
        chosen = self.weights() or self.tensors
        return add_tensors(t for t in chosen if t.state != "broken")

    def ranked(self) -> list[TensorDiff]:
        """Tensors, those that matter most first."""
        return texts.rank(self)

    @property
    def legend(self) -> str:
        """What the columns of the table mean."""
        return texts.LEGEND

    def table(self, rows: int | None = None) -> tuple[list[str], list[list[str]]]:
        """Header and rows as text, those that matter most first."""
        return texts.table(self, rows)

    def summary(self) -> list[str]:
        """What happened, what was compared and how it was matched, in sentences."""
        return texts.summarize(self)

    def text(self, rows: int | None = 5) -> str:
        """What happened, the rows that matter and the findings, as plain text."""
        return texts.write_text(self, rows)

    def to_json(self) -> str:
        """All numbers with their null models; what is not finite becomes null."""
        return texts.write_json(self)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return texts.write_fragment(self)


def add_tensors(tensors: Iterable[TensorDiff]) -> Total:
    """Distance and cosine of many tensors as of one long vector."""
    chosen = [t for t in tensors if t.sums.count]
    # all in the largest units; beside them smaller ones may vanish, as they should
    of_a, of_b = (max((t.units[side] for t in chosen), default=1.0) for side in (0, 1))
    of_d = max(of_a, of_b)
    share_a, share_b = of_a / of_d, of_b / of_d
    aa = bb = ab = dd = crossed = spread = 0.0
    for t in chosen:
        a, b, d = t.units[0] / of_a, t.units[1] / of_b, max(t.units) / of_d
        aa += a * a * t.sums.aa
        bb += b * b * t.sums.bb
        ab += a * b * t.sums.ab
        dd += d * d * t.sums.dd
        crossed += a * b * t.sums.a * t.sums.b / t.sums.count
        if t.relation is not None and t.relation.null_std > 0:
            size = math.sqrt(t.sums.aa) * math.sqrt(t.sums.bb)
            spread += (a * b * t.relation.null_std * size) ** 2
    size = math.sqrt(aa) * math.sqrt(bb)
    redraw_dd = share_a**2 * aa + share_b**2 * bb - 2 * share_a * share_b * crossed
    count = sum(t.sums.count for t in chosen)
    return Total(
        count=int(count),
        relative_distance=Reading(
            _over(math.sqrt(dd), math.sqrt(aa)) * (of_d / of_a),
            redraw=_over(math.sqrt(max(redraw_dd, 0)), math.sqrt(aa)) * (of_d / of_a),
        ),
        cosine=Reading(
            _over(ab, size),
            redraw=_over(crossed, size),
            redraw_std=_over(math.sqrt(spread), size) if spread else None,
        ),
        changed=_over(sum(t.sums.changed for t in chosen), count),
    )


def _over(x: float, y: float) -> float:
    return x / y if y else float("nan")
