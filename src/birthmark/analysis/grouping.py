"""Which runs stand together: those that differ along an axis, and in a second field.

Runs are held apart by every field in which they differ, except that along which they
are looked at, and what tells replicas apart. No field is averaged over in silence: what
changes together with the axis is named with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from birthmark.analysis.axes import (
    NONE,
    Axis,
    Value,
    find_field,
    name_field,
    order_values,
    rank_field,
    say_value,
)
from birthmark.errors import SpecError

Fields = dict[str, Value]
_FREE = ("mark", "run.precision")  # twins with a mark; products of wide networks
_MOST_ALONG = 2  # fields that may change together with the axis


@dataclass(frozen=True)
class Member:
    """A run by its place among those asked about, with its values."""

    place: int
    value: Value  # on the axis
    line: Value  # of the series; 'none' without one


@dataclass(frozen=True)
class Group:
    """Runs that may be compared along an axis, a line for each value of a series."""

    axis: Axis
    series: Axis | None
    members: tuple[Member, ...]
    fixed: tuple[tuple[str, Value], ...]  # what its runs share and those of others not

    @property
    def said(self) -> str:
        """What sets the group apart: `learning rate 0.3, no mark`; '' for one alone."""
        return ", ".join(
            say_value(value)
            if field in ("mark", "data.name", "initialization")
            else f"{name_field(field)} {say_value(value)}"
            for field, value in self.fixed
        )


def group_runs(
    fields: Sequence[Fields],
    axis: str | None = None,
    series: str | None = None,
    *,
    networks: Sequence[int] | None = None,
) -> list[Group]:
    """Group runs by what differs between them, the group with the most runs first.

    Args:
        fields: Of each run, from `unify_fields`.
        axis: The field that runs are looked at along. Unless given it is, for each data
            set, the one that most runs can be compared along, then the next for those
            that are left: a grid over two has one, a star of two sweeps has both.
        series: A second field; '' for none. Unless given, the one that joins the most
            groups, if any.
        networks: Of each run a number; those with two numbers have no layer in common,
            so that nothing of them can be compared. All have one unless given.

    Raises:
        SpecError: A field is unknown, or both are one.
    """
    names = sorted({name for one in fields for name in one})
    wanted = find_field(axis, names) if axis else None
    second = find_field(series, names) if series else series
    if wanted is not None and wanted == second:
        raise SpecError(f"axis and series are both {wanted}: name two fields")
    apart = {field for field in (wanted, second) if field}
    whole: dict[tuple[Value, ...], list[int]] = {}
    data = [name for name in names if _parts_data(name) and name not in apart]
    for place, one in enumerate(fields):
        network = networks[place] if networks else 0
        whole.setdefault((network, *_key(one, data)), []).append(place)
    groups: list[Group] = []
    for places in whole.values():
        groups += _Grouping(fields, places, wanted, second).groups()
    named = _name_apart(fields, groups)
    return sorted(named, key=lambda group: -len(group.members))


class _Grouping:
    """The groups of runs on one data set."""

    def __init__(
        self,
        fields: Sequence[Fields],
        places: list[int],
        axis: str | None,
        series: str | None,
    ) -> None:
        self._fields, self._places = fields, places
        self._axis, self._series = axis, series
        names = sorted({name for place in places for name in fields[place]})
        asked = {axis, series}
        self._varying = [
            name
            for name in names
            if len({self._value(place, name) for place in places}) > 1
            and (name not in _FREE or name in asked)
        ]

    def groups(self) -> list[Group]:
        found: list[Group] = []
        left = set(self._places)
        while left:
            axis = self._choose_axis(left)
            if axis is None:
                break
            parts = [part for part in self._split(axis) if left.intersection(part)]
            several = [part for part in parts if self._count(part, axis) > 1]
            found += self._join(axis, several)
            left -= {place for part in several for place in part}
            if self._axis is not None:
                break
        return found + self._alone(sorted(left))

    def _choose_axis(self, left: set[int]) -> str | None:
        """The field along which the most of the runs that are left can be compared."""
        names = [self._axis] if self._axis in self._varying else []
        if self._axis is None:
            names = [name for name in self._varying if name != self._series]
        best, chosen = (0, 0, 0), None
        for name in names:
            parts = [part for part in self._split(name) if self._count(part, name) > 1]
            covered = left.intersection(*[{p for part in parts for p in part}])
            most = max((self._count(part, name) for part in parts), default=0)
            worth = (len(covered), most, -rank_field(name))
            if covered and (chosen is None or worth > best):
                best, chosen = worth, name
        return chosen

    def _along(self, axis: str) -> list[str]:
        """The fields that each value of the axis settles; none if these are many."""
        values = {self._value(place, axis) for place in self._places}
        settled = [
            name
            for name in self._varying
            if name not in (axis, self._series)
            and len({self._pair(place, axis, name) for place in self._places})
            == len(values)
        ]
        return settled if len(settled) <= _MOST_ALONG else []

    def _split(self, axis: str, *others: str) -> list[list[int]]:
        """Runs that are alike but for the axis, and for others."""
        loose = {axis, *self._along(axis), *others}
        held = [name for name in self._varying if name not in loose]
        parts: dict[tuple[Value, ...], list[int]] = {}
        for place in self._places:
            parts.setdefault(_key(self._fields[place], held), []).append(place)
        return list(parts.values())

    def _join(self, axis: str, parts: list[list[int]]) -> list[Group]:
        """Groups of parts that differ in the series alone."""
        used = {place for part in parts for place in part}
        series = self._choose_series(axis, parts)
        if series is not None:
            wider = [[p for p in one if p in used] for one in self._split(axis, series)]
            parts = [part for part in wider if part]
        return [
            self._group(axis, series if self._count(one, series) > 1 else None, one)
            for part in parts
            for one in self._by_precision(part, axis, series)
        ]

    def _choose_series(self, axis: str, parts: list[list[int]]) -> str | None:
        if self._series is not None:
            return self._series if self._series in self._varying else None
        best, chosen = len(parts), None
        loose = {axis, *self._along(axis)}
        used = {place for part in parts for place in part}
        for name in sorted(set(self._varying) - loose, key=rank_field):
            wider = [one for one in self._split(axis, name) if used.intersection(one)]
            if len(wider) < best and any(
                self._overlap(one, axis, name) for one in wider
            ):
                best, chosen = len(wider), name
        return chosen

    def _overlap(self, part: list[int], axis: str, series: str) -> bool:
        """Whether two lines have two values of the axis in common."""
        lines: dict[Value, set[Value]] = {}
        for place in part:
            line = lines.setdefault(self._value(place, series), set())
            line.add(self._value(place, axis))
        every = list(lines.values())
        return any(
            len(one & other) > 1 for i, one in enumerate(every) for other in every[:i]
        )

    def _by_precision(
        self, part: list[int], axis: str, series: str | None
    ) -> list[list[int]]:
        """Apart where one place on the axis has products of two precisions.

        Such runs share starts and batches, and are no replicas of each other.
        """
        kinds: dict[Value, list[int]] = {}
        for place in part:
            kinds.setdefault(self._value(place, "run.precision"), []).append(place)
        seen = [
            {(self._value(p, axis), self._value(p, series or "")) for p in some}
            for some in kinds.values()
        ]
        if len(set().union(*seen)) == sum(map(len, seen)):
            return [part]
        return list(kinds.values())

    def _alone(self, places: list[int]) -> list[Group]:
        """Runs that differ in nothing but seed, mark or records, or in too much."""
        names = [self._value(place, "run.precision") for place in places]
        parts: dict[tuple[Value, ...], list[int]] = {}
        for place, name in zip(places, names, strict=True):
            key = (*_key(self._fields[place], self._varying), name)
            parts.setdefault(key, []).append(place)
        known = set(self._fields[places[0]]) if places else set()
        axis = self._axis or min(
            sorted(known - set(_FREE)), key=rank_field, default="mark"
        )
        return [self._group(axis, None, part) for part in parts.values()]

    def _group(self, axis: str, series: str | None, part: list[int]) -> Group:
        members = tuple(
            Member(
                place,
                self._value(place, axis),
                NONE if series is None else self._value(place, series),
            )
            for place in part
        )
        values = order_values([one.value for one in members])
        along = self._along(axis) if len(values) > 1 else []
        lines = None
        if series is not None:
            lines = Axis(series, order_values([one.line for one in members]))
        return Group(Axis(axis, values, tuple(along)), lines, members, ())

    def _value(self, place: int, name: str) -> Value:
        return self._fields[place].get(name, NONE)

    def _pair(self, place: int, *names: str) -> tuple[Value, ...]:
        return _key(self._fields[place], names)

    def _count(self, part: list[int], name: str | None) -> int:
        return len({self._value(place, name) for place in part}) if name else 0


def _parts_data(name: str) -> bool:
    """Whether runs that differ in this field are never joined unless it is asked."""
    return name.startswith("data.") or name == "kind"


def _key(fields: Fields, names: Sequence[str]) -> tuple[Value, ...]:
    return tuple(fields.get(name, NONE) for name in names)


def _name_apart(fields: Sequence[Fields], groups: list[Group]) -> list[Group]:
    """Each with the fields that its runs share and that are others elsewhere."""
    used = sorted({one.place for group in groups for one in group.members})
    names = sorted({name for place in used for name in fields[place]}, key=_rank)
    varying = [
        name
        for name in names
        if len({fields[place].get(name, NONE) for place in used}) > 1
    ]
    named = []
    for group in groups:
        fixed = []
        for name in varying:
            values = {fields[one.place].get(name, NONE) for one in group.members}
            if len(values) == 1 and name != group.axis.field:
                fixed.append((name, values.pop()))
        named.append(Group(group.axis, group.series, group.members, tuple(fixed)))
    return named


def _rank(name: str) -> tuple[int, str]:
    return (-1 if name.startswith("data.") else rank_field(name), name)
