"""A user's model trained from one initialization, recorded, and gone on with.

Its run is no spec's, since a spec names no function: it is stored under a description
of its own, with the sources of the user's functions and the start that came of them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from birthmark.errors import SpecError
from birthmark.measurements import fingerprint, to_parameters, weight_beside
from birthmark.shapes import Dataset, EpochMetrics, Parameters, StepMetrics
from birthmark.spec import RuleSpec, RunSpec
from birthmark.store import RunDescription, RunFolder, Store, open_store
from birthmark.sweeps.interrupts import Interrupt, Stopped, deferred_interrupts
from birthmark.sweeps.models import Factory, Initialize, build_models, choose_path
from birthmark.sweeps.own_parts import (
    OwnData,
    OwnExamples,
    OwnParts,
    hash_source,
    name_function,
)
from birthmark.sweeps.provenance import describe_software
from birthmark.sweeps.stacks import on_threads
from birthmark.tracking import Listed, Recorder
from birthmark.training import (
    DrawnOrder,
    Training,
    TrainingPath,
    check_precision,
    choose_products,
    describe_device,
    find_device,
    load_examples,
)

KIND = "compared"
CHECKPOINT_SECONDS = 60.0  # that a kill may cost at most
_LOOK = 64  # steps between two looks at the clock and at signals
_METRICS = (
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "below_eps",
    "saturated",
    "abandoned",
    "nonfinite_step",
)
# of a variable that `by_layer` leaves to the weights
_UNITS = {"long_name": "units", "units": "count", "tensors": "weights"}


def train_models(
    factory: Factory,
    rule: RuleSpec | Initialize,
    spec: RunSpec,
    dataset: Dataset | OwnData,
    *,
    shape: str = "auto",
    own: OwnParts | None = None,
    store: Store | None = None,
    watch: Callable[[EpochMetrics], None] | None = None,
) -> xr.Dataset:
    """Train replicas of a model from one initialization; records as of a run.

    Replicas are one stack where the model allows it. Those with buffers (BatchNorm) or
    with noise (dropout), and those with a loss or optimizer of the user's own, are
    trained one by one in plain torch, with the same batches.

    Args:
        factory: Makes a model; called once a replica.
        rule: How its weights start: a rule, `as_built` for what the factory made, or a
            function that is called with the model.
        spec: Data, training, replicas, seed, recorded epochs and the rule of the
            biases; the rest of it does not count.
        dataset: As `load_dataset(spec.data)` gives it, or the user's own.
        shape: `flat`, `image`, or `auto`: what the first layer takes.
        own: Loss and optimizer in the place of the spec's.
        store: Keeps the run: what is done is not trained again, and what was stopped
            or killed goes on.
        watch: Called at the end of each epoch.

    Returns:
        Losses and accuracies by epoch; the scalars of `measure` by layer, for weights
        with two axes or more and their biases (gains of norms are left out); the
        attribute `how` says whether the replicas were a stack, `run_key` the name of
        the run in the store.

    Raises:
        SpecError: The spec has a mark, the factory makes no module or one that does not
            take the data, or a rule does not fit.
        Stopped: It was stopped, and saved, if there is a store.
    """
    own = own or OwnParts()
    modules, example_shape = build_models(
        factory, rule, spec, dataset, shape=shape, own_loss=own.loss is not None
    )
    check_precision(spec)
    device = find_device(spec.run.device)
    modules = [module.to(device) for module in modules]
    path = choose_path(spec, modules, example_shape, dataset, own)
    training = Training(
        spec,
        path,
        *_load(spec, dataset, device),
        DrawnOrder(spec, range(len(modules)), len(dataset.y_train), device),
        products=choose_products(spec),
    )
    layers = _find_layers(modules[0])
    with tempfile.TemporaryDirectory(prefix="birthmark-") as folder:
        kept = open_store(folder, create=True) if store is None else store
        start = fingerprint(_values_of(layers, path))
        what = _describe(factory, rule, spec, shape, own, start)
        if not kept.is_done(what.run_key):
            with deferred_interrupts() as interrupt:
                begun = kept.start_run(what)
                with begun.closed_on_failure():
                    if not begun.is_done:  # by another process, or only its mark lost
                        run = _ModelRun(begun, training, path, layers, dataset)
                        run.carry_out(interrupt, watch)
        records = kept.records(what.run_key, distributions=False).load()
    frozen = records.nonfinite_step.isel(step=-1, drop=True).astype(int)
    return records.assign(nonfinite_step=frozen)


class _ModelRun:
    """The replicas of one model from wherever they stand, and the folder of the run."""

    def __init__(
        self,
        folder: RunFolder,
        training: Training,
        path: TrainingPath,
        layers: Parameters,
        dataset: Dataset | OwnData,
    ) -> None:
        self._folder, self._training, self._path = folder, training, path
        self._layers, self._facts = layers, _say_facts(training, dataset)
        steps = training.steps_per_epoch
        due = {0, *(epoch * steps for epoch in training.spec.recorded_epochs)}
        initial = _values_of(layers, path).clone()
        self._recorder = Recorder(folder, initial, Listed(due))
        self._units = [one.num_units for one in initial.values()]

    def carry_out(
        self, interrupt: Interrupt, watch: Callable[[EpochMetrics], None] | None
    ) -> None:
        """Go on to the end; what a kill costs is a minute at most."""
        arrays, facts = self._folder.load_checkpoint() or ({}, {})
        with on_threads(facts.get("threads")):
            if arrays:
                self._recorder.load_state_dict(arrays)
                self._training.load_state_dict(arrays, facts)
            else:
                self._folder.save_manifest(self._facts)
                self._record(self._training.metrics_at_start())
            self._train(interrupt, watch)
        self._folder.finish(self._facts)

    def _train(
        self, interrupt: Interrupt, watch: Callable[[EpochMetrics], None] | None
    ) -> None:
        saved = time.monotonic()
        while self._training.epoch < self._training.spec.training.epochs:
            metrics = self._training.advance(_LOOK)
            if metrics is not None:
                self._record(metrics)
                if watch is not None:
                    watch(metrics)
            if interrupt.came or time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save()
                saved = time.monotonic()
            if interrupt.came:
                self._folder.stop()
                raise Stopped

    def _record(self, metrics: EpochMetrics) -> None:
        values = {name: getattr(metrics, name) for name in _METRICS}
        if np.isnan(metrics.test_accuracy).all() and metrics.nonfinite_step.min() < 0:
            values["train_accuracy"] = metrics.test_accuracy  # there are no classes
        noted = StepMetrics(metrics.step, values, metrics.epoch)
        found = self._recorder.measure(
            metrics.step,
            _values_of(self._layers, self._path),
            is_start=metrics.step == 0,
        )
        if found is not None:
            found = found.assign(num_units=("parameter", self._units, _UNITS))
        self._recorder.store(noted, found)

    def _save(self) -> None:
        arrays, position = self._training.state_dict()
        arrays |= self._recorder.state_dict()
        facts = {**position, "threads": torch.get_num_threads()}
        self._folder.save_checkpoint(arrays, facts)


def _load(spec: RunSpec, dataset: Dataset | OwnData, device: str) -> tuple[Any, Any]:
    """Training and test set, as the path gathers from them."""
    if isinstance(dataset, Dataset):
        return load_examples(spec, dataset, device)
    dtype = getattr(torch, spec.run.dtype)
    train, test = (
        OwnExamples(x, y, dtype, device)
        for x, y in (
            (dataset.x_train, dataset.y_train),
            (dataset.x_test, dataset.y_test),
        )
    )
    return train, test


def _describe(
    factory: Factory,
    rule: RuleSpec | Initialize,
    spec: RunSpec,
    shape: str,
    own: OwnParts,
    start: str,
) -> RunDescription:
    """The run as a store names it."""
    fields = spec.model_dump(mode="json", exclude={"network", "mark", "initialization"})
    functions: dict[str, Callable[..., Any] | None] = {
        "loss": own.loss,
        "optimizer": own.optimizer,
    }
    named = {key: one for key, one in functions.items() if one is not None}
    fields["training"] |= {key: name_function(one) for key, one in named.items()}
    if isinstance(rule, RuleSpec):
        drawn = {**rule.model_dump(mode="json"), "bias": spec.initialization.bias.name}
    else:
        drawn, named["initialization"] = {"name": name_function(rule)}, rule
    sources = {
        key: hash_source(one) for key, one in {**named, "model": factory}.items()
    }
    fields |= {"initialization": drawn, "source": sources, "shape": shape}
    if own.data is not None:
        fields["data"]["checksum"] = own.data.checksum
    replicas = tuple(range(spec.run.replicas))
    return RunDescription(KIND, name_function(factory), fields, replicas, start)


def _say_facts(training: Training, dataset: Dataset | OwnData) -> dict[str, Any]:
    """What the manifest says: how it was trained, and what analysis must know."""
    facts: dict[str, Any] = {
        **describe_software(),
        "device": describe_device(training.device),
        "how": training.path_name,
        "products": training.products,
        "steps_per_epoch": training.steps_per_epoch,
        "num_classes": dataset.num_classes,
        "data": {
            "num_train": len(dataset.y_train),
            "num_test": len(dataset.y_test),
            "checksum": dataset.checksum,
        },
    }
    if dataset.num_classes:
        largest = np.bincount(np.asarray(dataset.y_train)).max()
        facts["largest_class_share"] = float(largest) / len(dataset.y_train)
    return facts


def _find_layers(module: nn.Module) -> Parameters:
    """Its weights with two axes or more and the biases beside them, in its order."""
    every = to_parameters(module)
    weights = {name for name, one in every.items() if len(one.shape) > 1}
    if not weights:
        raise SpecError("the model has no weights with two axes: nothing to initialize")
    chosen = {
        name: one
        for name, one in every.items()
        if name in weights or weight_beside(name, every) in weights
    }
    return Parameters(chosen)


def _values_of(layers: Parameters, path: TrainingPath) -> Parameters:
    """The same tensors of all replicas, as the path has them now."""
    return Parameters(
        {
            name: replace(one, values=path.parameters[name])
            for name, one in layers.items()
        }
    )
