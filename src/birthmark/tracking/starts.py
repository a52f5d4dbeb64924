"""The start, kept once: on the device, on the host, in a mapped file, or a sample.

It is kept in float32 (float64 where the weights are), so that small moves of weights in
bfloat16 or float16 are measured from the start itself and not from its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.errors import SpecError, WeightsError
from birthmark.measurements import (
    fan_in_of,
    fingerprint,
    merge_shards,
    sum_up,
    weight_beside,
)
from birthmark.shapes import Array, Parameters
from birthmark.tracking.samples import Sample

Keep = Literal["device", "cpu", "file", "sample"]

KEEPS = ("device", "cpu", "file", "sample")


@dataclass(frozen=True)
class Start:
    """The initial configuration as it is kept, and how weights are seen beside it."""

    parameters: Parameters  # float32 or float64; sampled tensors are vectors
    whole: Parameters  # of which names, shapes, roles and kinds count, not the values
    fingerprint: str  # of all that was there, in its own types
    units: Mapping[str, float]  # by name: the size of a weight under its law
    norms: Mapping[str, float]  # by name: the L2 norm of the tensor
    sample: Sample | None = None

    def see(self, current: Parameters) -> Parameters:
        """What of the weights is measured, where the start is; itself as it is."""
        if current is self.parameters:
            return current
        if self.sample is not None:
            current = self.sample.take(current)
        device = next(iter(self.parameters.values())).values.device
        return Parameters(
            {
                name: replace(one, values=one.values.to(device))
                for name, one in current.items()
            }
        )

    def complete(self, found: xr.Dataset) -> xr.Dataset:
        """What was measured of the sample, as if it had been measured of all."""
        ones = self.whole.values()
        found = found.assign_coords(
            shape=("parameter", ["x".join(map(str, one.shape)) for one in ones]),
            size=("parameter", [one.size for one in ones]),
            unit=("parameter", [self.units[name] for name in self.whole], _UNIT),
            norm=("parameter", [self.norms[name] for name in self.whole], _NORM),
        )
        if self.sample is None:
            return found
        if "distance" in found:
            along = xr.Variable("parameter", self._growths() ** 0.5)
            distance = found["distance"]
            found["distance"] = (distance * along).assign_attrs(distance.attrs)
        if set(_FOR_ERROR) <= set(found.data_vars):
            found["distance_error"] = self._error(found)
        return found.assign_coords(
            sampled=("parameter", [int(size) for size in self._counts()], _SAMPLED)
        )

    def sampled(self, sample: Sample, device: torch.device) -> Parameters:
        """What the sample takes of it, copied to a device.

        A start that is a sample itself has been taken at the same places.
        """
        taken = self.parameters if self.sample else sample.take(self.parameters)
        return Parameters(
            {
                name: replace(one, values=one.values.to(device, copy=True))
                for name, one in taken.items()
            }
        )

    def tensors(self) -> dict[str, Tensor]:
        """What is kept, by name."""
        return {name: one.values for name, one in self.parameters.items()}

    def holding(self, tensors: Mapping[str, Tensor]) -> Start:
        """The same with these tensors in the place of its own."""
        kept = {
            name: replace(one, values=tensors[name].to(one.values.device))
            for name, one in self.parameters.items()
        }
        return replace(self, parameters=Parameters(kept))

    @property
    def is_sharded(self) -> bool:
        """Whether other processes have parts of it."""
        return any(one.shard is not None for one in self.whole.values())

    @cached_property
    def kept_fingerprint(self) -> str:
        """Of what is kept in this process, in the type in which it is kept."""
        own = {n: replace(one, shard=None) for n, one in self.parameters.items()}
        return fingerprint(Parameters(own))

    def restored(
        self,
        tensors: Mapping[str, Tensor],
        fingerprint: str,
        units: Mapping[str, float],
        norms: Mapping[str, float],
    ) -> Start:
        """The start of a run that goes on, from what was kept of it.

        Raises:
            WeightsError: It is of another model.
        """
        expected = {n: tuple(one.values.shape) for n, one in self.parameters.items()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if expected != found:
            odd = sorted(dict(expected.items() ^ found.items()))
            raise WeightsError(
                f"the kept start differs from the model in {', '.join(odd[:3])}: go on "
                "with the model, processes, tensors=, keep= and places= that it began "
                "with"
            )
        return replace(
            self.holding(tensors),
            fingerprint=fingerprint,
            units=dict(units),
            norms=dict(norms),
        )

    def _error(self, found: xr.Dataset) -> xr.DataArray:
        """Relative standard error of the distance, by the spread of its squares."""
        mean, std = found["deviation_mean"], found["deviation_std"]
        m2 = std**2
        m3, m4 = found["deviation_skewness"] * std**3, found["deviation_kurtosis"] + 3
        square = m2 + mean**2
        fourth = m4 * m2**2 + 4 * mean * m3 + 6 * mean**2 * m2 + mean**4
        growths = self._growths()
        count = xr.Variable("parameter", self._counts())
        error = 0.5 * ((fourth - square**2) / count) ** 0.5 / square
        is_whole = xr.Variable("parameter", growths == 1)
        return error.where(~is_whole, 0.0).assign_attrs(
            long_name="relative standard error of the distance", units="1"
        )

    def _growths(self) -> Array:
        """How many coordinates each one looked at stands for, by tensor."""
        assert self.sample is not None
        return np.array([self.sample.growth(name) for name in self.whole])

    def _counts(self) -> Array:
        """Coordinates that are looked at, by tensor."""
        return np.array([one.size for one in self.whole.values()]) / self._growths()


# what the error of a sampled distance follows from
_FOR_ERROR = (
    "deviation_mean",
    "deviation_std",
    "deviation_skewness",
    "deviation_kurtosis",
)
_UNIT = {"long_name": "standard deviation of the law of the tensor", "units": "weight"}
_NORM = {"long_name": "L2 norm of the tensor at the start", "units": "weight"}
_SAMPLED = {"long_name": "coordinates that were looked at", "units": "count"}


def take_start(parameters: Parameters, keep: Keep, num_places: int) -> Start:
    """Copy the weights as they are now.

    Args:
        parameters: Of the model, at its start.
        keep: Where: see the module.
        num_places: Of a sample of each tensor that has more.

    Raises:
        SpecError: There is no such way to keep it.
    """
    if keep not in KEEPS:
        raise SpecError(f"keep is one of {', '.join(KEEPS)}, not {keep!r}")
    is_sharded = any(one.shard is not None for one in parameters.values())
    if is_sharded and keep in ("file", "sample"):
        raise SpecError(
            f"keep={keep!r} cannot be for sharded parameters, of which each process "
            "has a small part: keep them on the 'device' or on the 'cpu'"
        )
    sample = Sample(parameters, num_places) if keep == "sample" else None
    seen = parameters if sample is None else sample.take(parameters)
    on_host = keep in ("cpu", "file")
    kept = Parameters(
        {
            name: replace(one, values=_copy(one.values, on_host=on_host))
            for name, one in seen.items()
        }
    )
    # the sample stands for all: to hash the whole would cost what sampling saves
    of_all = fingerprint(parameters if sample is None else seen)
    sums = merge_shards(
        kept, {name: sum_up(one.values, one.values) for name, one in kept.items()}
    )
    norms = {
        name: float(one.norms[0]) * (sample.growth(name) ** 0.5 if sample else 1.0)
        for name, one in sums.items()
    }
    spreads = {name: float(one.spread) for name, one in sums.items()}
    units = find_units(spreads, parameters)
    return Start(kept, _without_values(parameters), of_all, units, norms, sample)


def expect_start(parameters: Parameters, keep: Keep, num_places: int) -> Start:
    """A start without its values, where they will be: `restored` gives them."""
    sample = Sample(parameters, num_places) if keep == "sample" else None
    seen = parameters if sample is None else sample.take(parameters)
    if keep in ("cpu", "file"):
        seen = _without_values(seen)
    return Start(seen, _without_values(parameters), "", {}, {}, sample)


def find_units(
    spreads: Mapping[str, float], parameters: Parameters
) -> dict[str, float]:
    """By name: the standard deviation of the law of a tensor, never 0.

    That of its own entries at the start; where these are all equal, as of biases and of
    adapters that start at zero, that of the weights beside it in its layer, or else the
    standard deviation of U(-1, 1) / sqrt(fan-in), torch's default.

    Args:
        spreads: By name the standard deviation of the entries; NaN where all are equal.
        parameters: Of the model.
    """
    units = {}
    for name, one in parameters.items():
        beside = weight_beside(name, parameters)
        others = [
            other
            for other, found in parameters.items()
            if found.layer == one.layer
            and found.role == "weight"
            and spreads[other] > 0
        ]
        chosen = [beside] if beside is not None else others
        spread = spreads[name]
        if math.isnan(spread):
            spread = next((spreads[o] for o in chosen if spreads[o] > 0), 0.0)
        default = 1 / math.sqrt(3 * fan_in_of(name, parameters))
        units[name] = spread if 0 < spread < math.inf else default
    return units


def _copy(values: Tensor, *, on_host: bool) -> Tensor:
    dtype = values.dtype if values.dtype == torch.float64 else torch.float32
    device = "cpu" if on_host else values.device
    # in rows: a file holds tensors as they lie
    copied = torch.empty(values.shape, dtype=dtype, device=device)
    return copied.copy_(values.detach())


def _without_values(parameters: Parameters) -> Parameters:
    """Names, shapes and what the tensors are, which a view keeps without memory."""
    return Parameters(
        {
            name: replace(
                one,
                values=torch.empty((), device="cpu").expand(one.values.shape),
            )
            for name, one in parameters.items()
        }
    )
