"""What is known beside the weights, and what is refused before anything is measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from birthmark.errors import WeightsError, unknown_name
from birthmark.measurements.signals import Signal
from birthmark.measurements.steps import Step
from birthmark.shapes import Array, Layer, Mark, Tensor, Weights


@dataclass(frozen=True)
class Facts:
    """The keyword arguments of `measure`."""

    mark: Mark | None
    still_inputs: Array | None  # [I] bool
    path: Mapping[str, Tensor] | None  # [R] by `path_key`
    bounds: Mapping[str, Any] | None  # half-widths, two a layer or one a parameter
    steps: Mapping[str, Step] | None = None  # by name of parameter
    signals: Mapping[str, Signal] | None = None  # by name of weight

    def check(self, initial: Weights) -> None:
        """Refuse facts that do not belong to these weights.

        Raises:
            SpecError: The mark lies in no layer.
            WeightsError: A shape does not fit, a layer is missing, a bound is no bound.
        """
        if self.mark is not None:
            _check_mark(self.mark, initial)
        if self.still_inputs is not None:
            _check_still_inputs(self.still_inputs, initial)
        if self.path is not None:
            check_path(self.path, initial)
        if self.bounds is not None:
            _check_bounds(self.bounds, initial)


def check_comparable(initial: Weights, current: Weights) -> None:
    """Refuse two configurations that are not of the same stack of networks.

    Raises:
        WeightsError: Layers, shapes, types or devices differ or cannot be measured.
    """
    if not len(initial) or list(initial) != list(current):
        raise WeightsError(
            f"initial weights have the layers {_listed(initial)}, current ones "
            f"{_listed(current)}: give the same layers, at least one, in the same order"
        )
    for name, before in initial.items():
        after = current[name]
        _check_layer(name, before, initial.num_replicas)
        for tensor, x, y in (("w", before.w, after.w), ("b", before.b, after.b)):
            if x.shape != y.shape or x.device != y.device:
                raise WeightsError(
                    f"{name}.{tensor}: initial is {list(x.shape)} on {x.device}, "
                    f"current {list(y.shape)} on {y.device}; give both alike"
                )


def path_key(layer: str, *, bias: bool) -> str:
    """Name of the path of one tensor: `hidden1` for the weights, `bias hidden1`."""
    return f"bias {layer}" if bias else layer


def check_path(path: Mapping[str, Tensor], weights: Weights) -> None:
    """Refuse path lengths that are not of these weights.

    Raises:
        WeightsError: A tensor is missing, or has another number of replicas.
    """
    keys = [path_key(name, bias=bias) for name in weights for bias in (False, True)]
    _check_keys("path", path, keys)
    for key in keys:
        if tuple(path[key].shape) != (weights.num_replicas,):
            raise WeightsError(
                f"path of {key!r} must be [{weights.num_replicas}], one length a "
                f"replica, not {list(path[key].shape)}"
            )


def _check_layer(name: str, layer: Layer, num_replicas: int) -> None:
    fits = layer.w.ndim == 3 and layer.b.shape == layer.w.shape[::2]
    if not fits or len(layer.w) != num_replicas or not layer.w.numel():
        raise WeightsError(
            f"{name}: w {list(layer.w.shape)} and b {list(layer.b.shape)} are not "
            f"[R, I, O] and [R, O] with R = {num_replicas} replicas; stack separate "
            "networks along a first axis"
        )
    for tensor in (layer.w, layer.b):
        if not tensor.is_floating_point():
            raise WeightsError(
                f"{name}: weights must be floating point, not {tensor.dtype}"
            )


def _check_mark(mark: Mark, initial: Weights) -> None:
    if mark.layer not in list(initial):
        raise unknown_name("layer of the mark", mark.layer, initial)
    shape = tuple(initial[mark.layer].w.shape[1:])
    if mark.mask_IO.shape != shape or mark.mask_IO.dtype != bool:
        raise WeightsError(
            f"the mask of the mark in {mark.layer} must be bool {list(shape)}, not "
            f"{mark.mask_IO.dtype} {list(mark.mask_IO.shape)}"
        )


def _check_still_inputs(still_inputs: Array, initial: Weights) -> None:
    fan_in = initial[next(iter(initial))].w.shape[1]
    if still_inputs.shape != (fan_in,) or still_inputs.dtype != bool:
        raise WeightsError(
            f"still_inputs must be bool [{fan_in}], one for each input, not "
            f"{still_inputs.dtype} {list(still_inputs.shape)}"
        )


def _check_bounds(bounds: Mapping[str, Any], initial: Weights) -> None:
    _check_keys("bounds", bounds, initial)
    for name, pair in bounds.items():
        if len(pair) != 2 or not all(isfinite(x) and x > 0 for x in pair):
            raise WeightsError(
                f"bounds of {name} must be two positive numbers, of the weights and "
                f"of the biases, not {pair}"
            )


def _check_keys(what: str, given: Iterable[str], needed: Iterable[str]) -> None:
    missing = sorted(set(needed) - set(given))
    if missing:
        raise WeightsError(f"{what} lacks {_listed(missing)}; give all of them")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
