"""Readings and predictions against NumPy, closed forms, and plain torch."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn
from torch.nn import functional

from architectures import BasicBlock, draw_he, images, resnet
from birthmark.checkup import check
from birthmark.checkup.outcomes import find_clip
from birthmark.checkup.separation import distortion, neighbour_overlap, read_geometry
from birthmark.checkup.spectra import read_spectrum
from birthmark.checkup.symmetry import count_distinct, sign_rows
from birthmark.theory import (
    Activation,
    forward_moment,
    joint_moment,
    slope_moment,
)


def chain(depth=30, width=256, inputs=64, rule=None):
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    model = draw_he(nn.Sequential(*layers, nn.Linear(inputs, 10)))
    if rule is not None:
        for module in model:
            if isinstance(module, nn.Linear):
                rule(module.weight)
    return model


def data(count=32, inputs=64):
    return torch.randn(count, inputs), torch.arange(count) % 10


def layers_of(model, batch, **options):
    return {layer.name: layer for layer in check(model, batch, **options).layers}


# -- moments as plain torch has them ---------------------------------------------------


def test_moments_are_those_of_plain_torch():
    torch.manual_seed(0)
    model, (x, y) = resnet()
    outputs, kept = {}, {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):

            def keep(_module, _args, output, name=name):
                kept[name] = output.detach().double().square().mean()
                output.retain_grad()
                outputs[name] = output
                return output.clone()  # for ReLU to work in place

            module.register_forward_hook(keep)
    functional.cross_entropy(model(x), y).backward()
    for name, layer in layers_of(resnet_again(), (x, y)).items():
        assert layer.forward == pytest.approx(float(kept[name]), rel=1e-4)
        gradient = outputs[name].grad.double() * len(x)
        assert layer.backward == pytest.approx(
            float(gradient.square().mean()), rel=1e-4
        )


def resnet_again():
    torch.manual_seed(0)
    return resnet()[0]


def test_gradients_of_parameters_are_those_of_plain_torch():
    torch.manual_seed(0)
    model, batch = resnet()
    checkup = check(model, batch)
    functional.cross_entropy(model(batch[0]), batch[1]).backward()
    for tensor in checkup.tensors:
        gradient = model.get_parameter(tensor.name).grad
        assert tensor.gradient == pytest.approx(
            float(gradient.square().mean().sqrt()), rel=1e-3
        )


def test_gradients_do_not_depend_on_the_batch_size():
    torch.manual_seed(0)
    model, (x, y) = chain(4), data()
    once = layers_of(model, (x, y))
    twice = layers_of(model, (torch.cat([x, x]), torch.cat([y, y])))
    for name, layer in once.items():
        assert layer.backward == pytest.approx(twice[name].backward, rel=1e-4)


def test_moments_below_the_squares_of_float32_are_still_read():
    model, (x, y) = chain(2), data()
    small = layers_of(model, (x * 1e-25, y))["0"].forward
    assert small == pytest.approx(
        layers_of(model, (x, y))["0"].forward * 1e-50, rel=1e-4
    )


# -- mean-field theory -----------------------------------------------------------------


@pytest.mark.parametrize(
    "phi",
    [
        Activation("relu"),
        Activation("leaky_relu", (0.1,)),
        Activation("tanh"),
        Activation("sigmoid"),
        Activation("gelu", (0.0,)),
        Activation("elu", (1.6732632, 1.0507010, 1.0)),
        Activation("silu"),
        Activation("hardtanh", (0.0, 6.0)),
        Activation("softplus", (1.0,)),
        Activation("hardswish"),
        Activation("mish"),
    ],
    ids=lambda phi: phi.name,
)
def test_gaussian_integrals_agree_with_adaptive_quadrature(phi):
    q = 1.7

    def value(z):
        return float(phi(torch.tensor(z, dtype=torch.float64)))

    def slope(z, h=1e-6):
        return (value(z + h) - value(z - h)) / (2 * h)

    def expect(f):
        density = stats.norm(scale=math.sqrt(q)).pdf
        return integrate.quad(
            lambda z: f(z) * density(z), -12, 12, points=[-3, 0, 3, 6], limit=200
        )[0]

    assert forward_moment(phi, q) == pytest.approx(
        expect(lambda z: value(z) ** 2), 1e-4
    )
    assert slope_moment(phi, q) == pytest.approx(expect(lambda z: slope(z) ** 2), 2e-3)
    rng = np.random.default_rng(0)
    u, v = rng.multivariate_normal([0, 0], [[q, 0.6 * q], [0.6 * q, q]], 400_000).T
    sample = phi(torch.tensor(u)) * phi(torch.tensor(v))
    error = float(sample.std() / math.sqrt(len(u)))
    assert joint_moment(phi, q, 0.6) == pytest.approx(
        float(sample.mean()), abs=5 * error
    )


def test_the_correlation_map_of_relu_is_the_arc_cosine_kernel():
    for depth, expected in ((5, 0.736), (10, 0.872), (30, 0.972)):
        c = 0.0
        for _ in range(depth):
            c = 2 * joint_moment(Activation("relu"), 1.0, c)
        assert c == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("rule", "expected", "spread"),
    [
        (None, 0.6, 0.7),  # as He draws
        (nn.init.xavier_normal_, -29.8, 1.2),
        (lambda w: nn.init.kaiming_uniform_(w, math.sqrt(5)), -77.3, 1.3),
    ],
    ids=["he", "xavier", "torch_default"],
)
def test_thirty_layers_end_where_theory_and_simulation_say(rule, expected, spread):
    """The numbers are those of an independent simulation at width 256."""
    torch.manual_seed(0)
    layers = layers_of(chain(inputs=256, rule=rule), data(inputs=256))
    last = layers["58"]
    measured = math.log2(last.forward / layers["0"].input)
    assert measured == pytest.approx(expected, abs=5 * spread)
    # forward: fan_in Var(w) for the first layer, half of it for each later one
    gain = layers["0"].forward_predicted
    predicted = math.log2(last.forward_predicted / gain)
    step = {0.6: 0.0, -29.8: -1.0, -77.3: math.log2(1 / 6)}[expected]
    assert predicted == pytest.approx(29 * step, abs=0.5)


def test_prediction_and_measurement_agree_over_many_draws():
    """Means over 25 networks: the predictions are unbiased, forward and backward."""
    ratios = []
    for seed in range(25):
        torch.manual_seed(seed)
        layers = layers_of(chain(5, 96), data())
        ratios.append(
            [
                [layers[n].forward / layers[n].forward_predicted for n in "2468"],
                [layers[n].backward / layers[n].backward_predicted for n in "2468"],
            ]
        )
    means = np.mean(ratios, axis=0)
    errors = np.std(ratios, axis=0) / math.sqrt(len(ratios))
    assert np.all(np.abs(means - 1) < 4 * errors + 0.02)
    assert np.all(errors < 0.15)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU, nn.SELU, nn.SiLU, nn.Sigmoid])
def test_other_activations_are_predicted_too(activation):
    torch.manual_seed(1)
    layers = []
    for _ in range(4):
        layers += [nn.Linear(512, 512), activation()]
    model = nn.Sequential(*layers, nn.Linear(512, 10))
    found = layers_of(model, data(64, 512))
    for name in ("2", "4", "6"):
        layer = found[name]
        assert layer.activation == {"SELU": "elu"}.get(
            activation.__name__, activation.__name__.lower()
        )
        assert layer.forward == pytest.approx(layer.forward_predicted, rel=0.2)
        assert layer.backward == pytest.approx(layer.backward_predicted, rel=0.5)
        assert layer.correlation == pytest.approx(layer.correlation_predicted, abs=0.08)


def test_convolutions_are_predicted_with_their_padding():
    """A 3x3 kernel at the rim adds up fewer inputs: measured over many draws."""
    ratios = []
    x = torch.randn(8, 3, 6, 6)
    for seed in range(40):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=2, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, bias=False),
            nn.Flatten(),
        )
        layers = layers_of(model, x)
        ratios.append(
            [layers[n].forward / layers[n].forward_predicted for n in ("0", "2")]
            + [layers["0"].backward / layers["0"].backward_predicted]
        )
    means, errors = np.mean(ratios, axis=0), np.std(ratios, axis=0) / math.sqrt(40)
    assert np.all(np.abs(means - 1) < 4 * errors + 0.01), means
    # a full fan_in would be wrong by the share of padding: 8^2 outputs of 9 inputs
    # see 18^2 of 24^2 pixels
    first = check(model, x).layers[0]
    full = 27 * float(model[0].weight.detach().square().mean()) * first.input
    assert first.forward_predicted / full == pytest.approx((18 / 24) ** 2, rel=0.05)


def test_residual_branches_add_up_and_norms_set_the_moment():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), BasicBlock(32, 32)
    )
    layers = layers_of(draw_he(model), images(16)[0])
    assert layers["1"].forward_predicted == pytest.approx(1, abs=1e-6)
    assert layers["2.conv1"].forward == pytest.approx(
        layers["2.conv1"].forward_predicted, rel=0.3
    )

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(256, 256, bias=False) for _ in range(3))

        def forward(self, x):
            return self.c(functional.relu(self.a(x) + self.b(x)))

    found = layers_of(Sum(), data(64, 256)[0])
    assert found["c"].forward_predicted == pytest.approx(
        (found["a"].forward_predicted + found["b"].forward_predicted) / 2 / 3, rel=0.02
    )
    assert found["c"].forward == pytest.approx(found["c"].forward_predicted, rel=0.2)
    assert found["a"].backward == pytest.approx(found["a"].backward_predicted, rel=0.2)


# -- geometry, spectra, symmetry -------------------------------------------------------


def test_geometry_is_that_of_numpy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 7)) + 3
    found = read_geometry(torch.tensor(x))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = np.triu_indices(20, 1)
    assert found.cosine == pytest.approx((unit @ unit.T)[pairs].mean(), abs=1e-12)
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.testing.assert_allclose(found.distance_NN, distances / math.sqrt(7), atol=1e-7)
    h = np.tanh(x @ rng.normal(size=(7, 5)))
    after = read_geometry(torch.tensor(h))
    new = np.linalg.norm(h[:, None] - h[None], axis=2)
    ratio = (
        new / math.sqrt(5) / np.where(distances == 0, 1, distances / math.sqrt(7))
    )[pairs]
    assert distortion(found, after) == pytest.approx(ratio.std(ddof=1) / ratio.mean())
    big = np.eye(20) * 1e9
    near = [np.argsort(d + big, axis=1)[:, :5] for d in (distances, new)]
    kept = [len(set(a) & set(b)) / 5 for a, b in zip(*near, strict=True)]
    assert neighbour_overlap(found, after) == pytest.approx(np.mean(kept))


def test_a_gap_far_below_the_precision_of_a_cosine_is_read():
    x = torch.ones(8, 50, dtype=torch.float64)
    x += 1e-9 * torch.randn(8, 50, dtype=torch.float64)
    gap = read_geometry(x).gap
    assert gap == pytest.approx(1e-18, rel=0.5)


def test_spectra_are_those_of_numpy():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(30, 8)) @ rng.normal(size=(8, 50))
    found = read_spectrum(torch.tensor(matrix))
    assert (found.rank, found.nullity, found.nullity_transposed) == (8, 42, 22)
    full = rng.normal(size=(30, 50))
    condition = read_spectrum(torch.tensor(full)).condition
    assert condition == pytest.approx(np.linalg.cond(full), rel=1e-6)
    assert read_spectrum(torch.zeros(4, 6)).rank == 0
    assert read_spectrum(torch.full((4, 6), math.nan)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_distinct_rows_are_counted_as_numpy_does(dtype):
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(size=(400, 60))).to(dtype)
    for copies in (0, 1, 150, 399):
        copied = rows.clone()
        copied[:copies] = copied[-1]
        expected = len(np.unique(copied.double().numpy(), axis=0))
        assert count_distinct(sign_rows(copied)) == expected
    noisy = rows[:1].repeat(300, 1).double() * (
        1 + 1e-7 * torch.randn(300, 60).double()
    )
    assert count_distinct(sign_rows(noisy)) == 1


def test_dead_units_are_those_of_plain_torch():
    torch.manual_seed(0)
    model, (x, y) = chain(12, 64), data()
    layers = layers_of(model, (x, y))
    h = x
    for index in range(0, 24, 2):
        z = model[index](h)
        silent = (z <= 0).all(dim=0).double().mean()
        assert layers[str(index)].dead == pytest.approx(float(silent))
        assert layers[str(index)].half_dead >= layers[str(index)].dead
        h = functional.relu(z)


def test_the_null_model_of_silent_units_is_unbiased():
    """Over draws of the network, fresh units are as often silent as the drawn ones."""
    differences = []
    for seed in range(30):
        torch.manual_seed(seed)
        layers = layers_of(chain(10, 64), data())
        differences += [
            [
                layers[n].dead - (layers[n].dead_expected or 0)
                for n in ("10", "14", "18")
            ]
        ]
    means = np.mean(differences, axis=0)
    errors = np.std(differences, axis=0) / math.sqrt(len(differences))
    assert np.all(np.abs(means) < 4 * errors + 1e-9)


# -- loss and curvature ----------------------------------------------------------------


@pytest.mark.parametrize("s", [0.26, 1.0])
def test_the_expected_loss_is_that_of_gaussian_logits(s):
    """Measured over 20,000 examples; the formula is exact to 1 % at s = 1."""
    torch.manual_seed(0)

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(s))

        def forward(self, x):
            return x * self.scale

    x, y = torch.randn(20_000, 10), torch.randint(0, 10, (20_000,))
    outcome = check(Logits(), (x, y)).outcome
    assert outcome.logit_std == pytest.approx(s, rel=0.01)
    assert outcome.loss_expected == pytest.approx(math.log(10) + 0.45 * s * s, rel=0.01)
    assert outcome.loss == pytest.approx(outcome.loss_expected, rel=0.02)


@pytest.mark.parametrize("eps", [1e-7, 1e-4, 1e-15])
@pytest.mark.parametrize("of_logits", [True, False])
def test_the_clip_of_a_loss_is_found_where_it_is(eps, of_logits):
    def loss(outputs, y):
        p = torch.softmax(outputs, 1) if of_logits else outputs
        p = p.double().clamp(eps, 1 - eps)
        return -torch.log(p.gather(1, y[:, None])).mean()

    found = find_clip(loss, 10, torch.zeros(1, dtype=torch.int64), of_logits=of_logits)
    assert found == pytest.approx(eps, rel=0.03)


def test_losses_without_a_clip_have_none():
    y = torch.zeros(1, dtype=torch.int64)
    assert find_clip(functional.cross_entropy, 10, y, of_logits=True) is None

    def of_probabilities(p, y):
        return functional.nll_loss(torch.log(p), y)

    assert find_clip(of_probabilities, 10, y, of_logits=False) is None


def test_sharpness_and_jacobian_are_those_of_the_dense_matrices():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    x, y = torch.randn(12, 5), torch.arange(12) % 3
    checkup = check(model, (x, y), deep=True, lr=100.0)
    names = [name for name, _ in model.named_parameters()]

    def loss(*values):
        outputs = torch.func.functional_call(
            model, dict(zip(names, values, strict=True)), x
        )
        return functional.cross_entropy(outputs, y)

    values = tuple(p.detach() for p in model.parameters())
    blocks = torch.autograd.functional.hessian(loss, values)
    sizes = [value.numel() for value in values]
    hessian = torch.cat(
        [
            torch.cat([b.reshape(n, m) for b, m in zip(row, sizes, strict=True)], 1)
            for row, n in zip(blocks, sizes, strict=True)
        ]
    )
    largest = float(torch.linalg.eigvalsh(hessian)[-1])
    assert checkup.curvature.sharpness == pytest.approx(largest, rel=0.02)
    found = checkup.curvature.jacobian
    singular = [
        torch.linalg.svdvals(torch.autograd.functional.jacobian(model, one))
        for one in x[:4]
    ]
    assert found["largest"] == pytest.approx(
        float(torch.stack(singular)[:, 0].mean()), 1e-4
    )
    assert found["smallest"] == pytest.approx(
        float(torch.stack(singular)[:, -1].mean()), 1e-4
    )
    assert "unstable_step" in {f.name for f in checkup.findings}
    calm = check(model, (x, y), deep=True, lr=1.9 / largest)
    assert "unstable_step" not in {f.name for f in calm.findings}
