"""Where the weights stand, in one line and the rows that matter.

No verdict comes from a bare threshold: beside each number stands what would give as
much without learning (an independent draw, weight decay alone, noise of the same size),
and the start counts as readable where its correlation with the weights is above what
chance leaves one tensor in a thousand.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from birthmark.shapes import Array, Finding
from birthmark.statistics import compare_growth, norm
from birthmark.wording import align

REDRAW = math.sqrt(2)  # relative distance of an independent draw of the same law
_ONE_IN_A_THOUSAND = 3.09  # standard errors, one-sided
_FEWEST = 10  # entries of a tensor whose correlation says anything
# of a row, behind the distance
_SHARES = (
    "distance_by_decay",
    *("correlation", "correlation_by_noise"),
    *("sign_flips", "sign_flips_by_noise"),
)
_EXTREMES = 3  # tensors that have moved the most, and the least
_HEADER = (
    *("tensor", "kind", "entries", "moved", "by decay"),
    *("start left", "by noise", "signs lost", "by noise"),
)


@dataclass(frozen=True)
class Row:
    """A tensor, or all of one kind together."""

    name: str
    kind: str
    size: int
    moved: float  # distance over the initial norm; in units of its law from zero
    from_zero: bool  # whether the tensor began at zero
    by_decay: float  # what of `moved` weight decay alone would give
    correlation: float  # of initial and current values; NaN where the start was equal
    correlation_by_noise: float  # what noise of the same size would leave
    sign_flips: float  # share, in 0 ... 1
    sign_flips_by_noise: float  # what noise of the same size would flip

    @property
    def cells(self) -> tuple[str, ...]:
        """As a table says it; what began at zero has moved so many sigma of its law."""
        moved = _say(self.moved) + (" σ" if self.from_zero else "")
        decay = "" if self.from_zero else _say(self.by_decay)
        left = [_say(self.correlation), _say(self.correlation_by_noise)]
        flips = [_percent(self.sign_flips), _percent(self.sign_flips_by_noise)]
        return (self.name, self.kind, f"{self.size:,}", moved, decay, *left, *flips)


@dataclass(frozen=True)
class Summary:
    """A verdict, rows by kind, the tensors that moved most and least, and findings."""

    verdict: str
    kinds: tuple[Row, ...]
    extremes: tuple[Row, ...]
    findings: tuple[Finding, ...]
    step: int
    growth: str = ""  # by which law the distance grows, where the records tell

    def __str__(self) -> str:
        """The verdict, a table, and what asks for attention."""
        lines = [self.verdict, ""]
        rows = [row.cells for row in (*self.kinds, *self.extremes)]
        table = align(_HEADER, rows, num_left=2)
        kinds, extremes = table[: 1 + len(self.kinds)], table[1 + len(self.kinds) :]
        lines += [*kinds, "", *extremes] if extremes else kinds
        lines += ["", *filter(None, (self.growth,)), _LEGEND]
        lines += map(_sentence, self.findings)
        return "\n".join(lines)

    def __repr__(self) -> str:
        """As a console shows it."""
        return str(self)

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        bodies = "".join(
            f"<tbody style='border-top:1px solid'>{_html_rows(rows)}</tbody>"
            for rows in (self.kinds, self.extremes)
            if rows
        )
        found = "".join(
            f"<li>{html.escape(_sentence(one))}</li>" for one in self.findings
        )
        head = "".join(f"<th>{html.escape(name)}</th>" for name in _HEADER)
        return (
            f"<div><p><b>{html.escape(self.verdict)}</b></p>"
            "<table style='border-collapse:collapse'>"
            f"<thead><tr>{head}</tr></thead>{bodies}</table>"
            f"<p>{html.escape(self.growth)}</p>"
            f"<p><small>{html.escape(_LEGEND)}</small></p><ul>{found}</ul></div>"
        )


_LEGEND = (
    "moved: distance from the start over its norm (an independent draw: 1.41), or in σ "
    "of the layer's law where it is zero; by decay: what weight decay alone would "
    "give; start left: correlation with the start; by noise: what a deviation of its "
    "size, shuffled among the weights, would leave of it, and flip of the signs."
)


def summarize(
    found: xr.Dataset,
    step: int,
    name: str,
    findings: Sequence[Finding],
    records: xr.Dataset | None = None,
) -> Summary:
    """Say what was measured at a step.

    Args:
        found: Of `measure`, with the coordinates `unit`, `kind` and `size`; its first
            replica counts.
        step: Steps made.
        name: Of the run.
        findings: What asks for attention.
        records: All that was recorded, from which the law of growth is read.
    """
    one = found.isel(replica=0)
    rows = [_row(one, place) for place in range(one.sizes["parameter"])]
    of_kind = one["kind"].values
    kinds = [
        row
        for kind in dict.fromkeys(of_kind.tolist())
        if (row := _pool(one, np.flatnonzero(of_kind == kind), str(kind))) is not None
    ]
    finite = [row for row in rows if row.moved > 0 and not row.from_zero]
    ranked = sorted(finite, key=lambda row: -row.moved)
    if len(ranked) > 2 * _EXTREMES:
        ranked = ranked[:_EXTREMES] + ranked[-_EXTREMES:]
    verdict = _verdict(one, rows, step, name, findings)
    growth = "" if records is None else _growth(records)
    return Summary(verdict, tuple(kinds), tuple(ranked), tuple(findings), step, growth)


def _growth(records: xr.Dataset) -> str:
    """By which law the distance of all weights together grows, in a sentence."""
    if "distance" not in records:
        return ""
    distance = records["distance"].isel(replica=0).transpose("step", "parameter")
    whole = norm(distance.to_numpy(), axis=1)
    law = compare_growth(records["step"].values, whole)
    if law.law == "undecided":
        return ""
    better = f"by {abs(law.difference):.0f} of AIC, {law.num_points} records"
    if law.law == "log":
        return f"The distance grows as the logarithm of the step ({better})."
    return f"The distance grows as step^{law.exponent:.2f}, not as its log ({better})."


def _verdict(
    one: xr.Dataset,
    rows: Sequence[Row],
    step: int,
    name: str,
    findings: Sequence[Finding],
) -> str:
    if step == 0:
        return f"{name}: no step was made yet, nothing has moved."
    steps = "1 step" if step == 1 else f"{step:,} steps"
    broken = next((finding for finding in findings if finding.level == "error"), None)
    if broken is not None:
        return f"{name}, after {steps}: {broken.what}."
    whole = _pool(one, np.arange(len(rows)), "all")
    if whole is None or whole.moved == 0:
        return f"{name}, after {steps}: nothing has moved."
    readable = [
        row.correlation > _ONE_IN_A_THOUSAND / math.sqrt(row.size)
        for row in rows
        if row.size >= _FEWEST and math.isfinite(row.correlation)
    ]
    left = (
        f"; the start is still readable in {sum(readable)} of {len(readable)} tensors"
        if readable
        else ""
    )
    away = (
        f"{_say(whole.moved)} σ of their law away from the zero they began at"
        if whole.from_zero
        else f"{_say(whole.moved)} of their initial norm away from the start, where an "
        f"independent draw would be {REDRAW:.2f} away"
    )
    return f"{name}, after {steps}: the weights are {away}{left}."


def _row(one: xr.Dataset, place: int) -> Row:
    at = one.isel(parameter=place)
    name, kind = str(at["parameter"].values), str(at["kind"].values)
    found = _pool(one, np.array([place]), kind)
    assert found is not None
    return replace(found, name=name)


def _pool(one: xr.Dataset, places: Array, kind: str) -> Row | None:
    """All tensors of a kind as one vector; those from zero only where all are."""
    some = one.isel(parameter=places)
    sizes, norms = some["size"].values.astype(float), some["norm"].values
    distance = some["distance"].values
    from_zero = not (norms > 0).any()
    lengths = some["unit"].values * np.sqrt(sizes) if from_zero else norms
    told = lengths > 0
    if not told.any():
        return None
    moved = float(norm(distance[told]) / norm(lengths[told]))
    count = len(places)
    return Row(
        f"all {count}" if count > 1 else str(some["parameter"].values[0]),
        kind,
        int(sizes.sum()),
        moved,
        from_zero,
        *(
            _weighted(some[name].values, sizes) if name in some else math.nan
            for name in _SHARES
        ),
    )


def _weighted(values: Array, sizes: Array) -> float:
    known = np.isfinite(values)
    if not known.any():
        return math.nan
    return float((values[known] * sizes[known]).sum() / sizes[known].sum())


def _say(value: float) -> str:
    """Three digits that count, so that a small move is never said to be none."""
    return "" if math.isnan(value) else f"{value:.3g}"


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{_say(100 * value)} %"


def _sentence(finding: Finding) -> str:
    advice = f" Do: {finding.advice}." if finding.advice else ""
    return f"{finding.level}: {finding.what}.{advice}"


def _html_rows(rows: Sequence[Row]) -> str:
    return "".join(map(_html_row, rows))


def _html_row(row: Row) -> str:
    cells = "".join(
        f"<td style='text-align:{'left' if place < 2 else 'right'};padding:0 .5em'>"
        f"{html.escape(cell)}</td>"
        for place, cell in enumerate(row.cells)
    )
    return f"<tr>{cells}</tr>"
