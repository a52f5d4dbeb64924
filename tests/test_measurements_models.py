"""Any model, state dict or mapping of arrays: what the converter makes of it."""

import hashlib

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import birthmark as bm
from birthmark.errors import SpecError, WeightsError
from birthmark.measurements import extend_path, find_held
from birthmark.store import by_layer, by_parameter
from weight_stacks import draw_stack, move


class Mixed(nn.Module):
    """An embedding tied to the head, attention, a convolution, a norm, a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(11, 8)
        self.attn = nn.MultiheadAttention(8, 2)
        self.conv = nn.Conv2d(3, 4, 3)
        self.up = nn.ConvTranspose1d(4, 6, 5)
        self.norm = nn.LayerNorm(8)
        self.lstm = nn.LSTM(8, 5)
        self.fc = nn.Linear(8, 7, bias=False)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.wte.weight
        self.temperature = nn.Parameter(torch.tensor(1.5))


def moved(model: nn.Module, seed: int = 1) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.1 * torch.randn(value.shape)


@pytest.fixture
def model() -> Mixed:
    torch.manual_seed(0)
    return Mixed()


def test_names_are_those_of_named_parameters_and_tied_tensors_count_once(model):
    found = bm.to_parameters(model)
    assert list(found) == [name for name, _ in model.named_parameters()]
    assert found["wte.weight"].aliases == ("head.weight",)
    assert list(bm.to_parameters(model.state_dict())) == list(model.state_dict())[:-1]
    compiled = torch.compile(nn.Sequential(model), backend="eager")
    assert list(bm.to_parameters(compiled)) == [f"0.{name}" for name in found]
    nothing = nn.Sequential(nn.BatchNorm1d(3)).state_dict()
    assert list(bm.to_parameters(nothing)) == ["0.weight", "0.bias"]
    assert bm.to_parameters(nothing, buffers=True)["0.running_var"].role == "buffer"


def test_each_tensor_is_known_for_what_it_is(model):
    expected = {
        "temperature": ("scalar", "other"),
        "wte.weight": ("weight", "embedding"),
        "attn.in_proj_weight": ("weight", "attention"),
        "attn.in_proj_bias": ("bias", "bias"),
        "attn.out_proj.weight": ("weight", "attention"),
        "conv.weight": ("weight", "convolution"),
        "norm.weight": ("gain", "norm"),
        "norm.bias": ("bias", "norm"),
        "lstm.weight_ih_l0": ("weight", "recurrent"),
        "fc.weight": ("weight", "head"),  # the last dense one of its own
    }
    for found in (bm.to_parameters(model), bm.to_parameters(model.state_dict())):
        for name, kinds in expected.items():
            assert (found[name].role, found[name].kind) == kinds, name


def test_units_are_columns_whatever_the_layout():
    conv, up = nn.Conv2d(3, 4, 5), nn.ConvTranspose2d(3, 4, 5)
    kernel = conv.weight.detach()
    found = bm.to_parameters(conv)["weight"]
    torch.testing.assert_close(found.matrix[0], kernel.reshape(4, -1).T)
    turned = bm.to_parameters(up)["weight"]
    expected = up.weight.detach().permute(0, 2, 3, 1).reshape(-1, 4)
    torch.testing.assert_close(turned.matrix[0], expected)
    keras = {"kernel": kernel.permute(2, 3, 1, 0).numpy()}  # [*kernel, in, out]
    as_keras = bm.to_parameters(keras, layout="IO")["kernel"]
    torch.testing.assert_close(as_keras.matrix, found.matrix)
    assert (as_keras.fan_in, turned.fan_in, turned.num_units) == (75, 75, 4)


def test_two_models_are_measured_as_numpy_would(model):
    before = bm.to_parameters(model).clone()
    start = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    moved(model)
    found = bm.measure(before, model)
    assert found.sizes["parameter"] == len(start)
    for name, w0 in start.items():
        one = found.sel(parameter=name, replica=0)
        w = dict(model.named_parameters())[name].detach().numpy()
        a, b = (np.float64(x).ravel() for x in (w0, w))
        assert one.distance.item() == pytest.approx(np.linalg.norm(b - a), rel=1e-12)
        assert one.joint_count.sum() == one["size"] == w.size
        if w.ndim == 2:
            delta = (w - w0).astype(float)
            largest = np.linalg.svd(delta, compute_uv=False)[0]
            assert one.spectral_distance.item() == pytest.approx(largest, rel=1e-6)
        if w.ndim < 2:
            assert np.isnan(one.effective_rank)
    xr.testing.assert_identical(found, bm.measure(before, model.state_dict()))
    later = bm.to_parameters(model).clone()
    moved(model, 2)
    path = extend_path(extend_path({}, before, later), later, model)
    along = bm.measure(before, model, path=path, kind="scalars")
    assert (along.path_length >= along.distance).all()


def test_a_list_of_models_is_a_stack_of_replicas():
    models = [nn.Linear(4, 3) for _ in range(3)]
    before = bm.to_parameters(models).clone()
    for number, one in enumerate(models):
        moved(one, number)
    together = bm.measure(before, models, kind="scalars")
    for number, one in enumerate(models):
        start = {name: value.values[number] for name, value in before.items()}
        alone = bm.measure(start, one, kind="scalars").isel(replica=0)
        for name in ("distance", "correlation", "path_length"):
            expected = together[name].isel(replica=number).values
            np.testing.assert_allclose(alone[name].values, expected, rtol=1e-12)


def test_low_precision_complex_and_foreign_arrays_are_taken():
    start = {"a": torch.ones(4, 4, dtype=torch.bfloat16), "n": torch.arange(3)}
    end = {"a": torch.full((4, 4), 1.5), "n": torch.arange(3)}
    assert bm.measure(start, end).distance.item() == pytest.approx(2.0)
    small = {"a": torch.ones(4, 4).to(torch.float8_e4m3fn)}
    assert bm.measure(small, end).relative_distance.item() == pytest.approx(0.5)
    turned = {"a": np.array([1 + 1j, 2.0])}
    assert bm.measure(turned, {"a": np.array([1 + 1j, 2.0 + 3j])}).distance == 3
    read_only = np.ones(3)
    read_only.flags.writeable = False
    assert bm.to_parameters({"v": read_only})["v"].role == "vector"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"a": torch.ones(2)}, {"b": torch.ones(2)}, "lack a and have besides b"),
        ({"a": torch.ones(2)}, {"a": torch.ones(3)}, r"a: initial is \[2\]"),
        ({}, {}, "nothing to measure"),
        (nn.LazyLinear(3), nn.LazyLinear(3), "lazy"),
        (nn.Linear(2, 2, device="meta"), nn.Linear(2, 2), "to_empty"),
        (3, 4, "cannot measure int"),
        ([nn.Linear(2, 2), nn.Linear(3, 2)], nn.Linear(2, 2), "replica 1 differs"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(before, after, words):
    with pytest.raises(WeightsError, match=words) as caught:
        bm.measure(before, after)
    assert "\n" not in str(caught.value)


def test_a_stack_of_ours_has_the_same_numbers_by_layer_and_by_parameter():
    initial = draw_stack(1, dtype=torch.float32)
    current = move(initial, 2)
    layers = bm.measure(initial, current)
    parameters = bm.measure(bm.to_parameters(initial), current)
    seen = by_layer(parameters)
    assert set(seen.data_vars) == set(layers.data_vars)
    for name, variable in layers.data_vars.items():
        xr.testing.assert_equal(seen[name].drop_vars("kind"), variable)
    turned = by_parameter(layers)
    for name in ("distance", "nonfinite_count", "effective_rank", "joint_count"):
        expected = parameters[name].drop_vars(["shape", "size"])
        xr.testing.assert_identical(turned[name], expected)


def test_a_module_by_layer_has_its_biases_beside_its_weights(model):
    before = bm.to_parameters(model).clone()
    moved(model)
    found = bm.measure(before, model, kind="scalars")
    seen = by_layer(found).isel(replica=0)
    conv = seen.sel(layer="conv")
    assert conv.bias_distance == found.distance.sel(parameter="conv.bias").item()
    assert {"lstm.weight_ih_l0", "attn", "norm", "wte"} <= set(seen.layer.values)
    assert np.isnan(seen.bias_distance.sel(layer="wte"))
    assert "attn.in_proj_bias" not in seen.layer.values
    assert "bias_distinct_units" not in seen


def test_a_fingerprint_is_of_type_shape_and_bytes(model):
    value = torch.arange(6.0).reshape(2, 3)
    header = b"torch.float32 [2, 3] "
    expected = hashlib.sha256(header + value.numpy().tobytes()).hexdigest()
    assert bm.fingerprint(value) == bm.fingerprint(value.T.contiguous().T) == expected
    others = [value.reshape(3, 2), value.double(), value.bfloat16(), -value]
    assert len({expected, *map(bm.fingerprint, others)}) == 5
    whole = bm.fingerprint(model)
    assert whole == bm.fingerprint(model.state_dict()) == bm.fingerprint([model])
    moved(model)
    assert bm.fingerprint(model) != whole


def test_the_optimizer_is_asked_for_tensors_and_not_for_names(model):
    model.conv.weight.requires_grad_(False)
    rest = [p for n, p in model.named_parameters() if not n.startswith("lstm")]
    optimizer = torch.optim.SGD(
        [{"params": rest[:3]}, {"params": rest[3:], "lr": 0.2}], lr=0.1
    )
    held = find_held(model, optimizer)
    assert set(held.missing) == {n for n, _ in model.named_parameters() if "lstm" in n}
    assert held.frozen == ("conv.weight",)
    assert (held.groups["temperature"], held.groups["fc.weight"]) == (0, 1)
    model.fc = nn.Linear(8, 7, bias=False)  # after the optimizer was made
    held = find_held(model, optimizer)
    assert "fc.weight" in held.missing


def test_a_measurement_of_ones_own_is_measured_like_any_other(own_tables):
    def largest_share(pair):
        squares_RN = pair.deviation_RN.square()
        return squares_RN.amax(1) / squares_RN.sum(1)

    bm.register_measurement(largest_share, long_name="share of the largest entry")
    before, after = (
        {"a": torch.zeros(2, 2)},
        {"a": torch.tensor([[3.0, 4], [0, 0]])},
    )
    found = bm.measure(before, after)
    assert found.largest_share.item() == pytest.approx(16 / 25)
    assert found.largest_share.attrs["long_name"] == "share of the largest entry"
    initial = draw_stack(1, dtype=torch.float32)
    layers = bm.measure(initial, move(initial, 2), kind="scalars")
    assert layers.bias_largest_share.dims == ("replica", "layer")
    with pytest.raises(SpecError, match="already"):
        bm.register_measurement(lambda pair: 0, long_name="x", name="distance")
    bm.register_measurement(lambda p: p.bound, long_name="x", name="odd")
    with pytest.raises(SpecError, match=r"odd gave \[\] for 1 replicas"):
        bm.measure(before, after)
