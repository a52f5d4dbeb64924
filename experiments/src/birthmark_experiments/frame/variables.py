"""Variables of results: values with dims, each with its long name and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:  # a list of questions needs neither
    import numpy.typing as npt
    import xarray as xr

    from birthmark.shapes import Array

Found = TypeVar("Found", "xr.Dataset", "xr.DataArray")
Variable: TypeAlias = "tuple[Sequence[str] | str, Array, dict[str, str]]"

_KEPT_AS = {"int64": "int32", "bool": "int8"}
# what most questions read of every epoch
_CURVES = {
    "train_loss": ("train loss, mean over an epoch as it was visited", "nat"),
    "train_accuracy": ("train accuracy, likewise", "1"),
    "test_accuracy": ("test accuracy", "1"),
    "below_eps": ("share of visits with a true class below the clip", "1"),
    "abandoned": ("share of visits abandoned", "1"),
}
_COUNTS = ("below_eps", "abandoned")


def labelled(long_name: str, units: str) -> dict[str, str]:
    """The attributes that every variable of results carries."""
    return {"long_name": long_name, "units": units}


def variable(
    dims: Sequence[str] | str, values: npt.ArrayLike, long_name: str, units: str = "1"
) -> Variable:
    """One variable: floats as given, counts in 32 bits, flags in 8."""
    import numpy as np

    array = np.asarray(values)
    kept_as = _KEPT_AS.get(array.dtype.name, array.dtype)
    return dims, array.astype(kept_as), labelled(long_name, units)


def gather(
    words: Mapping[str, tuple[str, str]],
    values: Mapping[str, tuple[Any, Any]],
    coords: Mapping[str, Any],
) -> xr.Dataset:
    """Results: dims and values by name, the words (long name, units) by the same."""
    import xarray as xr

    found = {n: variable(dims, x, *words[n]) for n, (dims, x) in values.items()}
    return xr.Dataset(found).assign_coords(coordinates(coords))


def coordinates(coords: Mapping[str, Any]) -> dict[str, Array]:
    """Coordinates along dims of the same names; whole numbers in 32 bits."""
    import numpy as np

    arrays = {dim: np.asarray(values) for dim, values in coords.items()}
    return {d: x.astype(_KEPT_AS.get(x.dtype.name, x.dtype)) for d, x in arrays.items()}


def each(results: Found, dim: str) -> dict[Any, Found]:
    """What there is of each label along a dim, in their order."""
    labels = results[dim].to_numpy().tolist()
    return {label: results.sel({dim: label}) for label in labels}


def variables(
    dims: Sequence[str],
    words: Mapping[str, tuple[str, str]],
    values: Mapping[str, npt.ArrayLike],
    prefix: str = "",
) -> dict[str, Variable]:
    """Variables of equal dims, in single precision; words as of `gather`."""
    import numpy as np

    return {
        f"{prefix}{name}": variable(dims, np.asarray(values[name], "float32"), *said)
        for name, said in words.items()
    }


def name_curves(
    curves: Mapping[str, Array], num_examples: int, epochs: Array | None = None
) -> xr.Dataset:
    """Metrics of records, [T, R], as shares where they are counts of examples.

    They stand at epochs 1, 2, ... unless others are given.
    """
    import numpy as np
    import xarray as xr

    shares = {
        name: np.asarray(x) / (num_examples if name in _COUNTS else 1)
        for name, x in curves.items()
    }
    words = {name: _CURVES[name] for name in curves}
    count = len(next(iter(curves.values())))
    at = np.arange(1, count + 1) if epochs is None else epochs
    found = xr.Dataset(variables(("epoch", "replica"), words, shares))
    return found.assign_coords(coordinates({"epoch": at}))


def name_deviation(
    records: xr.Dataset, steps: Sequence[int] | Array, dim: str
) -> Variable:
    """How widely the weights between the hidden layers have spread at some steps."""
    deviation_TR = records["deviation_std"].sel(layer="hidden2").to_numpy()[steps]
    words = "standard deviation of the deviation, between hidden layers"
    return variable((dim, "replica"), deviation_TR, words, "weight")
