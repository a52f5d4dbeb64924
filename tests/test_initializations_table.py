"""Every entry of the table by its moments, bounds, symmetry and determinism.

What is expected stands here by name and was written from the papers: closed forms,
SciPy's distributions, and matrices built from their definitions.
"""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
import torch
from safetensors.numpy import save_file

import birthmark as bm
from birthmark.errors import SpecError
from birthmark.network import INITIALIZATIONS, Target, find_law, find_law_for
from birthmark.seeds import stream
from birthmark.spec import RuleSpec

DENSE = Target(300, 256, (), "layer.w")
CONV = Target(24, 64, (3, 3), "layer.w")
TARGETS = {"dense": DENSE, "conv": CONV}
PARAMETERS = {
    "constant": {"value": 0.3},
    "gpt2_residual": {"blocks": 12},
    "lottery_ticket": {"sparsity": 0.8},
}
FROM_FILE = ("checkpoint", "statistics_only", "shuffled", "signs_only")


def uniform(a):
    return 0.0, a**2 / 3


def normal(variance):
    return 0.0, variance


def beta_and_normal(variance, fan_in):
    """A mixture: one of fan_in from SciPy's Beta(2, 1)."""
    beta, share = scipy.stats.beta(2, 1), 1 / fan_in
    mean = share * beta.mean()
    second = (1 - share) * variance + share * beta.moment(2)
    return mean, second - mean**2


def truncated(std):
    return 0.0, scipy.stats.truncnorm.var(-2, 2) * std**2


def moments(values):
    return np.mean(values), np.var(values)


def eye(t):
    """m entries of 1 among all."""
    share = min(t.num_in, t.num_out) / math.prod(t.shape)
    return share, share - share**2


def walsh(rows, columns):
    """Signs (-1)^popcount(i & j), Sylvester's matrix by its definition."""
    return np.array(
        [[(-1) ** (i & j).bit_count() for j in range(columns)] for i in range(rows)]
    )


def zer_o(t):
    if t.num_out <= t.num_in:
        return eye(t)
    corner = walsh(t.num_in, t.num_out) * 2 ** (-math.ceil(math.log2(t.num_out)) / 2)
    whole = np.zeros(math.prod(t.shape))
    whole[: corner.size] = corner.ravel()
    return moments(whole)


def cosines(t):
    """Cosines sum to 0 but for the first line, which is 1/sqrt(N) all along."""
    longer, shorter = max(t.fan_in, t.num_out), min(t.fan_in, t.num_out)
    mean = 1 / (math.sqrt(longer) * shorter)
    return mean, 1 / longer - mean**2


def trained(t):
    """Numbers that stand in for trained weights: no symmetry, a mean of their own."""
    rng = np.random.default_rng(5)
    return rng.gamma(2.0, 0.05, t.shape) * rng.choice([-1, 1], t.shape, p=[0.3, 0.7])


def initial(t):
    return np.random.default_rng(6).normal(0.1, 0.2, t.shape)


def signed(t):
    """Signs apart from magnitudes: E|u| = a/2 and E u^2 = a^2/3 of U(-a, a)."""
    a = math.sqrt(6 / (t.fan_in + t.fan_out))
    mean = np.sign(trained(t)).mean() * a / 2
    return mean, a**2 / 3 - mean**2


def rewound(t):
    smallest = np.abs(trained(t)) < np.quantile(np.abs(trained(t)), 0.8)
    return moments(np.where(smallest, 0, initial(t)))


