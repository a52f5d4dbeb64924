"""What is looked at during a run of a spec: the recorder, told by the spec when."""

from __future__ import annotations

from collections.abc import Mapping

from birthmark.network import find_bounds, find_mark
from birthmark.shapes import Array, Dataset, EpochMetrics, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import RunFolder
from birthmark.tracking import Listed, Recorder
from birthmark.training import Training


class Observer:
    """Records a training where its spec says so, and keeps weights where it says so."""

    def __init__(
        self, spec: RunSpec, training: Training, dataset: Dataset, folder: RunFolder
    ) -> None:
        self._spec, self._training, self._folder = spec, training, folder
        sizes = (dataset.num_inputs, dataset.num_classes)
        colours = dataset.num_channels
        still_I = find_still_inputs(dataset)
        if spec.network.is_convolutional:
            still_I = _still_in_patches(still_I, colours, spec.network.kernel)
        facts = {
            "mark": find_mark(spec, *sizes, num_channels=colours),
            "bounds": find_bounds(spec, *sizes, num_channels=colours),
            "still_inputs": still_I,
        }
        self._when = Listed(set(spec.recorded_epochs), set(spec.distribution_epochs))
        self._kept = set(spec.weights_epochs)
        self._recorder = Recorder(folder, training.initial, self._when, facts)

    def look(self, metrics: EpochMetrics) -> None:
        """Record the epoch that has just ended (or epoch 0, before the first step)."""
        keeps = metrics.epoch in self._kept
        if self._when.due(metrics.epoch) is None and not keeps:
            self._recorder.store(metrics, None)
            return
        weights = self._training.weights
        self._recorder.record(metrics, weights)
        if keeps:
            kept = _on_host(weights, self._spec.record.weights_layers)
            self._folder.save_weights(metrics.epoch, kept)

    def state_dict(self) -> dict[str, Array]:
        """Arrays from which `load_state_dict` goes on; those of now, until `look`."""
        return self._recorder.state_dict()

    def load_state_dict(self, arrays: Mapping[str, Array]) -> None:
        """Stand where `state_dict` was taken."""
        self._recorder.load_state_dict(arrays)


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
