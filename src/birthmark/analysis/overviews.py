"""A store at a glance: one sentence, three numbers, the fate of the networks.

Report and live page show it; nothing of it is said in one place only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from birthmark.analysis.columns import Column
from birthmark.analysis.findings import family_findings
from birthmark.analysis.findings_of_weights import find_leading
from birthmark.analysis.layers import final_distances, name_layer
from birthmark.analysis.regimes import LEARNERS
from birthmark.analysis.studies import Run
from birthmark.analysis.surveys import Family, Survey
from birthmark.analysis.trends import read_as_an_eye, read_retention
from birthmark.analysis.words import REDRAW, say_list, say_number
from birthmark.shapes import Array
from birthmark.wording import say_count

TOLD = 2  # findings that make the sentence


@dataclass(frozen=True)
class Number:
    """A number that is shown large, with what it is."""

    text: str
    label: str


@dataclass(frozen=True)
class Fate:
    """How many networks at one place of the axis became which learner."""

    text: str  # of the value on the axis
    counts: tuple[int, ...]  # in the order of LEARNERS


@dataclass(frozen=True)
class Fates:
    """The fates along the axis, of one value of the series."""

    label: str  # `learning rate 0.1`; '' without a series
    along: tuple[Fate, ...]


@dataclass(frozen=True)
class Overview:
    """What the runs of one family show in ten seconds."""

    title: str  # `digits: 30 networks along width`
    sentence: str
    numbers: tuple[Number, ...]
    axis: str  # label of the axis
    fates: tuple[Fates, ...]  # none of runs that are not told apart as learners
    layers: tuple[tuple[str, float], ...]  # relative distance at the end by layer
    layers_of: str  # which runs these are of


_AUC = "(AUC, perfect: 1, gone: 0.5)"
_READABLE = f"retention of the mark at the end, median {_AUC}"
_BY_WEIGHT = f"retention of the mark at the end by single weights, median {_AUC}"


def look_at(family: Family) -> Overview:
    """The overview of a family, made once.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    return family.remember("overview", lambda: _look_at(family))


def summarize_survey(survey: Survey) -> str:
    """What was done, in one sentence; runs of which nothing is shown are counted."""
    runs = survey.runs
    networks = sum(run.num_replicas for run in runs)
    clock = runs[0].clock
    last = int(max(run.epochs[-1] for run in runs))
    names = dict.fromkeys(_name(run) for run in runs)
    on = f" on {say_list(list(names))}" if runs[0].given is not None else ""
    beside = "".join(
        f"; {say_count(len(keys), 'run')} {why}"
        for keys, why in (
            (survey.unrecorded, "without records of weights yet"),
            (survey.damaged, "that cannot be read"),
        )
        if keys
    )
    twins = sum(family.num_twins for family in survey.families)
    if twins:
        beside = f"; {twins} of them with another mark or none, counted apart{beside}"
    return (
        f"{say_count(networks, 'network')} in {say_count(len(runs), 'run')}{on}, up to "
        f"{say_count(last, clock)}{beside}."
    )


def _look_at(family: Family) -> Overview:
    found = [one.what for one in family_findings(family) if one.name != "unfinished"]
    networks = sum(one.num_replicas for line in family.lines for one in line.study)
    along = f" along {family.axis.noun}" if family.is_along else ""
    series = f" and {family.series.noun}" if family.series else ""
    runs: Sequence[Run] = (
        find_leading(family).runs
        if family.is_judged
        else family.study.at(family.study.values[-1])
    )
    count = say_count(networks, "network")
    return Overview(
        title=f"{_name_all(family.runs)}: {count}{along}{series}",
        sentence=" ".join(found[:TOLD]) or "Nothing has been measured of it yet.",
        numbers=_numbers(family) if family.is_judged else _moves(runs),
        axis=family.axis.label,
        fates=_fates(family) if family.is_judged else (),
        layers=tuple((name_layer(n), d) for n, d in final_distances(runs)),
        layers_of=family.say(runs[0]),
    )


