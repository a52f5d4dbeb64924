"""The check-up on one page: look, send one batch through and back, read, find."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from birthmark.checkup.activation_statistics import ActivationStatistics
from birthmark.checkup.batches import Batch, read_batch
from birthmark.checkup.circuits import read_circuits
from birthmark.checkup.curvature import read_curvature
from birthmark.checkup.evaluation import (
    Objective,
    Problem,
    RefusedBatchError,
    meet_inputs,
)
from birthmark.checkup.findings_of_chains import CHAIN_FINDINGS
from birthmark.checkup.findings_of_circuits import CIRCUIT_FINDINGS
from birthmark.checkup.findings_of_laws import LAW_FINDINGS
from birthmark.checkup.findings_of_loss import LOSS_FINDINGS
from birthmark.checkup.findings_of_optimizer import OPTIMIZER_FINDINGS
from birthmark.checkup.findings_of_signal import SIGNAL_FINDINGS
from birthmark.checkup.findings_of_tensors import TENSOR_FINDINGS
from birthmark.checkup.findings_of_units import UNIT_FINDINGS
from birthmark.checkup.isolation import (
    alias_parameters,
    copy_buffers,
    left_as_it_was,
    refuse_unmaterialized,
)
from birthmark.checkup.keras_models import is_keras, read_keras
from birthmark.checkup.layers import find_layers
from birthmark.checkup.losses import LossFunction
from birthmark.checkup.openings import find_opened
from birthmark.checkup.optimizers import Held, read_optimizer
from birthmark.checkup.outcomes import read_outcome
from birthmark.checkup.passes import Pass, run_pass
from birthmark.checkup.prediction import Signal, predict_backward, predict_forward
from birthmark.checkup.readings import (
    LEVELS,
    CheckUp,
    LayerReading,
    TensorReading,
)
from birthmark.checkup.separation import (
    Geometry,
    distortion,
    neighbour_overlap,
    read_geometry,
)
from birthmark.checkup.signal_graph import find_activations, find_sources
from birthmark.checkup.tensors import read_tensors
from birthmark.errors import SpecError
from birthmark.measurements import clean_name, unwrap
from birthmark.network import INITIALIZATIONS
from birthmark.theory import Activation
from birthmark.wording import say_names

_UNREAD = {
    "recurrent": "no mean-field law for gated steps in time",
    "attention": "no mean-field law for attention",
    "embedding": "rows are looked up: there is no input to predict from",
    "other": "not a kind of layer that theory is known for",
}

# hooks, modes and random streams belong to the whole process while a model is read
_ONE_AT_A_TIME = threading.RLock()


def check(
    model: nn.Module | Any,
    batch: Any,
    *,
    loss: str | LossFunction | None = None,
    objective: Objective | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    expected: Mapping[str, str] | None = None,
    lr: float | None = None,
    deep: bool = False,
) -> CheckUp:
    """Check the initialization of a model on one batch, before the first step.

    The model stays as it is, bit for bit: parameters, gradients, buffers (running
    statistics), mode, and the state of all random streams. It is run in the mode in
    which it is given, and never compiled. Gradients are reduced and freed one tensor at
    a time.

    Args:
        model: Any `torch.nn.Module`; inside `torch.compile` and parallel wrappers the
            module itself is looked at. Of a Keras 3 model weights and loss are read.
        batch: `(x, y)`, `x` alone, several inputs and y, or a mapping of keyword
            arguments whose labels are called `labels`, `target` or `y`. Tensors or
            arrays, examples first, at least two; 64 to 256 are good.
        loss: `cross_entropy`, `nll`, `mean_squared_error`, `binary_cross_entropy`, or
            a function of (outputs, target). By default what the model returns as its
            loss, else what fits the target.
        objective: In the place of a loss: called as `objective(model, batch)` with the
            batch as it is, for models whose loss needs more than outputs and target.
        optimizer: The one that will train; it is not stepped. Its first update is held
            against each tensor, and parameters that it does not have are named.
        expected: Which initialization the tensors should have: patterns of parameter
            names (`"*.weight"`) to names of the library (`"he_normal"`).
        lr: Learning rate, against which `deep` compares the sharpness.
        deep: Also compute the Jacobian's singular values and the sharpness.

    Raises:
        SpecError: A model, batch, loss or expectation that cannot be understood.
        WeightsError: Parameters without numbers (meta device, lazy); the model or the
            loss refuses the batch.
    """
    start = time.perf_counter()
    expected = dict(expected or {})
    _check_names(expected)
    if is_keras(model):
        checkup = replace(read_keras(model), lr=lr, expected=expected)
        return replace(find_findings(checkup), seconds=time.perf_counter() - start)
    if isinstance(model, torch.jit.ScriptModule):
        raise SpecError(
            "a check-up cannot look into a torch.jit.ScriptModule: give the module "
            "from which it was scripted"
        )
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise SpecError(
            f"a check-up needs a torch.nn.Module or a Keras 3 model, got {kind}"
        )
    own = unwrap(model)
    refuse_unmaterialized(own)
    _check_patterns(expected, [clean_name(n) for n, _ in own.named_parameters()])
    batch_read = read_batch(batch, own, is_opaque=objective is not None)
    if objective is not None and loss is not None:
        raise SpecError("give loss=, of (outputs, target), or objective=, not both")
    with _ONE_AT_A_TIME, left_as_it_was(own):
        if objective is not None and not batch_read.has_tensors:
            batch_read = meet_inputs(objective, own, batch_read)
        problem = Problem(own, batch_read, loss, objective)
        checkup = _examine_as_meant(problem, optimizer, deep=deep)
    checkup = replace(checkup, lr=lr, expected=expected)
    return replace(find_findings(checkup), seconds=time.perf_counter() - start)


def _examine_as_meant(
    problem: Problem, optimizer: torch.optim.Optimizer | None, *, deep: bool
) -> CheckUp:
    """With the batch as the model takes it, where it may be meant in several ways."""
    try:
        return _examine(problem, optimizer, deep=deep)
    except RefusedBatchError:
        for other in problem.batch.others:
            with suppress(RefusedBatchError):
                return _examine(replace(problem, batch=other), optimizer, deep=deep)
        raise


def _examine(
    problem: Problem, optimizer: torch.optim.Optimizer | None, *, deep: bool
) -> CheckUp:
    own, batch = problem.model, problem.batch
    held = read_optimizer(own, optimizer)
    seen = run_pass(
        problem, alias_parameters(own), copy_buffers(own), held.update if held else None
    )
    outcome = read_outcome(seen, replace(batch, target=problem.target))
    tensors = read_tensors(own, seen.gradients if seen.steps else None, seen.roles)
    tensors = tuple(_placed(reading, seen, held) for reading in tensors)
    opened = find_opened(problem, tensors)
    curvature = read_curvature(problem) if deep else None
    return CheckUp(
        model=type(own).__name__,
        num_parameters=sum(p.numel() for p in own.parameters()),
        num_examples=len(batch),
        training=own.training,
        layers=_read_layers(seen, _geometry(batch)),
        tensors=tuple(replace(t, opens=t.name in opened) for t in tensors),
        outcome=outcome,
        curvature=curvature,
        circuits=read_circuits(own, seen),
        has_optimizer=held is not None,
        unread=(
            *seen.unread,
            *_not_read(tensors),
            *_not_called(own, seen),
            *(held.unread if held else ()),
            *(curvature.unread if curvature else ()),
        ),
    )


def _placed(reading: TensorReading, seen: Pass, held: Held | None) -> TensorReading:
    """With what the trace and the optimizer say of the tensor."""
    name = next((n for n in seen.trace.leaves if clean_name(n) == reading.name), "")
    gradient = seen.gradients.get(name)
    return replace(
        reading,
        is_used=seen.roles.is_used(name) if seen.trace.graph.nodes else None,
        first_use=seen.roles.first_use(name),
        is_upstream=name in seen.upstream_tensors,
        is_output=name in seen.output_tensors,
        is_inside=name in seen.inner_tensors,
        is_moot=name in seen.moot_tensors,
        update=None if gradient is None else gradient.step,
        is_optimized=None if held is None else name in held.names,
    )


def _not_read(tensors: tuple[TensorReading, ...]) -> tuple[str, ...]:
    """Parameters of which neither the trace nor the class says what they are for."""
    names = [t.name for t in tensors if t.role == "other" and t.size > 1]
    sparse = [t.name for t in tensors if t.trainable and not t.is_followed]
    lines = []
    if names:
        told = "no operation of the forward pass told it"
        lines.append(f"role of {say_names(names)}: {told}")
    if sparse:
        lines.append(f"gradient of {say_names(sparse)}: a sparse parameter")
    return tuple(lines)


def find_findings(checkup: CheckUp) -> CheckUp:
    """The check-up with its findings, the gravest first."""
    for state in (
        *LAW_FINDINGS,
        *TENSOR_FINDINGS,
        *OPTIMIZER_FINDINGS,
        *CIRCUIT_FINDINGS,
        *CHAIN_FINDINGS,
        *SIGNAL_FINDINGS,
        *UNIT_FINDINGS,
        *LOSS_FINDINGS,
    ):
        found = tuple(state(checkup))
        checkup = replace(checkup, findings=(*checkup.findings, *found))
    ordered = sorted(checkup.findings, key=lambda f: -LEVELS.index(f.level))
    return replace(checkup, findings=tuple(ordered))


def _check_names(expected: Mapping[str, str]) -> None:
    families = {"uniform", "normal", "truncated_normal", "sparse", "identity"}
    for name in expected.values():
        known = {*INITIALIZATIONS, *families}
        if name.removesuffix(" (fan_out)") not in known:
            raise SpecError(
                f"expected: unknown initialization {name!r}; known: "
                + ", ".join(sorted(known))
            )


def _check_patterns(expected: Mapping[str, str], names: list[str]) -> None:
    for pattern in expected:
        if not any(fnmatch.fnmatch(name, pattern) for name in names):
            raise SpecError(
                f"expected: no parameter is named {pattern!r}; there are "
                + ", ".join(names[:5])
            )


def _geometry(batch: Batch) -> Geometry | None:
    """Of the inputs themselves; None for whole numbers, whose sizes say nothing."""
    x = batch.inputs
    return read_geometry(x) if x.is_floating_point() else None


def _not_called(model: nn.Module, seen: Pass) -> tuple[str, ...]:
    """Layers that multiply, and whose products have no row of their own either."""
    rows = {*seen.layers}
    missing = []
    for name, module in find_layers(model):
        inside = [f"{name}.{key}".lstrip(".") for key, _ in module.named_parameters()]
        own = [one for one in inside if one in seen.trace.leaves]  # tied ones: once
        matrices = [one for one in own if seen.roles.role(one) == "weight"]
        if matrices and name not in rows and not rows.intersection(matrices):
            missing.append(clean_name(name))
    if not missing:
        return ()
    return (f"signal of {', '.join(missing[:5])}: not called as a module",)


def _read_layers(seen: Pass, inputs: Geometry | None) -> tuple[LayerReading, ...]:
    transfers = {
        name: transfer
        for name, layer in seen.layers.items()
        if (transfer := layer.transfer) is not None
    }
    signals = predict_forward(seen.steps, transfers, seen.leaf_moments)
    forward = {
        step.layer: signals[node]
        for node, step in seen.steps.items()
        if step.layer and node in signals
    }
    moments = {name: layer.moment for name, layer in seen.layers.items()}
    backward = predict_backward(seen.steps, transfers, moments, signals)
    activations = find_activations(seen.steps)
    nodes = {name: layer.input_node for name, layer in seen.layers.items()}
    sources = find_sources(nodes, seen.steps)
    normed = {
        sources[name]
        for name, layer in seen.layers.items()
        if layer.role == "norm" and name in sources
    }
    readings = []
    for name, layer in seen.layers.items():
        inputs = inputs or layer.geometry  # tokens: the first layer with floats
        readings.append(
            _read_layer(
                layer,
                forward.get(name),
                backward.get(name),
                activations.get(name),
                clean_name(sources.get(name, "")),
                inputs,
                followed_by_norm=name in normed,
            )
        )
    return tuple(readings)


def _read_layer(
    layer: ActivationStatistics,
    signal: Signal | None,
    energy: float | None,
    activation: Activation | None,
    source: str,
    inputs: Geometry | None,
    *,
    followed_by_norm: bool,
) -> LayerReading:
    size = max(1, torch.Size(layer.shape).numel())
    rectified = activation is not None and activation.is_rectifier
    beyond = {"tanh": layer.beyond_tanh, "sigmoid": layer.beyond_sigmoid}
    here = layer.geometry
    return LayerReading(
        name=clean_name(layer.name),
        kind=layer.kind,
        role=layer.role,
        shape=layer.shape,
        num_units=layer.num_units,
        input=layer.input_moment,
        forward=layer.moment,
        forward_predicted=signal.moment if signal else None,
        backward=None if layer.energy is None else layer.energy / size,
        backward_predicted=None if energy is None else energy / size,
        correlation=here.cosine if here else None,
        correlation_predicted=signal.correlation if signal else None,
        distortion=distortion(inputs, here) if inputs and here else None,
        neighbours=neighbour_overlap(inputs, here) if inputs and here else None,
        activation=activation.name if activation else "",
        dead=layer.silent if rectified else None,
        dead_expected=layer.silent_fresh if rectified else None,
        half_dead=layer.seldom if rectified else None,
        saturated=beyond.get(activation.name) if activation else None,
        zero_gradient=layer.without_gradient,
        source=source,
        nonfinite=layer.nonfinite,
        followed_by_norm=followed_by_norm,
        unread="" if signal else _UNREAD.get(layer.role, "its input has no known law"),
    )
