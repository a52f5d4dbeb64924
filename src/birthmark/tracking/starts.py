"""The start, kept once: on the device, on the host, in a mapped file, or a sample of it.

It is kept in float32 (float64 where the weights are), so that small moves of weights in
bfloat16 or float16 are measured from the start itself and not from its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.errors import SpecError, WeightsError
from birthmark.measurements import fan_in_of, fingerprint, weight_beside
from birthmark.shapes import Parameters
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
    sample: Sample | None = None

    def see(self, current: Parameters) -> Parameters:
        """What of the weights is measured, where the start is."""
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
        )
        if self.sample is None:
            return found
        growth = np.array([self.sample.growth(name) for name in self.whole])
        if "distance" in found:
            along = xr.Variable("parameter", growth**0.5)
            distance = found["distance"]
            found["distance"] = (distance * along).assign_attrs(distance.attrs)
        return found.assign_coords(
            sampled=("parameter", [int(size) for size in self._counts()], _SAMPLED)
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

    @cached_property
    def kept_fingerprint(self) -> str:
        """Of what is kept, in the type in which it is kept."""
        return fingerprint(self.parameters)

    def restored(
        self,
        tensors: Mapping[str, Tensor],
        fingerprint: str,
        units: Mapping[str, float],
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
                "with the model, tensors=, keep= and places= that the run began with"
            )
        return replace(
            self.holding(tensors), fingerprint=fingerprint, units=dict(units)
        )

    def _counts(self) -> list[float]:
        assert self.sample is not None
        return [one.size / self.sample.growth(n) for n, one in self.whole.items()]


_UNIT = {"long_name": "standard deviation of the law of the tensor", "units": "weight"}
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
    return Start(kept, _without_values(parameters), of_all, find_units(kept, parameters), sample)


def expect_start(parameters: Parameters, keep: Keep, num_places: int) -> Start:
    """A start without its values, where they will be: `restored` gives them."""
    sample = Sample(parameters, num_places) if keep == "sample" else None
    seen = parameters if sample is None else sample.take(parameters)
    if keep in ("cpu", "file"):
        seen = _without_values(seen)
    return Start(seen, _without_values(parameters), "", {}, sample)


def find_units(kept: Parameters, parameters: Parameters) -> dict[str, float]:
    """By name: the standard deviation of the law of a tensor, never 0.

    That of its own entries at the start; where these are all equal, as of biases and of
    adapters that start at zero, that of the weights beside it in its layer, or else the
    standard deviation of U(-1, 1) / sqrt(fan-in), torch's default.
    """
    spreads = {name: _spread(one.values) for name, one in kept.items()}
    units = {}
    for name, one in parameters.items():
        beside = weight_beside(name, parameters)
        others = [
            other
            for other, found in parameters.items()
            if found.layer == one.layer and found.role == "weight" and spreads[other] > 0
        ]
        chosen = [beside] if beside is not None else others
        spread = spreads[name] or next((spreads[o] for o in chosen if o), 0.0)
        default = 1 / math.sqrt(3 * fan_in_of(name, parameters))
        units[name] = spread if 0 < spread < math.inf else default
    return units


def _spread(values: Tensor) -> float:
    """Standard deviation; exactly 0 where all are equal."""
    if bool(values.min() == values.max()):
        return 0.0
    return float(values.std(correction=0))


def _copy(values: Tensor, *, on_host: bool) -> Tensor:
    dtype = values.dtype if values.dtype == torch.float64 else torch.float32
    device = "cpu" if on_host else values.device
    # in rows: a file holds tensors as they lie
    copied = torch.empty(values.shape, dtype=dtype, device=device)
    return cast(Tensor, copied.copy_(values.detach()))


def _without_values(parameters: Parameters) -> Parameters:
    """Names, shapes and what the tensors are, which a view keeps without memory."""
    return Parameters(
        {
            name: replace(one, values=torch.empty((), device="cpu").expand(
                len(one.values), *one.shape
            ))
            for name, one in parameters.items()
        }
    )
