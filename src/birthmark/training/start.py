"""Training and initial configurations straight from a spec."""

from collections.abc import Iterator

import torch

from birthmark.data import check_dataset, describe_dataset, load_dataset
from birthmark.extensions import load_extensions
from birthmark.network import batch_examples, draw_weights, find_laws, find_mark
from birthmark.shapes import Dataset, Snapshot, Weights
from birthmark.spec import RunSpec
from birthmark.training.devices import find_device
from birthmark.training.engine import Training
from birthmark.training.examples import first_examples
from birthmark.training.losses import find_loss
from birthmark.training.memory import choose_num_parts
from birthmark.training.products import check_precision


def check_spec(spec: RunSpec) -> None:
    """Refuse what no room has, before any work: names, layers' marks, the device.

    Raises:
        SpecError: An unknown name or a parameter that does not fit.
        HardwareError: The device or the precision is not to be had.
    """
    load_extensions()
    check_dataset(spec.data)
    facts = describe_dataset(spec.data)
    find_loss(spec.training.loss)
    last = spec.run.replicas - 1  # the first that a file of too few would not have
    sizes = {"num_inputs": facts.num_inputs, "num_classes": facts.num_classes}
    find_laws(spec, **sizes, num_channels=facts.num_channels, replica=last)
    find_mark(spec, **sizes, num_channels=facts.num_channels)
    find_device(spec.run.device)
    check_precision(spec)


def initial_configuration(spec: RunSpec) -> Weights:
    """The weights and biases with which a run starts, mark included.

    `weights["hidden1"].w` has the shape [R, I, O], `.b` [R, O]. The data themselves
    are read only for rules that look at them, as `lsuv`.
    """
    check_spec(spec)
    facts, batch = describe_dataset(spec.data), None
    if count := batch_examples(spec):
        dtype = getattr(torch, spec.run.dtype)
        batch = first_examples(load_dataset(spec.data), count, dtype)
    return draw_weights(
        spec,
        facts.num_inputs,
        facts.num_classes,
        replicas=range(spec.run.replicas),
        image_shape=facts.example_shape,
        device=find_device(spec.run.device),
        batch=batch,
    )


def train(spec: RunSpec, dataset: Dataset | None = None) -> Iterator[Snapshot]:
    """Train the replicas of a run and yield a snapshot at each recorded epoch.

    Args:
        spec: What to train; `spec.record` says when a snapshot is yielded.
        dataset: Data to use instead of those that `spec.data` names.
    """
    check_spec(spec)
    choose_num_parts(spec, dataset=dataset)  # refused before the data are read
    training = Training.from_spec(spec, dataset or load_dataset(spec.data))
    recorded = set(spec.recorded_epochs)
    history = [training.metrics_at_start()]
    while True:
        if training.epoch in recorded:
            yield Snapshot(training.weights.clone(), history[-1], tuple(history))
            history = []
        if training.epoch == spec.training.epochs:
            return
        history.append(training.run_epoch())
