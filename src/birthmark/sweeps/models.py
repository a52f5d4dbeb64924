"""A user's model from one initialization, trained with the batches of a run.

Nothing is stored: a run key names a spec, and a spec cannot name a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from birthmark.checkup import take_batch
from birthmark.errors import BirthmarkError, SpecError
from birthmark.measurements import to_parameters, weight_beside
from birthmark.network import initialize_, stack_modules
from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset, EpochMetrics, Parameters
from birthmark.spec import RuleSpec, RunSpec
from birthmark.store import by_layer
from birthmark.sweeps.one_by_one import OneByOnePath
from birthmark.tracking import Listed, Recorder
from birthmark.training import (
    DrawnOrder,
    GeneralPath,
    Training,
    TrainingPath,
    check_precision,
    choose_products,
    find_device,
    load_examples,
)

AS_BUILT = "as_built"  # the rule that leaves the factory's own initialization
_METRICS = (
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "below_eps",
    "saturated",
    "abandoned",
)
_BATCH = 256  # examples for rules that look at a batch
# of a variable that `by_layer` leaves to the weights
_UNITS = {"long_name": "units", "units": "count", "tensors": "weights"}

Factory = Callable[[], nn.Module]


def train_models(
    factory: Factory,
    rule: RuleSpec,
    spec: RunSpec,
    dataset: Dataset,
    *,
    shape: str = "auto",
    watch: Callable[[EpochMetrics], None] | None = None,
) -> xr.Dataset:
    """Train replicas of a model from one initialization; records as of a run.

    Replicas are one stack where the model allows it. Those with buffers (BatchNorm) or
    with noise (dropout) are trained one by one in plain torch, with the same batches.

    Args:
        factory: Makes a model; called once a replica.
        rule: How its weights start; `as_built` leaves what the factory made.
        spec: Data, training, replicas, seed, recorded epochs and the rule of the
            biases; the rest of it does not count.
        dataset: As `load_dataset(spec.data)` gives it.
        shape: `flat`, `image`, or `auto`: what the first layer takes.
        watch: Called at the end of each epoch.

    Returns:
        Losses and accuracies by epoch; the scalars of `measure` by layer, for weights
        with two axes or more and their biases (gains of norms are left out); the
        attribute `how` says whether the replicas were a stack.

    Raises:
        SpecError: The spec has a mark, the factory makes no module or one that does not
            take the data, or a rule does not fit.
    """
    modules, example_shape = build_models(factory, rule, spec, dataset, shape=shape)
    check_precision(spec)
    device = find_device(spec.run.device)
    modules = [m.to(device, getattr(torch, spec.run.dtype)) for m in modules]
    path = _choose_path(spec, modules, example_shape)
    training = Training(
        spec,
        path,
        *load_examples(spec, dataset, device),
        DrawnOrder(spec, range(len(modules)), len(dataset.y_train), device),
        products=choose_products(spec),
    )
    layers = _find_layers(modules[0])
    initial = _values_of(layers, path).clone()
    recorder = Recorder(None, initial, Listed({0, *spec.recorded_epochs}))
    history, measured = [training.metrics_at_start()], {}
    for epoch in range(spec.training.epochs + 1):
        if epoch:
            history.append(training.run_epoch())
        current = _values_of(layers, path) if epoch else initial
        found = recorder.measure(epoch, current, is_start=epoch == 0)
        if found is not None:
            measured[history[-1].step] = found
        if epoch and watch is not None:
            watch(history[-1])
    records = _join(history, measured, initial)
    largest = np.bincount(dataset.y_train).max() / len(dataset.y_train)
    return records.assign_attrs(
        num_classes=dataset.num_classes,
        largest_class_share=float(largest),
        how=path.name,
        **{
            "data.num_train": len(dataset.y_train),
            "data.num_test": len(dataset.y_test),
            "data.checksum": dataset.checksum,
        },
    )


def build_models(
    factory: Factory,
    rule: RuleSpec,
    spec: RunSpec,
    dataset: Dataset,
    *,
    shape: str = "auto",
) -> tuple[list[nn.Module], tuple[int, ...]]:
    """The replicas as they start, and the shape of one example as they take it.

    What the factory itself draws, and what the rule leaves alone, comes from a stream
    of each (seed, replica), so that all rules share it.

    Raises:
        SpecError: See `train_models`.
    """
    if spec.mark is not None:
        raise SpecError("mark: only the built-in networks can be marked; leave it out")
    modules = []
    for replica in range(spec.run.replicas):
        draws = stream(spec.run.seed, replica, "initial", "factory")
        with torch.random.fork_rng():
            torch.manual_seed(int(draws.integers(2**63)))
            module = factory()
        if not isinstance(module, nn.Module):
            raise SpecError(
                f"the factory must make a torch module, it made {type(module).__name__}"
            )
        x, y = take_batch(dataset, module, examples=_BATCH, shape=shape)
        if rule.name != AS_BUILT:
            initialize_(
                module,
                rule,
                seed=spec.run.seed,
                replica=replica,
                bias=spec.initialization.bias,
                batch=(torch.from_numpy(x), torch.from_numpy(y)),
            )
        if replica == 0:
            _check_outputs(module, x[:2], dataset.num_classes)
        modules.append(module)
    return modules, x.shape[1:]


def _check_outputs(module: nn.Module, x: Array, num_classes: int) -> None:
    """Refuse a model that does not take the examples, or has no output a class."""
    first = next(module.parameters(), torch.empty(0))
    inputs = torch.from_numpy(x).to(first.device, first.dtype)
    module.eval()
    try:
        with torch.no_grad():
            outputs = module(inputs)
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise SpecError(
            f"the model does not take examples of shape {x.shape[1:]} ({reason}): mend "
            "it, or say shape='flat' or 'image'"
        ) from error
    module.train()
    shape = tuple(getattr(outputs, "shape", ()))
    if len(shape) != 2 or shape[1] < num_classes:
        raise SpecError(
            f"the model gives {shape} for 2 examples; it must give one number for each "
            f"of the {num_classes} classes: (2, {num_classes})"
        )


def _choose_path(
    spec: RunSpec, modules: Sequence[nn.Module], shape: tuple[int, ...]
) -> TrainingPath:
    """A stack, if two examples go through it."""
    try:
        parameters, forward = stack_modules(modules)

        def shaped(one: Mapping[str, Tensor], x_BI: Tensor) -> Tensor:
            return forward(one, x_BI.reshape(len(x_BI), *shape))

        path = GeneralPath(spec, parameters, shaped)
        first = next(iter(parameters.values()))
        x_BI = torch.zeros(2, int(np.prod(shape)), dtype=first.dtype)
        y_RB = torch.zeros(len(modules), 2, dtype=torch.int64)
        path.differentiate(x_BI.to(first.device), y_RB.to(first.device))
    except (BirthmarkError, RuntimeError):
        return OneByOnePath(spec, modules, shape)
    return path


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


def _join(
    history: Sequence[EpochMetrics],
    measured: Mapping[int, xr.Dataset],
    initial: Parameters,
) -> xr.Dataset:
    """Metrics of each epoch and measurements of the recorded ones, by layer."""
    steps = [one.step for one in history]
    by_step = xr.concat(list(measured.values()), dim="step")
    units = ("parameter", [one.num_units for one in initial.values()], _UNITS)
    scalars = by_layer(by_step.assign(num_units=units)).assign_coords(
        step=list(measured)
    )
    metrics = {
        name: (("step", "replica"), np.array([getattr(one, name) for one in history]))
        for name in _METRICS
    }
    return xr.merge(
        [
            scalars.reindex(step=steps),
            xr.Dataset(
                {
                    **metrics,
                    "nonfinite_step": ("replica", history[-1].nonfinite_step),
                },
                coords={
                    "step": steps,
                    "epoch": ("step", [one.epoch for one in history]),
                },
            ),
        ],
        combine_attrs="drop_conflicts",
    )
