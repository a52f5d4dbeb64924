"""What the host asks of a device, counted on one whose values only transfers show."""

import dataclasses

import numpy as np
import pytest

from birthmark.data import load_dataset
from birthmark.measurements import extend_path, measure
from birthmark.network import find_bounds, find_mark
from birthmark.shapes import Layer, Weights
from birthmark.spec import RunSpec
from birthmark.training import (
    DrawnOrder,
    Training,
    choose_path,
    initial_configuration,
    load_examples,
)
from far_device import FAR, FarDevice

SPEC = RunSpec(
    data={"name": "digits", "examples_per_class": 20},
    network={"widths": [12, 9]},
    training={"epochs": 3, "batch_size": 32},
    run={"replicas": 3},
    mark={"text": "a"},
    record={"evaluate_train": True, "epochs": [1, 2, 3]},
)


def far_away(weights):
    layers = {n: Layer(x.w.to(FAR), x.b.to(FAR)) for n, x in weights.items()}
    return Weights(layers)


def bring_back(weights):
    return Weights({n: Layer(x.w.cpu(), x.b.cpu()) for n, x in weights.items()})


def trained_far_away(device, spec, path):
    """A training all of whose parts are on the far device."""
    data = load_dataset(spec.data)
    initial = initial_configuration(spec)
    with device:
        far = far_away(initial)
        return Training(
            spec,
            choose_path(spec, far, FAR.type, path),
            *load_examples(spec, data, FAR.type),
            DrawnOrder(spec, range(3), len(data.y_train), FAR.type),
            initial=far,
        )


@pytest.mark.parametrize("evaluate_train", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_epoch_comes_over_in_one_transfer(dtype, evaluate_train):
    settings = {"run.dtype": dtype, "record.evaluate_train": evaluate_train}
    spec = SPEC.with_settings(settings)
    device = FarDevice()
    far = trained_far_away(device, spec, "graphed")
    near = Training.from_spec(
        spec, load_dataset(spec.data), path="graphed", products="highest"
    )
    fetched = []
    with device:
        device.forget()
        found = [far.metrics_at_start()]
        fetched.append(device.fetched)
        for _ in range(3):
            device.forget()
            found.append(far.run_epoch())
            fetched.append(device.fetched)
    assert fetched == [1, 1, 1, 1]
    assert device.waits == []
    expected = [near.metrics_at_start(), *(near.run_epoch() for _ in range(3))]
    for one, other in zip(found, expected, strict=True):
        for name, value in dataclasses.asdict(other).items():
            np.testing.assert_array_equal(getattr(one, name), value, err_msg=name)
    assert found[-1].train_accuracy_evaluated[0] > 0.3 or not evaluate_train


def test_steps_of_the_fast_path_ask_once_each_and_their_epoch_once():
    device = FarDevice()
    training = trained_far_away(device, SPEC, "fast")
    with device:
        device.forget()
        training.run_epoch()
    # whether a loss is finite, and before the first step who is frozen
    assert device.fetched == training.steps_per_epoch + 1


@pytest.mark.parametrize(
    ("kind", "waits"),
    [("scalars", set()), ("distributions", {"bincount", "_linalg_eigh"})],
)
def test_a_recorded_step_comes_over_in_one_transfer(kind, waits):
    device = FarDevice()
    training = trained_far_away(device, SPEC, "graphed")
    facts = {
        "mark": find_mark(SPEC, 64, 10),
        "bounds": find_bounds(SPEC, 64, 10),
        "still_inputs": np.zeros(64, dtype=bool),
        "kind": kind,
    }
    with device:
        training.run_epoch()
        device.forget()
        path = extend_path({}, training.initial, training.weights)
        found = measure(training.initial, training.weights, path=path, **facts)
    assert device.fetched == 1
    # a count and a decomposition make the host wait, each for its own stream alone
    assert set(device.waits) == waits
    with device:
        near = [bring_back(w) for w in (training.initial, training.weights)]
        path = {name: length_R.cpu() for name, length_R in path.items()}
    expected = measure(*near, path=path, **facts)
    for name, values in expected.data_vars.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