# name -> (mean, variance) of one weight
EXPECTED = {
    "zeros": lambda t: (0, 0),
    "ones": lambda t: (1, 0),
    "constant": lambda t: (0.3, 0),
    "uniform": lambda t: uniform(0.05),
    "normal": lambda t: normal(0.05**2),
    "truncated_normal": lambda t: truncated(0.05),
    "variance_scaling": lambda t: normal(1 / t.fan_in),
    "lecun_uniform": lambda t: normal(1 / t.fan_in),
    "lecun_normal": lambda t: normal(1 / t.fan_in),
    "glorot_uniform": lambda t: normal(2 / (t.fan_in + t.fan_out)),
    "glorot_normal": lambda t: normal(2 / (t.fan_in + t.fan_out)),
    "he_uniform": lambda t: normal(2 / t.fan_in),
    "he_normal": lambda t: normal(2 / t.fan_in),
    "orthogonal": lambda t: normal(1 / max(t.fan_in, t.num_out)),
    "delta_orthogonal": lambda t: normal(
        1 / (max(t.num_in, t.num_out) * math.prod(t.kernel))
    ),
    "looks_linear": lambda t: normal(
        2 / (max(t.num_in, t.num_out) * math.prod(t.kernel))
    ),
    "sparse": lambda t: normal(15 / t.fan_in),
    "torch_sparse": lambda t: normal(
        0.01**2 * (t.num_out - math.ceil(0.9 * t.num_out)) / t.num_out
    ),
    "nguyen_widrow": lambda t: normal(
        (0.7 * t.num_out ** (1 / t.fan_in)) ** 2 / t.fan_in
    ),
    "nguyen_widrow_bias": lambda t: uniform(0.7 * t.num_out ** (1 / t.fan_in)),
    "signed_constant": lambda t: normal(2 / t.fan_in),
    "randomized_asymmetric": lambda t: beta_and_normal(0.6007**2 / t.fan_in, t.fan_in),
    "siren": lambda t: uniform(math.sqrt(6 / t.fan_in) / 30),
    "siren_first": lambda t: uniform(1 / t.fan_in),
    "identity": eye,
    "zero_hadamard": zer_o,
    "hadamard": lambda t: moments(walsh(t.fan_in, t.num_out) / math.sqrt(t.fan_in)),
    "dct": cosines,
    # a grid of 2^m cells a dimension: (1 - 4^-m) of the continuous variance
    "sobol": lambda t: normal((1 - t.num_out**-2) / t.fan_in),
    "torch_default": lambda t: uniform(1 / math.sqrt(t.fan_in)),
    "keras_default": lambda t: uniform(math.sqrt(6 / (t.fan_in + t.fan_out))),
    "flax_default": lambda t: normal(1 / t.fan_in),
    "haiku_default": lambda t: truncated(1 / math.sqrt(t.fan_in)),
    "equinox_default": lambda t: uniform(1 / math.sqrt(t.fan_in)),
    "sklearn_default": lambda t: uniform(math.sqrt(6 / (t.fan_in + t.fan_out))),
    "tiny_cuda_nn_default": lambda t: uniform(math.sqrt(6 / (t.fan_in + t.fan_out))),
    "bert_default": lambda t: normal(0.02**2),
    "gpt2_default": lambda t: normal(0.02**2),
    "gpt2_residual": lambda t: normal(0.02**2 / 24),
    "checkpoint": lambda t: moments(trained(t)),
    "statistics_only": lambda t: moments(trained(t)),
    "shuffled": lambda t: moments(trained(t)),
    "signs_only": signed,
    "lottery_ticket": rewound,
}
# fourth moment over squared variance, where it is above that of a normal law
KURTOSIS = {"sparse": lambda t: 3 * t.fan_in / 15, "torch_sparse": lambda t: 32}
KURTOSIS["randomized_asymmetric"] = lambda t: 3 + t.fan_in
KURTOSIS |= dict.fromkeys(
    ("delta_orthogonal", "looks_linear"), lambda t: 3 * math.prod(t.kernel)
)
NO_CHANCE = {"zeros", "ones", "constant", "identity", "zero_hadamard", "hadamard"}
NO_CHANCE |= {"dct", "sobol", "checkpoint", "lottery_ticket"}
NEEDS_MATRIX = {"orthogonal", "delta_orthogonal", "looks_linear", "sparse"}
NEEDS_MATRIX |= {"torch_sparse", "nguyen_widrow", "identity", "zero_hadamard"}
NEEDS_MATRIX |= {"hadamard", "dct", "sobol", "randomized_asymmetric"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for name, target in TARGETS.items():
        save_file({"layer.w": trained(target)}, folder / f"{name}.safetensors")
        save_file({"layer.w": initial(target)}, folder / f"{name}-0.safetensors")
    return folder


def rule_of(name, files, where):
    parameters = dict(PARAMETERS.get(name, {}))
    if name in (*FROM_FILE, "lottery_ticket"):
        parameters["file"] = str(files / f"{where}.safetensors")
    if name == "lottery_ticket":
        parameters["initial_file"] = str(files / f"{where}-0.safetensors")
    return RuleSpec(name=name, **parameters)


def draw(law, target, *, seed=1):
    return law.draw(stream(seed, 0, "initial", target.name), target.shape)


def test_every_entry_has_its_expectation():
    assert set(EXPECTED) == set(INITIALIZATIONS)


@pytest.mark.parametrize("where", TARGETS)
@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_moments_are_those_of_the_formula(name, where, files):
    target = TARGETS[where]
    mean, variance = EXPECTED[name](target)
    law = find_law_for(rule_of(name, files, where), target)
    assert law.mean == pytest.approx(mean, abs=1e-12)
    assert law.std**2 == pytest.approx(variance, rel=1e-9, abs=1e-15)
    draws = draw(law, target)
    assert draws.dtype == np.float64
    assert draws.shape == target.shape
    # five standard errors of independent entries; dependent ones scatter less
    kurtosis = KURTOSIS.get(name, lambda t: 3)(target)
    n, std = draws.size, math.sqrt(variance)
    assert abs(draws.mean() - mean) <= 5 * std / math.sqrt(n) + 1e-12
    assert abs(draws.var() - variance) <= 5 * variance * math.sqrt(kurtosis / n) + 1e-15
    assert (np.abs(draws) > law.bound * (1 + 1e-12)).mean() < 3e-4


@pytest.mark.parametrize("where", TARGETS)
@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_one_seed_gives_one_draw_and_another_seed_another(name, where, files):
    target = TARGETS[where]
    law = find_law_for(rule_of(name, files, where), target)
    again = find_law_for(rule_of(name, files, where), target)
    np.testing.assert_array_equal(draw(law, target), draw(again, target))
    same = np.array_equal(draw(law, target), draw(law, target, seed=2))
    assert same == (name in NO_CHANCE)


def distinct_units(law, target):
    units = draw(law, target).reshape(-1, target.num_out).T
    return len(np.unique(units, axis=0))


@pytest.mark.parametrize("where", TARGETS)
@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_units_are_distinct_but_for_the_rules_that_are_known_to_repeat_them(
    name, where, files
):
    target = TARGETS[where]
    expected = target.num_out
    if name in ("zeros", "ones", "constant"):
        expected = 1
    elif where == "conv" and name == "identity":  # 24 inputs, and units of zeros
        expected = 25
    elif where == "conv" and name == "zero_hadamard":  # columns repeat after 32
        expected = 32
    law = find_law_for(rule_of(name, files, where), target)
    assert distinct_units(law, target) == expected


@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_biases_are_drawn_by_all_but_laws_of_matrices(name, files, tmp_path):
    beside = Target(300, 256, (), "layer.b", is_vector=True)
    rng = np.random.default_rng(7)
    save_file({"layer.b": rng.normal(0.1, 1, 256)}, tmp_path / "b.safetensors")
    rule = rule_of(name, files, "dense")
    if "file" in rule.parameters:
        given = {
            key: str(tmp_path / "b.safetensors") if key.endswith("file") else value
            for key, value in rule.parameters.items()
            if not key.endswith("_sha256")
        }
        rule = RuleSpec(name=name, **given)
    if name in NEEDS_MATRIX:
        with pytest.raises(SpecError, match="layer.b: biases are vectors and cannot"):
            find_law_for(rule, beside)
        return
    law = find_law_for(rule, beside)
    draws = draw(law, beside)
    assert draws.shape == (256,)
    assert abs(draws.mean() - law.mean) <= 5 * law.std / math.sqrt(256) + 1e-12


def test_a_law_of_fans_alone_is_found_by_the_fans_of_a_convolution():
    for name in ("glorot_uniform", "he_normal", "torch_default", "flax_default"):
        rule = RuleSpec(name=name)
        law = find_law(rule, CONV.fan_in, CONV.fan_out)
        assert law == find_law_for(rule, CONV)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "glorot_unifrom"}, "did you mean 'glorot_uniform'"),
        ({"name": "constant"}, "needs the parameter 'value'"),
        ({"name": "normal", "sd": 1.0}, "unknown parameter of normal 'sd'"),
        ({"name": "zeros", "value": 1.0}, "unknown parameter of zeros"),
        ({"name": "normal", "std": -1.0}, "std must be above 0"),
        ({"name": "normal", "std": "wide"}, "normal: std must be a number, got 'wide'"),
        ({"name": "uniform", "low": 1.0, "high": 0.0}, "low < high"),
        ({"name": "he_normal", "mode": "fan_on"}, "mode is one of fan_in, fan_out"),
        ({"name": "he_normal", "mode": 1}, "mode is one of fan_in, fan_out, got 1.0"),
        ({"name": "sparse", "num_inputs": 2.5}, "num_inputs must be a whole number"),
        ({"name": "sparse", "num_inputs": 0}, "num_inputs must be at least 1"),
        ({"name": "torch_sparse", "sparsity": 1}, "at least 0 and below 1"),
        ({"name": "truncated_normal", "low": 5, "high": 6}, "between 5 and 6 std"),
        ({"name": "truncated_normal", "low": 2, "high": -2}, "between 2 and -2 std"),
        ({"name": "looks_linear"}, "pairs the inputs, which are 3: odd"),
        ({"name": "gpt2_residual", "blocks": 0}, "blocks must be at least 1"),
        ({"name": "lsuv"}, "adjusts a whole network to a batch"),
        ({"name": "checkpoint"}, "needs the parameter 'file'"),
    ],
)
def test_senseless_rules_are_refused_in_one_line(rule, message):
    with pytest.raises(SpecError, match=message) as caught:
        find_law(RuleSpec(**rule), 3, 4)
    assert "\n" not in str(caught.value)


