"""What is looked at during a run: measurements at the recorded epochs, kept so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from birthmark.measurements import MEASUREMENTS, extend_path, measure
from birthmark.network import find_bounds, find_mark, name_parameters
from birthmark.shapes import Array, Dataset, EpochMetrics, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import RunFolder
from birthmark.training import Training

# of measurements, by whether scalars and whether distributions are recorded
_KINDS: dict[tuple[bool, bool], Literal["all", "scalars", "distributions"]] = {
    (True, True): "all",
    (True, False): "scalars",
    (False, True): "distributions",
}


class Observer:
    """Measures a training where its spec says so, and hands it all to the store.

    It carries what spans two records: the weights at the last one and the length of
    the path so far. A checkpoint needs both.
    """

    def __init__(
        self, spec: RunSpec, training: Training, dataset: Dataset, folder: RunFolder
    ) -> None:
        self._spec, self._training, self._folder = spec, training, folder
        sizes = (dataset.num_inputs, dataset.num_classes)
        self._mark = find_mark(spec, *sizes, num_channels=dataset.num_channels)
        self._bounds = find_bounds(spec, *sizes, num_channels=dataset.num_channels)
        self._still_inputs = find_still_inputs(dataset)
        if spec.network.is_convolutional:
            self._still_inputs = _still_in_patches(
                self._still_inputs, dataset.num_channels, spec.network.kernel
            )
        self._recorded = set(spec.recorded_epochs)
        self._distributions = set(spec.distribution_epochs)
        self._previous = training.initial
        self._path: dict[str, Tensor] = {}

    def look(self, metrics: EpochMetrics) -> None:
        """Record the epoch that has just ended (or epoch 0, before the first step)."""
        self._folder.append_metrics(metrics)
        if metrics.epoch in self._recorded:
            current = self._training.weights
            self._path = extend_path(self._path, self._previous, current)
            self._keep(current)
        if metrics.epoch in self._recorded | self._distributions:
            self._measure(metrics)
        if metrics.epoch in self._spec.weights_epochs:
            kept = _on_host(self._training.weights, self._spec.record.weights_layers)
            self._folder.save_weights(metrics.epoch, kept)

    def state_dict(self) -> dict[str, Array]:
        """Arrays from which `load_state_dict` goes on; those of now, until `look`."""
        tensors = {f"path.{key}": value for key, value in self._path.items()}
        for name, value in name_parameters(self._previous).items():
            tensors[f"previous.{name}"] = value
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def load_state_dict(self, arrays: Mapping[str, Array]) -> None:
        """Stand where `state_dict` was taken."""
        tensors = {
            name: torch.tensor(array, device=self._training.device)
            for name, array in arrays.items()
            if name.startswith(("path.", "previous."))
        }
        self._path = {
            name.removeprefix("path."): tensor
            for name, tensor in tensors.items()
            if name.startswith("path.")
        }
        self._previous = Weights(
            {
                name: Layer(
                    tensors[f"previous.{name}.w"],
                    tensors[f"previous.{name}.b"],
                    tensors.get(f"previous.{name}.scale"),
                )
                for name in self._spec.network.layer_names
            }
        )

    def _keep(self, current: Weights) -> None:
        """Take these weights as the last that were recorded."""
        if self._training.step == 0:
            return  # they are the initial ones
        if self._previous is self._training.initial:
            self._previous = current.clone()
            return
        kept = name_parameters(self._previous)
        for name, value in name_parameters(current).items():
            kept[name].copy_(value)

    def _measure(self, metrics: EpochMetrics) -> None:
        with_scalars = metrics.epoch in self._recorded
        with_distributions = metrics.epoch in self._distributions
        found = measure(
            self._training.initial,
            self._training.weights,
            mark=self._mark,
            still_inputs=self._still_inputs,
            path=self._path,
            bounds=self._bounds,
            kind=_KINDS[with_scalars, with_distributions],
        )
        scalars = found[[name for name in found if _is_scalar(str(name))]]
        distributions = found.drop_vars(list(scalars.data_vars))
        self._folder.append_measurements(
            metrics.epoch,
            metrics.step,
            scalars if with_scalars else None,
            distributions if with_distributions else None,
        )


def find_still_inputs(dataset: Dataset) -> Array:
    """Inputs that are zero in every training example, [I] bool.

    Their weights in the first layer have a gradient of exactly zero. An input that is
    constant but not zero moves its weights as a bias does.
    """
    lowest, highest = dataset.x_train.min(axis=0), dataset.x_train.max(axis=0)
    as_seen = (lowest / dataset.full_scale - dataset.mean) / dataset.std
    still_I: Array = (lowest == highest) & (as_seen == 0)
    return still_I


def _still_in_patches(still_I: Array, num_channels: int, kernel: int) -> Array:
    """Rows of a first convolution whose channel is zero in all places, [I] bool."""
    still_C = still_I.reshape(num_channels, -1).all(axis=1)
    return still_C.repeat(kernel**2)


def _is_scalar(name: str) -> bool:
    measurement = MEASUREMENTS.get(name.removeprefix("bias_"))
    return measurement is not None and measurement.kind == "scalar"


def _on_host(weights: Weights, only: tuple[str, ...]) -> Weights:
    return Weights(
        {
            name: Layer(
                layer.w.cpu().numpy(),  # type: ignore[arg-type]
                layer.b.cpu().numpy(),  # type: ignore[arg-type]
                None if layer.scale is None else layer.scale.cpu().numpy(),  # type: ignore[arg-type]
            )
            for name, layer in weights.items()
            if not only or name in only
        }
    )
