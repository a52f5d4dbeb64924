"""From measurements of single tensors to one dataset, in one transfer to the host."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from birthmark.errors import SpecError
from birthmark.measurements.bins import CURRENT_EDGES, INITIAL_EDGES, centres
from birthmark.measurements.order import QUANTILES
from birthmark.measurements.pair import Pair
from birthmark.measurements.table import MEASUREMENTS, Measurement
from birthmark.shapes import Array, Tensor


@dataclass(frozen=True)
class Column:
    """A variable that still lies on the device."""

    tensor: Tensor
    dims: tuple[str, ...]
    long_name: str
    units: str
    weights_alone: bool = False  # NaN for vectors, among parameters

    @property
    def attrs(self) -> dict[str, str]:
        """As the variable has them."""
        said = {"long_name": self.long_name, "units": self.units}
        return {**said, "tensors": "weights"} if self.weights_alone else said


def choose(
    kind: str,
    *,
    only_all: bool,
    marked: bool,
    stepped: bool = False,
    probed: bool = False,
    only: Collection[str] | None = None,
) -> dict[str, Measurement]:
    """The measurements of a kind.

    Args:
        kind: `scalars`, `distributions` or `all`.
        only: Their names; all of the kind unless given.
        only_all: Leave out those that are made for weights alone.
        marked: Whether there is a mark, without which what needs one is left out.
        stepped: Whether it is known what the last step did.
        probed: Whether it is known what goes through the layers.
    """
    known = {"marked": marked, "stepped": stepped, "probed": probed}
    return {
        name: measurement
        for name, measurement in MEASUREMENTS.items()
        if kind in ("all", f"{measurement.kind}s")
        and (only is None or name in only)
        and not (only_all and measurement.tensors != "all")
        and known.get(measurement.tensors, True)
        and not (measurement.on_request and name not in (only or ()))
    }


def measure_pair(pair: Pair, chosen: Mapping[str, Measurement]) -> dict[str, Tensor]:
    """Each measurement of one tensor, [R, ...], a few replicas at a time."""
    parts = [
        {name: _apply(name, measurement, part) for name, measurement in chosen.items()}
        for part in pair.split()
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in chosen}


def blank(measurement: Measurement, pair: Pair) -> Tensor:
    """NaN in the place of what is not measured of this tensor."""
    sizes = (len(pair.initial), *(AXES[dim].size for dim in measurement.dims))
    device = pair.initial.device
    device = torch.device("cpu") if device.type == "mps" else device
    return torch.full(sizes, torch.nan, dtype=torch.float64, device=device)


def _apply(name: str, measurement: Measurement, pair: Pair) -> Tensor:
    result = measurement.function(pair)
    sizes = (len(pair.initial), *(AXES[dim].size for dim in measurement.dims))
    if tuple(result.shape) != sizes:
        raise SpecError(
            f"measurement {name} gave {list(result.shape)} for "
            f"{len(pair.initial)} replicas: it must give {list(sizes)}, one number "
            "a replica and one for each place along its own dims"
        )
    if not measurement.needs_finite:
        return result
    failed_R = pair.failed_R.reshape(-1, *[1] * (result.ndim - 1))
    return result.masked_fill(failed_R, torch.nan)


def stack_columns(
    found: list[dict[str, Tensor]],
    chosen: Mapping[str, Measurement],
    axis: str,
    *,
    prefix: str = "",
    suffix: str = "",
) -> dict[str, Column]:
    """The tensors' numbers side by side along the axis, one column a measurement."""
    return {
        prefix + name: Column(
            torch.stack([one[name] for one in found], dim=1),
            ("replica", axis, *measurement.dims),
            measurement.long_name + suffix,
            measurement.unit,
            axis == "parameter"
            and measurement.tensors in ("weights", "marked", "probed"),
        )
        for name, measurement in chosen.items()
    }


def to_dataset(
    columns: Mapping[str, Column], coords: Mapping[str, xr.Variable]
) -> xr.Dataset:
    """Columns with the coordinates given and those of their own axes."""
    arrays = _fetch([column.tensor for column in columns.values()])
    variables = {
        name: xr.Variable(column.dims, array, column.attrs)
        for (name, column), array in zip(columns.items(), arrays, strict=True)
    }
    dims = {dim for column in columns.values() for dim in column.dims}
    return xr.Dataset(variables, coords={**coords, **_coords(dims)})


AXES = {
    "quantile": np.array(QUANTILES),
    "bin": centres(INITIAL_EDGES),
    "current_bin": centres(CURRENT_EDGES),
}
_INITIAL, _CURRENT = (f"of the {when} value" for when in ("initial", "current"))
_AXES = (
    ("quantile", AXES["quantile"], "share of values below", "1"),
    ("bin", AXES["bin"], f"centre of the bin {_INITIAL}", "bound"),
    ("bin_edge", INITIAL_EDGES, f"edge of the bins {_INITIAL}", "bound"),
    ("current_bin", AXES["current_bin"], f"centre of the bin {_CURRENT}", "bound"),
    ("current_bin_edge", CURRENT_EDGES, f"edge of the bins {_CURRENT}", "bound"),
)


def _coords(dims: Iterable[str]) -> dict[str, xr.Variable]:
    return {
        name: xr.Variable(name, values.copy(), {"long_name": long_name, "units": units})
        for name, values, long_name, units in _AXES
        if name.removesuffix("_edge") in dims
    }


def _fetch(tensors: list[Tensor]) -> list[Array]:
    """All tensors on the host in one transfer, each with its own shape and type."""
    flat = torch.cat([tensor.flatten().to(torch.float64) for tensor in tensors]).cpu()
    pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [
        piece.reshape(tensor.shape).to(tensor.dtype).numpy()
        for piece, tensor in zip(pieces, tensors, strict=True)
    ]
