"""A run as it is carried out: its training, what is looked at, where it is stored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from birthmark.network import find_bounds, find_mark
from birthmark.shapes import Array, Dataset, EpochMetrics, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import RunFolder, flatten
from birthmark.sweeps.provenance import describe_origin
from birthmark.sweeps.throughput import Progress, Throughput
from birthmark.tracking import Listed, Recorder
from birthmark.training import Training, describe_device, find_device

# what the last bits of a run may depend on, as its manifest names it
_MEANS = ("device", "versions", "commit", "path", "products", "threads", "num_parts")


class Stack:
    """The replicas of a run, from wherever they stand.

    What it is asked for belongs inside `entered`.

    Attributes:
        run_key: Of the run.
        device_stream: Where its work is queued.
        throughput: How quickly it goes on.
        saved: When, by the monotonic clock, the last checkpoint was written.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: Dataset,
        folder: RunFolder,
        notes: Mapping[str, Any],
        how: Mapping[str, Any],
    ) -> None:
        """Draw the initial configurations, or load the checkpoint.

        Args:
            spec: What to carry out.
            dataset: Its data.
            folder: Where to; closed if this fails.
            notes: What the manifest is to say besides where the run comes from.
            how: Path, products and threads of a run that has not begun.
        """
        self._started = self.saved = time.monotonic()
        self._last: EpochMetrics | None = None
        self.run_key, self._folder = spec.run_key, folder
        with folder.closed_on_failure():
            self._begin(spec, dataset, notes, how)

    def _begin(
        self,
        spec: RunSpec,
        dataset: Dataset,
        notes: Mapping[str, Any],
        how: Mapping[str, Any],
    ) -> None:
        before = self._folder.load_manifest()
        arrays, facts = self._folder.load_checkpoint() or ({}, {})
        if not arrays:  # as it began, if it was killed before its first checkpoint
            device = describe_device(find_device(spec.run.device))
            facts = dict(before if before.get("device") == device else how)
        self._num_threads = facts.get("threads", torch.get_num_threads())
        self._seconds_before = float(facts.get("seconds", 0.0))
        with on_threads(self._num_threads):
            # other ways to make steps and to split sums would change the last bits
            how = {k: facts[k] for k in ("path", "products", "num_parts") if k in facts}
            self._training = Training.from_spec(spec, dataset, **how)
            self.device_stream = self._training.device_stream
            with self.device_stream.apart():
                self._observer = Observer(spec, self._training, dataset, self._folder)
                self._manifest = {**describe_origin(self._training, dataset), **notes}
                if arrays:
                    per_epoch = self._training.steps_per_epoch
                    step = facts["epoch"] * per_epoch + facts["batch"]
                    was = {**facts, **before}
                    self._manifest |= _describe_changes(was, self._manifest, step)
                self._folder.save_manifest(self._manifest)
                if arrays:
                    self._observer.load_state_dict(arrays)
                    self._training.load_state_dict(arrays, facts)
                else:
                    self._observer.look(self._training.metrics_at_start())
        self.throughput = Throughput(self._training, spec.run.replicas)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """On its stream, with as many threads as its bits may depend on."""
        with on_threads(self._num_threads), self.device_stream.apart():
            yield

    @property
    def is_done(self) -> bool:
        """Whether all steps are made."""
        return self._training.epoch == self._training.spec.training.epochs

    def advance(self, max_steps: int) -> None:
        """Make up to so many steps, and record the epoch if it ends."""
        metrics = self._training.advance(max_steps)
        if metrics is not None:
            self._observer.look(metrics)
            self._last = metrics

    def save(self) -> None:
        """Write a checkpoint: all that is needed to go on."""
        self.saved = time.monotonic()
        training = self._training
        arrays, position = training.state_dict()
        facts = {
            **position,
            "seconds": self._seconds_before + self.saved - self._started,
            "threads": torch.get_num_threads(),
            "path": training.path_name,
            "products": training.products,
            "num_parts": training.num_parts,
        }
        self._folder.save_checkpoint({**arrays, **self._observer.state_dict()}, facts)

    def stop(self) -> None:
        """Leave on purpose, after `save`."""
        self._folder.stop()

    def close(self) -> None:
        """Let another writer have the run if it is not done."""
        self._folder.close()

    def finish(self) -> None:
        """Declare the run done."""
        seconds = self._seconds_before + time.monotonic() - self._started
        self._folder.finish({**self._manifest, "wall_time_s": round(seconds, 3)})

    def progress(self) -> Progress:
        """Where it stands, and how quickly it goes on."""
        return self.throughput.progress(self._last)


def _describe_changes(
    before: Mapping[str, Any], now: Mapping[str, Any], step: int
) -> dict[str, Any]:
    """What a manifest says of a run that went on by other means than it began with.

    From that step on its last bits may be others than those of one never stopped.
    """
    said, is_now = list(before.get("went_on", [])), flatten(now)
    changes = [
        f"{name} {value} -> {is_now.get(name)}"
        for name, value in flatten(before).items()
        if name.partition(".")[0] in _MEANS and value != is_now.get(name)
    ]
    if changes:
        said.append(f"at step {step}: {', '.join(changes)}")
    return {"went_on": said} if said else {}


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """With so many threads, on which the last bits may depend; None: as many as now."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
