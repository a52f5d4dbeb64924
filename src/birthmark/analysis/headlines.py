"""The most telling numbers of a study, a line each: findings cut to their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from birthmark.analysis.columns import Column, read_columns
from birthmark.analysis.findings import protocol_names
from birthmark.analysis.findings_of_training import find_coincidence
from birthmark.analysis.findings_of_weights import (
    find_nearness,
    find_retention_gap,
    find_scaling,
)
from birthmark.analysis.studies import Study, split_by_protocol
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.words import say_interval, say_number


def find_headlines(study: Study, thresholds: Thresholds | None = None) -> list[str]:
    """At most five lines, each a number in plain words with its interval and n.

    They are about the protocol with the most runs, which is named where there are
    several data sets. What these do not allow is said of the next protocol that does,
    with its name, or left out.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    lines = thresholds or Thresholds()
    studies = split_by_protocol(study)
    columns = [read_columns(one, lines) for one in studies]
    names = protocol_names(studies)
    if len({run.spec.data.name for run in study}) == 1:
        names[0] = ""
    found = []
    for state in _HEADLINES:
        said = ((state(one, lines), place) for place, one in enumerate(columns))
        line, place = next((pair for pair in said if pair[0]), ("", 0))
        if line:
            found.append(f"{line}{f' [{names[place]}]' if names[place] else ''}.")
    return found


def _say_nearness(columns: list[Column], lines: Thresholds) -> str:
    finding = find_nearness(columns, lines)
    if finding is None:
        return ""
    v = finding.values
    return (
        f"Strong learners of width {v['width']:.0f} end with a correlation of "
        f"{_say(v, 'correlation')} with their start in {columns[0].layer}, at a "
        f"relative distance of {_say(v, 'relative_distance')}, n = {v['n']:.0f} "
        "(an independent draw: 0 and 1.41)"
    )


def _say_retention(columns: list[Column], lines: Thresholds) -> str:
    finding = find_retention_gap(columns, lines)
    if finding is None:
        return ""
    v = finding.values
    return (
        f"Retention of the mark (1 perfect, 0.5 gone): {say_number(v['strong_mean'])} "
        f"at the strong width {v['strong_width']:.0f} (n = {v['strong_n']:.0f}), "
        f"{say_number(v['unstable_mean'])} at the unstable width "
        f"{v['unstable_width']:.0f} (n = {v['unstable_n']:.0f}); difference "
        f"{say_number(v['difference'])} ({say_interval(v['low'], v['high'])})"
    )


def _say_unstable(columns: list[Column], lines: Thresholds) -> str:
    shares = [
        f"{(one.learners == 'unstable').sum()} of {one.num_replicas} at {one.width}"
        for one in columns
    ]
    return f"Replicas that lost what they had learned, by width: {', '.join(shares)}"


def _say_coincidence(columns: list[Column], lines: Thresholds) -> str:
    return find_coincidence(columns, lines).what.removesuffix(".")


def _say_exponent(columns: list[Column], lines: Thresholds) -> str:
    finding = find_scaling(columns, lines)
    if finding is None or "deviation_std_exponent" not in finding.values:
        return ""
    v = finding.values
    low, high = -v["deviation_std_high"], -v["deviation_std_low"]
    return (
        f"At an equal train loss of {say_number(v['loss'])} the deviation per weight "
        f"of {columns[0].layer} goes as width to the power "
        f"{say_number(-v['deviation_std_exponent'])} ({say_interval(low, high)}, "
        f"n = {v['deviation_std_n']:.0f})"
    )


def _say(values: Mapping[str, float], name: str) -> str:
    span = say_interval(values[f"{name}_low"], values[f"{name}_high"])
    return f"{say_number(values[name])} ({span})"


_HEADLINES: tuple[Callable[[list[Column], Thresholds], str], ...] = (
    _say_nearness,
    _say_retention,
    _say_unstable,
    _say_coincidence,
    _say_exponent,
)
