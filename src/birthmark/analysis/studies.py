"""Runs side by side, along the field in which they differ; each is looked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from birthmark.analysis.axes import Axis, Value, order_values, say_mark, unify_fields
from birthmark.analysis.grouping import Group, Member, group_runs
from birthmark.analysis.kept_marks import add_pooled
from birthmark.errors import StoreError
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.store import Records, flatten

if TYPE_CHECKING:
    import xarray as xr

    from birthmark.store import AnyRecords, Store

Found = TypeVar("Found")
UNKNOWN = Axis("", ())  # of a study, to be found from its runs


def remember(self: Any, key: Any, find: Callable[[], Found]) -> Found:
    """What was found in this under a key; found now if it was not yet.

    A method of what has a dict `_found`: runs, families, surveys.
    """
    if key not in self._found:
        self._found[key] = find()
    found: Found = self._found[key]
    return found


@dataclass(frozen=True, eq=False)
class Run:
    """One run with its records."""

    run_key: str
    given: RunSpec | None  # None of a run in a user's own loop, which follows no spec
    arrays: AnyRecords  # the records, in whichever form they came
    description: Mapping[str, Any] = field(default_factory=dict)  # fields without spec
    _found: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def records(self) -> xr.Dataset:
        """The records, as docs/internals.md describes them."""
        arrays = self.arrays
        if not isinstance(arrays, Records):
            return arrays
        return self.remember("records", arrays.to_dataset)

    @property
    def spec(self) -> RunSpec:
        """What was run.

        Raises:
            StoreError: The run follows no spec.
        """
        if self.given is None:
            raise StoreError(f"run {self.run_key} follows no spec")
        return self.given

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """Every field in which runs may differ, under its dotted name."""
        if self.given is None:
            return self.description
        return flatten(self.given.model_dump())

    @property
    def width(self) -> int:
        """Units of the last hidden layer; 0 of a run without a spec."""
        return 0 if self.given is None else self.given.network.widths[-1]

    @property
    def layer(self) -> str:
        """The layer looked at unless said: the matrix into the last hidden layer."""
        if self.given is None:
            layers = self.arrays["layer"].to_numpy()
            return str(layers[max(len(layers) - 2, 0)])
        return last_hidden(self.given)

    @property
    def num_replicas(self) -> int:
        """Networks of the run, R."""
        return int(self.arrays.sizes["replica"])

    @property
    def clock(self) -> str:
        """In what its records are numbered: `epoch`, or `step` where there are none."""
        coords = self.arrays.coords
        if "epoch" not in coords:
            return "step"
        # a loop may know its epoch at some records only
        is_known = ~np.isnan(coords["epoch"].to_numpy().astype(float))
        return "epoch" if is_known.all() else "step"

    @cached_property
    def epochs(self) -> Array:
        """Epochs with a record, [T] float; steps where there are no epochs."""
        return self.arrays[self.clock].to_numpy().astype(float)

    def values(self, name: str, layer: str | None = None) -> Array:
        """A variable by epoch and replica, [T, R] float; all NaN if not recorded."""
        key = ("values", name, layer)
        return self.remember(key, lambda: curves(self.arrays, name, layer))

    remember = remember


@dataclass(frozen=True, eq=False)
class Study:
    """Runs that are looked at together, along an axis and then by run key."""

    runs: tuple[Run, ...]
    axis: Axis = UNKNOWN  # that of the largest group of the runs, unless given
    values: tuple[Value, ...] = ()  # of each run on the axis

    def __post_init__(self) -> None:
        axis, runs, values = self.axis, self.runs, self.values
        if axis is UNKNOWN and runs:
            fields = unify_fields([run.fields for run in runs])
            axis = group_runs(fields, series="")[0].axis
            values = tuple(one.get(axis.field, "none") for one in fields)
            axis = replace(axis, values=order_values(values))
        place = {value: i for i, value in enumerate(axis.values)}
        ordered = sorted(
            zip(values, runs, strict=True),
            key=lambda pair: (place[pair[0]], pair[1].run_key),
        )
        object.__setattr__(self, "axis", axis)
        object.__setattr__(self, "runs", tuple(run for _, run in ordered))
        object.__setattr__(self, "values", tuple(value for value, _ in ordered))

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def at(self, value: Value) -> list[Run]:
        """The runs at one value of the axis: several if they differ by seed."""
        pairs = zip(self.values, self.runs, strict=True)
        return [run for one, run in pairs if one == value]


def read_study(store: Store, run_keys: Sequence[str] | None = None) -> Study:
    """The runs of a store, or those named; runs without any records are left out.

    Raises:
        StoreError: A run is unknown or cannot be read.
    """
    keys = list(store.runs()["run_key"]) if run_keys is None else list(run_keys)
    runs = (read_run(store, key) for key in keys)
    return Study(tuple(run for run in runs if run.arrays.sizes.get("step", 0)))


def read_run(store: Store, run_key: str) -> Run:
    """A run without what has a bin axis, nearly all of its memory.

    Raises:
        StoreError: The run is unknown or cannot be read.
    """
    records = store.arrays(run_key, distributions=False).without("bin", "current_bin")
    key = str(records.attrs["run_key"])
    if "kind" not in records.attrs:
        spec = store.spec(key)
        return Run(key, spec, add_pooled(records, spec, store))
    what = store.description(key)
    fields = {**what.columns, "kind": what.kind, "name": what.name}
    if "parameter" not in records.sizes:
        return Run(key, None, records, fields)
    from birthmark.store import by_layer

    return Run(key, None, by_layer(records.to_dataset()), fields)


def split_by_protocol(study: Study, axis: str | None = None) -> list[Study]:
    """Studies within which only what lies along one axis differs, and seed and records.

    Only such runs may be averaged, or compared. The largest come first.

    Args:
        study: Of any runs.
        axis: The field along which they lie; told by the runs themselves unless given.
    """
    runs = study.runs
    studies = []
    fields = unify_fields([run.fields for run in runs])
    for group in group_runs(fields, axis, series=""):
        studies += [one for _, one in split_group(group, runs)]
    return sorted(studies, key=lambda one: -len(one.runs))


def split_group(group: Group, runs: Sequence[Run]) -> list[tuple[Value, Study]]:
    """A study for each line of a group with its value, and there for each mark."""
    lines: dict[tuple[Value, str], list[Member]] = {}
    for member in group.members:
        mark = say_mark(runs[member.place].fields)
        lines.setdefault((member.line, mark), []).append(member)
    return [
        (line, _study(group, members, runs)) for (line, _), members in lines.items()
    ]


def _study(group: Group, members: Sequence[Member], runs: Sequence[Run]) -> Study:
    values = tuple(one.value for one in members)
    chosen = tuple(runs[one.place] for one in members)
    return Study(chosen, group.axis.among(values), values)


def last_hidden(spec: RunSpec) -> str:
    """The matrix that leads into the last hidden layer, between the hidden layers."""
    return spec.network.layer_names[-2]


def curves(records: AnyRecords, name: str, layer: str | None = None) -> Array:
    """A variable by epoch and replica, [T, R] float; all NaN if not recorded."""
    sizes = (records.sizes["step"], records.sizes["replica"])
    if name not in records:
        return np.full(sizes, np.nan)
    values = records[name] if layer is None else records[name].sel(layer=layer)
    return values.transpose("step", "replica").to_numpy().astype(float)


def fact(records: AnyRecords, name: str) -> float:
    """A number about the data that the records carry in their attributes.

    Raises:
        StoreError: It is not there, or no number.
    """
    try:
        return float(records.attrs[name])
    except (KeyError, TypeError, ValueError):
        run = records.attrs.get("run_key", "?")
        raise StoreError(
            f"records of run {run} lack the attribute {name!r}, a fact about the data: "
            f"set records.attrs[{name!r}]"
        ) from None
