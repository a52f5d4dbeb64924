"""Which law a tensor was drawn from: told rightly, and never told wrongly."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from birthmark.checkup import check
from birthmark.checkup.draws import find_shared_draws
from birthmark.checkup.law_detection import detect_law
from birthmark.checkup.spectra import read_spectrum
from birthmark.errors import SpecError
from birthmark.network import initialize_

INIT = nn.init


def origin_of(draw, shape=(200, 120)):
    weight = torch.empty(shape)
    draw(weight)
    field = weight[0, 0].numel()
    fans = (shape[1] * field, shape[0] * field)
    matrix = weight.flatten(1)
    return detect_law(weight, [fans], matrix, read_spectrum(matrix))


LAWS = {
    "torch_default": lambda w: INIT.kaiming_uniform_(w, math.sqrt(5)),
    "glorot_uniform": INIT.xavier_uniform_,
    "glorot_normal": INIT.xavier_normal_,
    "he_uniform": lambda w: INIT.kaiming_uniform_(w, nonlinearity="relu"),
    "he_normal": lambda w: INIT.kaiming_normal_(w, nonlinearity="relu"),
    "he_normal (fan_out)": lambda w: INIT.kaiming_normal_(w, mode="fan_out"),
    "he_uniform (fan_out)": lambda w: INIT.kaiming_uniform_(w, mode="fan_out"),
    "lecun_normal": lambda w: INIT.kaiming_normal_(w, nonlinearity="linear"),
    "lecun_uniform": lambda w: INIT.kaiming_uniform_(w, nonlinearity="linear"),
    "orthogonal": INIT.orthogonal_,
    "zeros": INIT.zeros_,
}


@pytest.mark.parametrize("shape", [(200, 120), (32, 16, 3, 3)])
@pytest.mark.parametrize("rule", LAWS)
def test_each_rule_of_torch_is_named(rule, shape):
    for seed in range(5):
        torch.manual_seed(seed)
        assert rule in origin_of(LAWS[rule], shape).rules


def test_a_rule_is_missed_as_rarely_as_four_standard_errors_say():
    """900 draws at about 2e-4 each: more than two misses have a chance of 1e-3."""
    missed = 0
    for seed in range(300):
        torch.manual_seed(seed)
        for rule in ("he_normal", "glorot_uniform", "torch_default"):
            missed += rule not in origin_of(LAWS[rule], (40, 30)).rules
    assert missed <= 2


@pytest.mark.parametrize(
    "shape",
    [
        (10, 12),
        pytest.param((8, 1, 3, 3), marks=pytest.mark.slow),
        pytest.param((4, 10), marks=pytest.mark.slow),
    ],
)
def test_small_tensors_keep_their_rule(shape):
    missed = 0
    for seed in range(200):
        torch.manual_seed(seed)
        for rule in ("he_normal", "torch_default"):
            missed += rule not in origin_of(LAWS[rule], shape).rules
    assert missed <= 2


def test_another_scale_has_no_rule_but_a_gain():
    torch.manual_seed(0)
    found = origin_of(lambda w: INIT.kaiming_normal_(w, nonlinearity="relu").mul_(1.5))
    assert found.family == "normal"
    assert not found.rules
    assert "fan_in Var = 4.5" in found.words


@pytest.mark.parametrize(
    ("family", "draw"),
    [
        ("normal", lambda w: w.normal_(0, 0.02)),
        ("uniform", lambda w: w.uniform_(-0.3, 0.3)),
        ("uniform", lambda w: w.uniform_(0, 1)),
        ("truncated_normal", lambda w: INIT.trunc_normal_(w, std=1.0)),
        ("normal", lambda w: INIT.trunc_normal_(w, std=0.02)),  # cut at +-2, not 2 std
        ("constant", lambda w: w.fill_(0.5)),
        ("zeros", lambda w: w.zero_()),
        ("identity", INIT.eye_),
        ("sparse", lambda w: INIT.sparse_(w, 0.5)),
        ("", lambda w: w.exponential_()),
        ("", lambda w: w.normal_().pow_(3)),
        ("", lambda w: w.bernoulli_(0.5).sub_(0.5)),
    ],
)
def test_families_are_told_apart(family, draw):
    for seed in range(10):
        torch.manual_seed(seed)
        assert origin_of(draw).family == family


def test_the_dirac_start_of_a_convolution_is_an_identity():
    assert origin_of(INIT.dirac_, (16, 16, 3, 3)).family == "identity"


def test_a_cut_normal_law_rescaled_as_in_keras_and_jax_is_named():
    torch.manual_seed(0)

    def variance_scaling(w):
        INIT.trunc_normal_(w, std=1.0).mul_(math.sqrt(2 / 120) / 0.8796256610342398)

    assert origin_of(variance_scaling).rules[0] == "he_normal"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounded_weights_keep_their_law(dtype):
    torch.manual_seed(0)
    weight = INIT.xavier_uniform_(torch.empty(200, 120)).to(dtype)
    assert "glorot_uniform" in detect_law(weight, [(120, 200)]).rules


def test_defaults_of_torch_are_told_from_others():
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "dense": nn.Linear(300, 40),
            "conv": nn.Conv2d(8, 32, 3),
            "turned": nn.ConvTranspose2d(8, 32, 3),
            "norm": nn.LayerNorm(40),
            "embedding": nn.Embedding(50, 40),
            "attention": nn.MultiheadAttention(40, 4),
            "lstm": nn.LSTM(20, 40),
        }
    )
    from birthmark.checkup.tensors import read_tensors

    by_name = {t.name: t for t in read_tensors(model, None)}
    told = {name for name, t in by_name.items() if t.is_default}
    assert set(by_name) - told == set()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1).add_(0.01)
    changed = {t.name for t in read_tensors(model, None) if t.is_default}
    assert changed == set()


def test_fans_of_each_layer_are_torchs_but_for_groups():
    model = nn.Sequential(nn.Conv2d(8, 32, 3, groups=2), nn.Flatten(), nn.Linear(32, 5))
    checkup = check(model, torch.randn(4, 8, 3, 3))
    fans = [(t.fan_in, t.fan_out) for t in checkup.tensors if t.role == "weight"]
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(model[0].weight)
    # an input reaches the 16 channels of its own group
    assert fans[0] == (fan_in, fan_out / 2)
    assert fans[1] == nn.init._calculate_fan_in_and_fan_out(model[2].weight)


def test_shared_draws_are_found_through_a_factor_and_another_shape():
    def uniform(seed, shape, factor):
        return (
            torch.from_numpy(np.random.default_rng(seed).random(shape) - 0.5) * factor
        )

    tensors = {
        "a": uniform(1, (40, 30), 1.0),
        "b": uniform(2, (40, 30), 1.0),
        "c": uniform(1, (25, 20), 7.0),
        "zeros": torch.zeros(40, 30),
        "ones": torch.ones(40, 30),
        "small": uniform(1, (5,), 1.0),
    }
    assert find_shared_draws(tensors) == {"a": ("c",), "c": ("a",)}


def test_independent_draws_are_never_taken_for_one():
    torch.manual_seed(0)
    tensors = {str(index): torch.randn(64) for index in range(1500)}
    assert not find_shared_draws(tensors)  # 1.1 million pairs


def test_expectations_are_met_or_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 80), nn.ReLU(), nn.Linear(80, 60))
    for index in (0, 2):
        nn.init.kaiming_normal_(model[index].weight)
        nn.init.zeros_(model[index].bias)
    x = torch.randn(16, 100)
    asked = {"*.weight": "he_normal", "*.bias": "zeros"}
    assert not check(model, x, expected=asked).findings
    [finding] = check(model, x, expected={"*.weight": "glorot_normal"}).findings
    assert finding.name == "unexpected_law"
    assert finding.where == ("0.weight", "2.weight")


def parts_of(draw, side, parts):
    weight = torch.empty(parts * side, side)
    for block in weight.chunk(parts):
        draw(block)
    fans = [(side, parts * side), (side, side)]
    return detect_law(weight, fans, weight, read_spectrum(weight))


def test_structure_is_told_by_more_than_a_shape():
    torch.manual_seed(0)
    assert origin_of(INIT.xavier_normal_, (1, 8, 3, 3)).family == "normal"
    minus = origin_of(lambda w: INIT.eye_(w).neg_(), (32, 32))
    assert (minus.family, minus.rules, minus.words) == (
        "identity",
        (),
        "identity times -1",
    )
    gates = parts_of(INIT.orthogonal_, 48, 4)
    assert gates.words == "orthogonal in 4 parts, gain 1"
    # of a square part Glorot's law and LeCun's are one, and both are told
    packed = parts_of(INIT.xavier_uniform_, 64, 3)
    assert {"glorot_uniform", "lecun_uniform"} <= set(packed.rules)
    assert "he_uniform" not in packed.rules


def test_parts_of_a_packed_matrix_are_told_by_their_own_fans():
    """Keys and values of [48, 80] each: the bound is sqrt(6 / 128)."""
    torch.manual_seed(0)
    weight = torch.empty(96, 80)
    for block in weight.chunk(2):
        INIT.xavier_uniform_(block)
    law = detect_law(weight, [(80, 96), (80, 48)], weight, read_spectrum(weight))
    assert law.rules[0] == "glorot_uniform"
    assert law.words.startswith("glorot_uniform (uniform")
    whole = detect_law(weight, [(80, 96)], weight, read_spectrum(weight))
    assert "glorot_uniform" not in whole.rules


def test_small_kernels_are_named_by_their_rule_and_no_other():
    """432 numbers fit several scales; the rule's own name and edge decide."""
    named = []
    for seed in range(40):
        torch.manual_seed(seed)
        for rule in ("torch_default", "glorot_normal", "he_uniform", "glorot_uniform"):
            named.append(origin_of(LAWS[rule], (16, 3, 3, 3)).rules[0] == rule)
    assert sum(named) >= 0.98 * len(named)


