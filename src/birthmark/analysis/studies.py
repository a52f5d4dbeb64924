"""Several runs side by side: what is compared, and which runs may be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from birthmark.errors import StoreError
from birthmark.shapes import Array
from birthmark.spec import RunSpec

if TYPE_CHECKING:
    from birthmark.store import Store


@dataclass(frozen=True)
class Run:
    """One run with its records, as docs/internals.md describes them."""

    run_key: str
    spec: RunSpec
    records: xr.Dataset

    @property
    def width(self) -> int:
        """Units of the last hidden layer."""
        return self.spec.network.widths[-1]

    @property
    def layer(self) -> str:
        """The layer looked at unless said: the matrix into the last hidden layer."""
        return last_hidden(self.spec)

    def values(self, name: str, layer: str | None = None) -> Array:
        """A variable by epoch and replica, [T, R] float; all NaN if not recorded."""
        return curves(self.records, name, layer)


@dataclass(frozen=True)
class Study:
    """Runs that are looked at together, by width and then by run key."""

    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        ordered = sorted(self.runs, key=lambda run: (run.width, run.run_key))
        object.__setattr__(self, "runs", tuple(ordered))

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    @property
    def widths(self) -> tuple[int, ...]:
        """The different widths, rising."""
        return tuple(sorted({run.width for run in self.runs}))

    def at_width(self, width: int) -> list[Run]:
        """The runs of one width: several if they differ by seed."""
        return [run for run in self.runs if run.width == width]


def read_study(store: Store, run_keys: Sequence[str] | None = None) -> Study:
    """The runs of a store, or those named; runs without any records are left out.

    Variables with a bin axis are dropped, nearly all of the memory: one run at a time
    is enough for `pool_conditionals`, which takes `store.records(run_key)`.

    Raises:
        StoreError: A run is unknown or cannot be read.
    """
    keys = list(store.runs()["run_key"]) if run_keys is None else list(run_keys)
    runs = []
    for key in keys:
        records = store.records(key).drop_dims("bin", errors="ignore")
        if records.sizes.get("step", 0):
            runs.append(Run(str(records.attrs["run_key"]), store.spec(key), records))
    return Study(tuple(runs))


def split_by_protocol(study: Study) -> list[Study]:
    """Studies within which only width, seed, replicas and records differ.

    Only such runs may be averaged, or compared across width. Between widths the
    precision of the products may differ as well (wide networks are trained in bf16,
    which leaves losses and deviations where they were), at one width it may not: such
    runs share starts and batches, and are no replicas of each other. The largest come
    first.
    """
    groups: dict[str, dict[str, list[Run]]] = {}
    for run in study:
        alike = groups.setdefault(_protocol(run.spec), {})
        alike.setdefault(run.spec.run.precision, []).append(run)
    studies = []
    for alike in groups.values():
        parts = list(alike.values())
        if _have_no_width_in_common(parts):
            parts = [[run for part in parts for run in part]]
        studies += [Study(tuple(part)) for part in parts]
    return sorted(studies, key=lambda one: -len(one.runs))


def _have_no_width_in_common(parts: list[list[Run]]) -> bool:
    widths = [{run.spec.network.widths for run in part} for part in parts]
    return len(set().union(*widths)) == sum(map(len, widths))


def _protocol(spec: RunSpec) -> str:
    fields = spec.model_dump(mode="json", exclude={"record"})
    fields["network"]["widths"] = len(spec.network.widths)
    for free in ("seed", "replicas", "device", "precision"):
        del fields["run"][free]
    return json.dumps(fields, sort_keys=True)


def last_hidden(spec: RunSpec) -> str:
    """The matrix that leads into the last hidden layer, between the hidden layers."""
    return spec.network.layer_names[-2]


def curves(records: xr.Dataset, name: str, layer: str | None = None) -> Array:
    """A variable by epoch and replica, [T, R] float; all NaN if not recorded."""
    sizes = (records.sizes["step"], records.sizes["replica"])
    if name not in records:
        return np.full(sizes, np.nan)
    values = records[name] if layer is None else records[name].sel(layer=layer)
    return values.transpose("step", "replica").to_numpy().astype(float)


def fact(records: xr.Dataset, name: str) -> float:
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
