"""What torch, Keras, JAX and scikit-learn draw is what their names mean here."""

import math
import os

import numpy as np
import pytest
import scipy.stats
import torch

from birthmark.errors import SpecError
from birthmark.network import (
    ALIASES,
    DATA_DEPENDENT,
    INITIALIZATIONS,
    Initializer,
    draw,
    initialize_,
)
from birthmark.network.initializations.names import WHOLE_NETWORK

DENSE, CONV = (500, 300), (3, 3, 80, 200)  # [*kernel, in, out]
NEEDED = {"torch.constant_": {"val": 0.3}, "jax.constant": {"value": 0.3}}
NEEDED["torch.sparse_"] = {"sparsity": 0.6}
# its variables are behind NumPy 2 in how they become arrays
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
MATRIX_ONLY = {"eye_", "sparse_", "Identity", "IdentityInitializer"}
KERNEL_ONLY = {"dirac_", "delta_orthogonal"}


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax")


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def shapes_for(name):
    shapes = [] if name in KERNEL_ONLY else [DENSE]
    return shapes if name in MATRIX_ONLY else [*shapes, CONV]


def assert_same_law(ours, theirs):
    """Kolmogorov-Smirnov on the entries: tells laws of equal variance apart."""
    ours, theirs = np.ravel(ours), np.ravel(np.asarray(theirs, dtype=np.float64))
    assert ours.shape == theirs.shape
    if len(np.unique(ours.round(6))) < 5:  # constants and identities, exactly
        np.testing.assert_allclose(np.sort(ours), np.sort(theirs), atol=1e-7)
        return
    assert scipy.stats.ks_2samp(ours, theirs).pvalue > 1e-4


def test_a_ks_test_of_this_size_tells_a_truncated_law_from_a_normal_one():
    one = draw("keras.HeNormal", CONV, tensor="w")
    other = draw("torch.kaiming_normal_", CONV, tensor="w")
    assert np.std(one) == pytest.approx(np.std(other), rel=0.02)
    assert scipy.stats.ks_2samp(one.ravel(), other.ravel()).pvalue < 1e-6


@pytest.mark.parametrize("name", ALIASES["torch"])
def test_names_of_torch_mean_what_torch_draws(name):
    parameters = NEEDED.get(f"torch.{name}", {})
    for shape in shapes_for(name):
        ours = {"name": f"torch.nn.init.{name}", **parameters}
        torch_shape = (shape[-1], shape[-2], *shape[:-2])
        found = draw(ours, torch_shape, tensor="w", layout="OI")
        torch.manual_seed(1)
        expected = torch.empty(torch_shape)
        getattr(torch.nn.init, name)(expected, **parameters)
        if name in ("eye_", "dirac_"):  # every place, not only the numbers
            np.testing.assert_array_equal(found, expected.numpy())
        assert_same_law(found, expected.numpy())


@pytest.mark.parametrize("name", ALIASES["jax"])
def test_names_of_jax_mean_what_jax_draws(name, jax):
    parameters = NEEDED.get(f"jax.{name}", {})
    if name == "variance_scaling":
        parameters = {
            "scale": 3.0,
            "mode": "fan_avg",
            "distribution": "truncated_normal",
        }
    function = getattr(jax.nn.initializers, name)
    builds = name in ("uniform", "normal", "truncated_normal", "constant")
    builds |= "_" in name or name == "orthogonal"
    initializer = function(**parameters) if builds else function
    for shape in shapes_for(name):
        expected = initializer(jax.random.PRNGKey(3), shape)
        rule = {"name": f"jax.nn.initializers.{name}", **parameters}
        assert_same_law(draw(rule, shape, tensor="w"), expected)


@pytest.mark.parametrize("name", ALIASES["keras"])
def test_names_of_keras_mean_what_keras_draws(name, keras):
    theirs = getattr(keras.initializers, name)
    initializer = (
        theirs() if name.startswith(("Zero", "One")) else theirs(**_seed(name))
    )
    for shape in shapes_for(name):
        expected = keras.ops.convert_to_numpy(initializer(shape))
        rule = f"keras.initializers.{name}"
        assert_same_law(draw(rule, shape, tensor="w"), expected)


def _seed(name):
    return {} if name.startswith(("Constant", "Identity")) else {"seed": 4}


