"""Keras 3 models, where Keras is installed: weights, and the loss that clips."""

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from birthmark.checkup import check
from birthmark.errors import SpecError, WeightsError

# Keras' own code warns about NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        return pytest.importorskip("keras", reason="needs Keras 3")


def model_of(keras, **options):
    return keras.Sequential(
        [
            keras.Input((100,)),
            keras.layers.Dense(80, activation="relu", name="first", **options),
            keras.layers.Dense(10, activation="softmax", name="last"),
        ]
    )


def test_laws_of_keras_are_named_by_their_paths(keras):
    keras.utils.set_random_seed(0)
    checkup = check(model_of(keras, kernel_initializer="he_normal"), None)
    laws = {t.name.split("/", 1)[-1]: t.rules for t in checkup.tensors}
    assert laws["first/kernel"][0] == "he_normal"
    assert "glorot_uniform" in laws["last/kernel"]
    assert laws["last/bias"] == ("zeros",)
    [kernel] = [t for t in checkup.tensors if t.name.endswith("first/kernel")]
    assert (kernel.fan_in, kernel.fan_out) == (100, 80)
    assert any("Keras" in reason for reason in checkup.unread)


def test_kernels_of_every_layer_have_the_fans_of_their_sums(keras):
    """Told by pushing ones through each layer: one output counts its inputs."""
    make = keras.layers
    layers = {
        (11, 6): [make.Conv1D(8, 3), make.Conv1DTranspose(9, 3, name="up")],
        (9, 9, 4): [
            make.Conv2D(8, 3, groups=2),
            make.DepthwiseConv2D(3, depth_multiplier=2),
            make.Conv2DTranspose(10, 3),
        ],
        (7, 7, 7, 2): [make.Conv3D(6, 3), make.Conv3DTranspose(5, 3)],
    }
    for shape, several in layers.items():
        for layer in several:
            model = keras.Sequential([keras.Input(shape), layer])
            layer.set_weights([np.ones_like(w) for w in layer.get_weights()])
            summed = np.asarray(model.predict(np.ones((1, *shape)), verbose=0))
            kernel = check(model, None).tensors[0]
            assert kernel.fan_in == summed.max() - 1, layer  # and a bias of one
            assert kernel.shape == tuple(layer.kernel.shape)


def test_statistics_are_not_frozen_and_frozen_layers_are(keras):
    make = keras.layers
    still = make.Dense(5, name="still")
    model = keras.Sequential(
        [keras.Input((9,)), make.BatchNormalization(), still, make.Dense(3)]
    )
    checkup = check(model, None)
    assert not any("moving" in t.name for t in checkup.tensors)
    assert "frozen_parameters" not in {f.name for f in checkup.findings}
    still.trainable = False
    frozen = {f.name: f for f in check(model, None).findings}["frozen_parameters"]
    assert {name.rpartition("/")[2] for name in frozen.where} == {"kernel", "bias"}
    assert all("still" in name for name in frozen.where)


def test_constant_kernels_and_one_seed_for_two_layers_are_found(keras):
    constant = check(model_of(keras, kernel_initializer="ones"), None)
    assert "duplicate_units" in {f.name for f in constant.findings}
    rule = keras.initializers.GlorotUniform(seed=1)
    twice = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, kernel_initializer=rule),
            keras.layers.Dense(64, kernel_initializer=rule),
        ]
    )
    assert "shared_draw" in {f.name for f in check(twice, None).findings}


@pytest.mark.parametrize("from_logits", [False, True])
def test_a_loss_on_probabilities_abandons_examples(keras, from_logits):
    model = model_of(keras)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(loss=loss)
    found = {f.name: f for f in check(model, None).findings}
    clips = keras.backend.backend() != "tensorflow"  # which finds the logits again
    assert ("abandoning_loss" in found) is (clips and not from_logits)
    if from_logits or not clips:
        return
    # and so it is: the gradient is 0 below the eps that was found
    eps = found["abandoning_loss"].values["eps"]
    for p, has_gradient in ((eps * 0.9, False), (eps * 1.1, True)):
        assert bool(slope_at(p, loss) != 0) is has_gradient


def slope_at(p, loss):
    """The gradient by the probability of the true class, as the backend has it."""
    row = np.array([[p, 1 - p]])
    if importlib.import_module("keras").backend.backend() == "jax":
        jax = importlib.import_module("jax")
        slope = jax.grad(lambda row: loss(np.array([0]), row))
        return slope(jax.numpy.asarray(row, "float32"))[0, 0]
    row = torch.tensor(row, requires_grad=True)
    loss(np.array([0]), row).backward()
    return row.grad[0, 0]


def test_a_keras_model_is_left_as_it_was(keras):
    model = model_of(keras)
    before = [w.numpy().copy() for w in model.weights]
    check(model, None)
    assert all(
        np.array_equal(a, w.numpy()) for a, w in zip(before, model.weights, strict=True)
    )
    with pytest.raises(WeightsError, match="build it"):
        check(keras.Sequential([keras.layers.Dense(3)]), None)


@pytest.mark.skipif(not find_spec("keras"), reason="needs Keras 3")
def test_nothing_imports_keras():
    program = (
        "import sys, torch, birthmark as bm\n"
        "bm.check(torch.nn.Linear(4, 3), torch.randn(5, 4))\n"
        "print('keras' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_what_is_no_model_is_refused():
    with pytest.raises(
        SpecError, match=r"torch.nn.Module or a Keras 3 model, got list"
    ):
        check([1, 2], None)