def test_one_row_is_orthogonal_where_its_length_is_one():
    torch.manual_seed(0)
    one = origin_of(INIT.orthogonal_, (1, 8, 3, 3))
    assert one.rules == ("orthogonal",)
    assert origin_of(INIT.kaiming_normal_, (1, 8, 3, 3)).family != "orthogonal"
    groups = origin_of(lambda w: INIT.dirac_(w, 2), (8, 4, 3, 3))
    assert groups.words == "identity times 1 in 2 parts"
    assert groups.rules == ("identity",)


def test_a_few_numbers_beyond_a_law_are_told_apart_from_it():
    """torch gives the bound of a cut law itself once in 2^24 draws."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 10))
    INIT.trunc_normal_(net[0].weight, std=0.02)
    plain = float(net[0].weight.detach().std(correction=0))
    net[0].weight.data[3, 3] = -2.0
    batch = torch.randn(64, 32), torch.arange(64) % 10
    checkup = check(net, batch)
    assert {f.name for f in checkup.findings} == {"outliers", "default_biases"}
    assert checkup.tensors[0].std == pytest.approx(plain, rel=1e-3)
    net[0].weight.data[3, 3] = -200.0  # further out than any bound: a flipped bit
    assert "uninitialized_memory" in {f.name for f in check(net, batch).findings}


def test_normal_laws_cut_at_other_places_are_told():
    torch.manual_seed(0)
    one = origin_of(lambda w: INIT.trunc_normal_(w, std=1.0, a=-1.0, b=1.0))
    assert one.family == "truncated_normal"
    assert "cut at -" in one.words
    far = origin_of(lambda w: INIT.trunc_normal_(w, std=0.02))
    assert far.family == "normal"
    assert "normal, std 0.0" in far.words


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(16, 32, 3, groups=4),
        lambda: nn.Conv2d(16, 16, 5, groups=16),
        lambda: nn.ConvTranspose2d(16, 24, 3),
        lambda: nn.ConvTranspose2d(16, 24, 3, groups=2),
        lambda: nn.Conv2d(16, 1, 3),
        lambda: nn.Linear(32, 48),
    ],
)
@pytest.mark.parametrize("rule", ["he_normal", "glorot_uniform", "orthogonal"])
def test_what_initialize_draws_the_check_up_finds(make, rule):
    layer = make()
    initialize_(layer, rule)
    size = (4, 32) if isinstance(layer, nn.Linear) else (4, 16, 9, 9)
    checkup = check(layer, torch.randn(size), expected={"*weight": rule})
    assert "unexpected_law" not in {f.name for f in checkup.findings}


def test_expectations_leave_norms_alone_and_must_match_something():
    net = nn.Sequential(nn.Linear(32, 48), nn.LayerNorm(48), nn.Linear(48, 10))
    initialize_(net, "he_normal")
    x = torch.randn(8, 32)
    found = check(net, x, expected={"*.weight": "he_normal"})
    assert "unexpected_law" not in {f.name for f in found.findings}
    with pytest.raises(SpecError, match="no parameter is named"):
        check(net, x, expected={"*.kernel": "he_normal"})


def test_fresh_embeddings_are_defaults_within_their_sampling_error():
    """800 numbers: a standard error of 0.025; at four of them none of 60 is missed."""
    missed = 0
    for seed in range(60):
        torch.manual_seed(seed)
        table = nn.Embedding(50, 16, padding_idx=0)
        checkup = check(table, torch.arange(8).reshape(2, 4))
        missed += checkup.tensors[0].is_default is not True
    assert missed == 0