def test_parameters_have_the_names_of_the_framework_that_is_named():
    for theirs, ours in (
        (
            {"name": "torch.kaiming_uniform_", "a": 0.5},
            {"name": "he_uniform", "negative_slope": 0.5},
        ),
        ({"name": "keras.RandomNormal", "stddev": 0.3}, {"name": "normal", "std": 0.3}),
        (
            {"name": "RandomUniform", "minval": -2, "maxval": 1},
            {"name": "uniform", "low": -2, "high": 1},
        ),
        (
            {"name": "jax.orthogonal", "scale": 3.0},
            {"name": "orthogonal", "gain": 3.0},
        ),
    ):
        found, expected = (draw(rule, DENSE, tensor="w") for rule in (theirs, ours))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        (("xavier_uniform", "GlorotUniform", "keras.glorot_uniform"), "glorot_uniform"),
        (("xavier_normal_", "torch.xavier_normal"), "glorot_normal"),
        (
            ("kaiming_uniform", "HeUniform", "torch.nn.init.kaiming_uniform_"),
            "he_uniform",
        ),
        (("eye", "dirac_", "irnn"), "identity"),
        (("ZerO",), "zero_hadamard"),
        (("lecun_uniform", "jax.lecun_uniform", "LecunUniform"), "lecun_uniform"),
    ],
)
def test_bare_names_do_where_all_frameworks_agree(names, ours):
    expected = draw(ours, DENSE, tensor="w")
    for name in names:
        np.testing.assert_array_equal(draw(name, DENSE, tensor="w"), expected)


def test_a_bare_name_with_two_meanings_is_refused_with_both():
    with pytest.raises(SpecError, match="say torch.kaiming_normal or jax.kaiming_norm"):
        draw("kaiming_normal", DENSE, tensor="w")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("xavier_unifrom_", "xavier_uniform_"),
        ("GlorotUnifrom", "GlorotUniform"),
        ("torch.nn.init.kaiming_uniform", None),
        ("lsuvv", "lsuv"),
    ],
)
def test_unknown_names_get_a_near_miss(name, near):
    if near is None:
        draw(name, DENSE, tensor="w")
        return
    with pytest.raises(SpecError, match=f"did you mean '{near}'"):
        draw(name, DENSE, tensor="w")


def test_aliases_lead_to_rules_and_batch_rules_are_named_once():
    for names in ALIASES.values():
        for alias in names.values():
            assert alias.rule in INITIALIZATIONS
    assert set(DATA_DEPENDENT) == set(WHOLE_NETWORK)
    assert not set(DATA_DEPENDENT) & set(INITIALIZATIONS)


def test_defaults_of_torch_layers_are_theirs():
    torch.manual_seed(2)
    linear, conv = torch.nn.Linear(200, 5000), torch.nn.Conv2d(40, 600, 3)
    for layer in (linear, conv):
        shape = tuple(layer.weight.shape)
        ours = draw("torch_default", shape, tensor="w", layout="OI")
        assert_same_law(ours, layer.weight.detach().numpy())
        ours = draw(
            "torch_default",
            tuple(layer.bias.shape),
            tensor="b",
            layout="OI",
            weights_shape=shape,
        )
        assert_same_law(ours, layer.bias.detach().numpy())


@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_defaults_of_scikit_learn_are_theirs(activation):
    from sklearn.neural_network import MLPClassifier

    x, y = np.zeros((4, 90)), [0, 1, 0, 1]
    model = MLPClassifier((200,), activation=activation, max_iter=1, solver="sgd")
    model.set_params(learning_rate_init=1e-12, random_state=0, alpha=0)
    with pytest.warns(UserWarning):  # one step is no convergence
        model.fit(x, y)
    rule = {"name": "sklearn_default", "activation": activation}
    assert_same_law(draw(rule, (90, 200), tensor="w"), model.coefs_[0])
    bias = draw(rule, (200,), tensor="b", weights_shape=(90, 200))
    assert_same_law(bias, model.intercepts_[0])


def test_defaults_of_keras_layers_are_theirs(keras):
    dense = keras.layers.Dense(DENSE[1])
    dense.build((None, DENSE[0]))
    kernel, bias = dense.get_weights()
    assert_same_law(draw("keras_default", DENSE, tensor="w"), kernel)
    assert not bias.any()