def _numbers(family: Family) -> tuple[Number, ...]:
    columns = family.all_columns
    learners = Counter(str(name) for one in columns for name in one.learners)
    n = learners.total()
    strong = learners["strong"]
    line, _, chance = family.losses
    label = (
        f"networks are strong: they end at a train loss of at most {line:.2g} "
        f"(a guess: {chance:.2g})"
    )
    numbers = [Number(f"{strong} of {n}", label)]
    distance = np.concatenate([_read_distance(column) for column in columns])
    if np.isfinite(distance).any():
        known = distance[np.isfinite(distance)]
        low, high = known.min(), known.max()
        span = f"{say_number(float(low), 2)} to {say_number(float(high), 2)}"
        label = (
            f"relative distance of {name_layer(columns[0].layer)}: how far its "
            f"weights have moved, over their size at the start {REDRAW}"
        )
        numbers.append(Number(span, label + _say_known(distance)))
    pooled = read_as_an_eye(columns)
    kept = np.concatenate([read_retention(column) for column in pooled or columns])
    if np.isfinite(kept).any():
        text = say_number(float(np.nanmedian(kept)), 2)
        numbers.append(Number(text, _READABLE if pooled else _BY_WEIGHT))
    else:
        accuracy = np.concatenate([one.final("test_accuracy") for one in columns])
        if np.isfinite(accuracy).any():
            best = f"{100 * np.nanmax(accuracy):.1f} %"
            label = (
                f"best test accuracy at the end{_say_guess(columns[0].runs[0])}"
                f"{_say_known(accuracy)}"
            )
            numbers.append(Number(best, label))
    return tuple(numbers)


def _say_guess(run: Run) -> str:
    """The accuracy of who names the largest class each time, where it is known."""
    share = run.arrays.attrs.get("largest_class_share")
    return "" if share is None else f" (a guess: {100 * float(share):.0f} %)"


def _say_known(values: Array) -> str:
    """Of how many networks a number is, unless it is of all."""
    known = int(np.isfinite(values).sum())
    return f" ({known} of {len(values)} networks)" if known < len(values) else ""


def _read_distance(column: Column) -> Array:
    return column.final("relative_distance", column.layer)


def _moves(runs: Sequence[Run]) -> tuple[Number, ...]:
    """Of a run in a loop of its own: the layers that moved the most and the least."""
    layers = sorted(final_distances(runs), key=lambda pair: pair[1])
    if not layers:
        return ()
    (least, low), (most, high) = layers[0], layers[-1]
    farthest = f"the farthest {REDRAW}"
    return (
        Number(say_number(high, 2), f"relative distance of layer {most}, {farthest}"),
        Number(say_number(low, 2), f"relative distance of layer {least}, the nearest"),
        Number(f"{int(runs[0].epochs[-1]):,}", f"{runs[0].clock}s recorded"),
    )


def _fates(family: Family) -> tuple[Fates, ...]:
    return tuple(
        Fates(
            family.series.say(line.value) if family.series else "",
            tuple(_fate(family, column) for column in line.columns),
        )
        for line in family.lines
    )


def _fate(family: Family, column: Column) -> Fate:
    counts = Counter(map(str, column.learners))
    text = family.axis.text(column.value)
    return Fate(text, tuple(counts[name] for name in LEARNERS))


def _name(run: Run) -> str:
    return str(run.fields.get("data.name") or run.fields.get("name") or "runs")


def _name_all(runs: Sequence[Run]) -> str:
    """The name that runs share, or the words with which all their names begin."""
    names = list(dict.fromkeys(map(_name, runs)))
    if len(names) == 1:
        return names[0]
    words = []
    for first, *others in zip(*(name.split() for name in names), strict=False):
        if any(other != first for other in others):
            break
        words.append(first)
    while words and any(words[-1] in run.fields for run in runs):
        words.pop()  # a number follows it in each name
    return " ".join(words).rstrip(" ,:;-_") or "runs"