def test_more_dimensions_than_sobol_knows_are_refused():
    with pytest.raises(SpecError, match="take dct or hadamard"):
        find_law(RuleSpec(name="sobol"), 30_000, 10)


def test_a_rule_of_ones_own_does_what_a_rule_of_ours_does(own_tables):
    @dataclasses.dataclass(frozen=True)
    class Laplace:
        scale: float
        mean = 0.0
        needs_matrix = False

        @property
        def std(self):
            return self.scale * 2**0.5

        @property
        def bound(self):
            return 10 * self.scale

        def draw(self, generator, shape):
            return generator.laplace(0, self.scale, shape)

    def laplace(target, *, gain: float = 1.0):
        return Laplace(gain / target.fan_in)

    bm.register_initialization(laplace)
    spec = bm.RunSpec(
        data={"name": "digits"},
        network={"widths": (40,)},
        initialization={"name": "laplace", "gain": 3.0},
        run={"replicas": 1},
    )
    w_RIO = bm.initial_configuration(spec)["hidden1"].w
    assert float(w_RIO.abs().mean()) == pytest.approx(3 / 64, rel=0.1)
    net = torch.nn.Linear(64, 40)
    bm.initialize_(net, {"name": "laplace", "gain": 3.0})
    assert float(net.weight.detach().abs().mean()) == pytest.approx(3 / 64, rel=0.1)
    with pytest.raises(SpecError, match="already|there is an"):
        bm.register_initialization(lambda target: None, name="laplace")
    with pytest.raises(SpecError, match="keyword only"):
        bm.register_initialization(lambda target, gain: None, name="other")
