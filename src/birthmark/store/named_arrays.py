"""Records as NumPy arrays with named dims: what xarray makes of them takes far longer.

Who reads thousands of runs looks at a few arrays of each. Those are found here under
the words that xarray has for them, so that code may be given either, and neither
xarray nor pandas is loaded; `to_dataset` gives the whole as users see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from birthmark.shapes import Array
from birthmark.store.columns import to_array

if TYPE_CHECKING:
    import xarray as xr

    from birthmark.store.segments import StoredTable

    AnyRecords: TypeAlias = "xr.Dataset | Records"


class LateColumn:
    """The first rows of a column of a table in some shape, read when they are used.

    The joint counts of a run are nearly all of its records, and few look at them.
    """

    def __init__(self, table: StoredTable, name: str, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, table.dtype(name)
        self._table, self._name = table, name

    @cached_property
    def whole(self) -> Array:
        """The numbers."""
        flat = to_array(self._table.read([self._name]), self._name).reshape(-1)
        return flat[: math.prod(self.shape)].reshape(self.shape)


# dims, numbers, and what is said of them
Variable = tuple[tuple[str, ...], "Array | LateColumn", dict[str, Any]]


@dataclass(frozen=True, eq=False)
class NamedArray:
    """One variable, as part of the records it came from."""

    dims: tuple[str, ...]
    data: Array | LateColumn
    attrs: dict[str, Any]
    labels: Mapping[str, Array]  # along a dim, where it has any

    def to_numpy(self) -> Array:
        """Its numbers, which are not to be written into."""
        return self.data.whole if isinstance(self.data, LateColumn) else self.data

    def transpose(self, *dims: str) -> NamedArray:
        """With all of its dims in this order."""
        if dims == self.dims:
            return self
        order = [self.dims.index(dim) for dim in dims]
        if len(order) != len(self.dims):
            raise ValueError(f"{dims} is no order of {self.dims}")
        moved = self.to_numpy().transpose(order)
        return NamedArray(dims, moved, self.attrs, self.labels)

    def isel(self, **places: Any) -> NamedArray:
        """At a place along a dim, which is lost; or at several."""
        dims, values = self.dims, self.to_numpy()
        for dim, place in places.items():
            axis = dims.index(dim)
            values = values[(slice(None),) * axis + (place,)]
            if _is_one(place):
                dims = dims[:axis] + dims[axis + 1 :]
        return NamedArray(dims, values, self.attrs, _labels_at(self.labels, places))

    def sel(self, **names: Any) -> NamedArray:
        """Where a label stands along its dim.

        Raises:
            KeyError: There is no such label.
        """
        return self.isel(**find_places(self.labels, names))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        return self.data.dtype

    def __getitem__(self, key: Any) -> Any:
        return self.to_numpy()[key]

    def __float__(self) -> float:
        return float(self.to_numpy())


@dataclass(frozen=True, eq=False)
class Records:
    """The records of a run, or a part of them."""

    variables: Mapping[str, Variable]  # without coordinates
    coordinates: Mapping[str, Variable]
    attrs: dict[str, Any] = field(default_factory=dict)
    taken: tuple[Mapping[str, Any], ...] = ()  # places along dims, one after the other

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Of each dim.

        Raises:
            ValueError: Variables do not agree.
        """
        sizes: dict[str, int] = {}
        for dims, data, _ in (*self.coordinates.values(), *self.variables.values()):
            for dim, size in zip(dims, data.shape, strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise ValueError(f"{dim} has {sizes[dim]} places, and {size}")
        left = {dim: np.arange(size) for dim, size in sizes.items()}
        for places in self.taken:
            left = _labels_at(left, places)
        return {dim: len(those) for dim, those in left.items()}

    @cached_property
    def labels(self) -> dict[str, Array]:
        """The coordinate that names the places of a dim."""
        labels = self._all_labels
        for places in self.taken:
            labels = _labels_at(labels, places)
        return labels

    @cached_property
    def _all_labels(self) -> dict[str, Array]:
        return {
            name: np.asarray(data)
            for name, (dims, data, _) in self.coordinates.items()
            if dims == (name,) and not isinstance(data, LateColumn)
        }

    @property
    def data_vars(self) -> dict[str, NamedArray]:
        """All variables that are no coordinates."""
        return {name: self[name] for name in self.variables}

    @property
    def coords(self) -> dict[str, NamedArray]:
        """All coordinates."""
        return {name: self[name] for name in self.coordinates}

    def isel(self, **places: Any) -> Records:
        """At these places of each variable that has the dim."""
        taken = (*self.taken, places)
        return Records(self.variables, self.coordinates, self.attrs, taken)

    def sel(self, **names: Any) -> Records:
        """Where labels stand along their dims."""
        return self.isel(**find_places(self.labels, names))

    def without(self, *dims: str) -> Records:
        """Without any variable that has one of these dims."""
        variables, coordinates = (
            {n: one for n, one in many.items() if not set(dims).intersection(one[0])}
            for many in (self.variables, self.coordinates)
        )
        return Records(variables, coordinates, self.attrs, self.taken)

    def to_dataset(self) -> xr.Dataset:
        """The same as xarray has it; late columns are still read when they are used.

        `xr.Dataset` compares each of two hundred variables with the others, which takes
        twice as long as reading them; the check of sizes is left in.
        """
        import xarray as xr

        from birthmark.store.late import to_lazy

        indexed = xr.Dataset(coords=self.coordinates)
        data = {
            name: xr.Variable(
                dims,
                to_lazy(data) if isinstance(data, LateColumn) else data,
                attrs,
                fastpath=True,
            )
            for name, (dims, data, attrs) in self.variables.items()
        }
        whole = xr.Dataset._construct_direct(
            {**data, **indexed.variables},
            set(self.coordinates),
            indexes=dict(indexed.xindexes),
            attrs=self.attrs,
        )
        for places in self.taken:
            whole = whole.isel(places, missing_dims="ignore")
        return whole

    def __contains__(self, name: object) -> bool:
        return name in self.variables or name in self.coordinates

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __getitem__(self, name: str) -> NamedArray:
        known = self.variables if name in self.variables else self.coordinates
        dims, data, attrs = known[name]
        found = NamedArray(dims, data, attrs, self._all_labels)
        for places in self.taken:
            found = found.isel(**{d: p for d, p in places.items() if d in found.dims})
        return found


def _is_one(place: Any) -> bool:
    return np.ndim(place) == 0 and not isinstance(place, slice)


def _labels_at(
    labels: Mapping[str, Array], places: Mapping[str, Any]
) -> dict[str, Array]:
    """What is left of labels along their dims."""
    return {
        dim: those if dim not in places else those[places[dim]]
        for dim, those in labels.items()
        if dim not in places or not _is_one(places[dim])
    }


def find_places(
    labels: Mapping[str, Array], names: Mapping[str, Any]
) -> dict[str, int]:
    """Where each of these stands among the labels of its dim.

    Raises:
        KeyError: One is not there.
    """
    places = {}
    for dim, name in names.items():
        found = np.flatnonzero(labels[dim] == name)
        if not len(found):
            raise KeyError(name)
        places[dim] = int(found[0])
    return places