def test_defaults_of_flax_haiku_and_equinox_are_theirs(jax):
    linen = pytest.importorskip("flax.linen")
    haiku = pytest.importorskip("haiku")
    equinox = pytest.importorskip("equinox")
    key = jax.random.PRNGKey(5)
    x = np.zeros((1, DENSE[0]), np.float32)
    kernel = linen.Dense(DENSE[1]).init(key, x)["params"]["kernel"]
    assert_same_law(draw("flax_default", DENSE, tensor="w"), kernel)
    network = haiku.transform(lambda x: haiku.Linear(DENSE[1])(x))
    kernel = network.init(key, x)["linear"]["w"]
    assert_same_law(draw("haiku_default", DENSE, tensor="w"), kernel)
    kernel = equinox.nn.Linear(*DENSE, key=key).weight
    assert_same_law(
        draw("equinox_default", DENSE[::-1], tensor="w", layout="OI"), kernel
    )


# the same numbers through every door


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize("name", ["glorot_uniform", "orthogonal", "sparse", "dct"])
def test_numpy_and_torch_have_the_same_numbers(name, shape):
    expected = draw(name, shape, seed=3, tensor="0.weight")
    layer = (
        torch.nn.Linear(shape[0], shape[1])
        if len(shape) == 2
        else torch.nn.Conv2d(shape[-2], shape[-1], shape[:2])
    )
    initialize_(torch.nn.Sequential(layer), name, seed=3)
    moved = np.moveaxis(layer.weight.detach().numpy(), (1, 0), (-2, -1))
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize("name", ["he_normal", "truncated_normal", "orthogonal"])
def test_jax_and_keras_have_the_same_numbers(name, shape, jax, keras):
    expected = draw(name, shape, seed=3, tensor="w")
    initializer = Initializer(name, tensor="w", seed=3)
    found = initializer(jax.random.PRNGKey(0), shape, jax.numpy.float32)
    np.testing.assert_array_equal(jax.numpy.asarray(found), expected)
    traced = jax.jit(lambda key: jax.numpy.asarray(initializer(key, shape)))
    np.testing.assert_array_equal(traced(jax.random.PRNGKey(1)), expected)
    layer = (
        keras.layers.Dense(shape[-1], kernel_initializer=initializer)
        if len(shape) == 2
        else keras.layers.Conv2D(shape[-1], 3, kernel_initializer=initializer)
    )
    layer.build((None, *([8, 8] if len(shape) == 4 else []), shape[-2]))
    np.testing.assert_array_equal(layer.get_weights()[0], expected)


def test_an_initializer_is_called_as_jax_or_as_keras_call_it():
    expected = draw("he_normal", DENSE, tensor="w")
    initializer = Initializer("he_normal", tensor="w")
    key = np.zeros(2, np.uint32)
    for found in (
        initializer(DENSE),
        initializer(list(DENSE), "float32"),
        initializer(shape=DENSE, dtype=np.float32),
        initializer(key, DENSE, np.float32),
        initializer(key, DENSE),
    ):
        np.testing.assert_array_equal(found, expected)
    assert initializer(key, DENSE, np.float64).dtype == np.float64
    # NumPy may know it or not; if not, Keras narrows
    assert initializer(DENSE, "bfloat16").dtype.name in ("float32", "bfloat16")
    for arguments in ((key,), (), (DENSE, "float32", None), (key, key)):
        with pytest.raises(SpecError, match="as JAX does"):
            initializer(*arguments)


def test_names_seeds_and_replicas_make_other_numbers():
    draws = [
        draw("he_normal", DENSE, tensor=tensor, seed=seed, replica=replica)[0, 0]
        for tensor in ("a", "b")
        for seed in (0, 1)
        for replica in (0, 1)
    ]
    assert len(set(draws)) == 8


def test_shapes_that_are_none_and_unknown_layouts_are_refused():
    for shape in ((), (0, 3)):
        with pytest.raises(SpecError, match="no weights to draw"):
            draw("zeros", shape, tensor="w")
    with pytest.raises(SpecError, match="layout 'HWIO' is unknown"):
        draw("zeros", DENSE, tensor="w", layout="HWIO")
    with pytest.raises(SpecError, match="name: this key is required"):
        draw({"gain": 1.0}, DENSE, tensor="w")


def test_half_precision_is_the_float64_draw_rounded_once():
    wide = draw("he_normal", DENSE, tensor="weight", dtype=np.float64)
    layer = torch.nn.Linear(*DENSE, bias=False, dtype=torch.bfloat16)
    initialize_(layer, "he_normal")
    expected = torch.from_numpy(wide.T).to(torch.bfloat16)
    assert torch.equal(layer.weight, expected)
    assert math.isclose(wide.std(), math.sqrt(2 / DENSE[0]), rel_tol=0.02)
