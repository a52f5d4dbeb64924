"""The dataset that `measure` gives: names, dims, coordinates, units, and refusals."""

import numpy as np
import pytest
import torch

from birthmark.errors import BirthmarkError, WeightsError
from birthmark.measurements import (
    CURRENT_EDGES,
    INITIAL_EDGES,
    MEASUREMENTS,
    extend_path,
    measure,
)
from birthmark.shapes import Layer, Mark, Weights
from weight_stacks import SIZES, draw_stack, move, one_layer

SCALARS = [
    "deviation_mean",
    "deviation_std",
    "deviation_skewness",
    "deviation_kurtosis",
    "deviation_quantile",
    "deviation_mean_abs",
    "deviation_max",
    "distance",
    "relative_distance",
    "correlation",
    "cosine",
    "slope",
    "intercept",
    "r_squared",
    "sign_flips",
    "sign_flips_by_noise",
    "correlation_by_noise",
    "changed_share",
    "ulp_change",
    "path_length",
    "nonfinite_count",
]
ARRAYS = [
    "joint_count",
    "conditional_count",
    "conditional_mean",
    "conditional_std",
    "conditional_skewness",
    "conditional_kurtosis",
    "conditional_quantile",
    "conditional_peak",
    "bound",
]
OF_WEIGHTS = ["cannot_move", "distinct_units", "still_rows"] + [
    f"mark_{name}" for name in ("auc", "pooled_auc", "contrast")
]
SPECTRA = ["spectral_distance", "effective_rank"]
MARK = Mark("hidden2", np.eye(7, 9, dtype=bool), "zero", 0.0)

W0 = draw_stack(1, dtype=torch.float32)
W = move(W0, 2)


def with_biases(names):
    return {*names, *(f"bias_{name}" for name in names)}


def test_the_names_are_those_of_the_records():
    scalars = with_biases(SCALARS) | set(OF_WEIGHTS)
    distributions = with_biases(ARRAYS) | set(SPECTRA)
    assert set(measure(W0, W, mark=MARK, kind="scalars")) == scalars
    assert set(measure(W0, W, mark=MARK, kind="distributions")) == distributions
    assert set(measure(W0, W, mark=MARK)) == scalars | distributions
    asked_for = {
        name
        for name, one in MEASUREMENTS.items()
        if one.tensors in ("stepped", "probed") or one.on_request
    }
    assert set(MEASUREMENTS) - asked_for == {
        *(*SCALARS, *OF_WEIGHTS, *ARRAYS, *SPECTRA)
    } - {"bound"}


def test_each_variable_has_its_dims_type_unit_and_long_name():
    sizes = {"replica": 3, "layer": 3, "quantile": 5, "bin": 41, "current_bin": 161}
    for name, variable in measure(W0, W, mark=MARK).items():
        measurement = MEASUREMENTS.get(name.removeprefix("bias_"))
        dims = ("replica", "layer", *measurement.dims) if measurement else ("layer",)
        assert variable.dims == dims
        assert variable.shape == tuple(sizes[dim] for dim in dims)
        counted = variable.attrs["units"] == "count"
        assert variable.dtype == (np.int64 if counted else np.float64)
        assert variable.attrs["long_name"]
        assert variable.attrs["units"] in ("weight", "1", "count")


def test_the_coordinates_are_layers_quantiles_and_bins_in_units_of_the_bound():
    found = measure(W0, W)
    assert list(found.layer.values) == list(SIZES)
    assert list(found.replica.values) == [0, 1, 2]
    assert list(found["quantile"].values) == [0.02, 0.25, 0.5, 0.75, 0.98]
    np.testing.assert_array_equal(found.bin_edge, INITIAL_EDGES)
    np.testing.assert_array_equal(found.current_bin_edge, CURRENT_EDGES)
    np.testing.assert_allclose(found.bin, np.convolve(INITIAL_EDGES, [0.5, 0.5])[1:-1])
    assert found.bin[20] == pytest.approx(0, abs=1e-15)
    assert found.bin.attrs["units"] == found.current_bin_edge.attrs["units"] == "bound"
    assert set(measure(W0, W, kind="scalars").coords) == {
        "replica",
        "layer",
        "quantile",
    }


def test_weights_of_separate_torch_layers_can_be_measured():
    torch.manual_seed(0)
    networks = [
        torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU()) for _ in "ab"
    ]

    def stack():
        linears = [network[0] for network in networks]
        w = torch.stack([linear.weight.T for linear in linears])
        return Weights({"output": Layer(w, torch.stack([x.bias for x in linears]))})

    w0 = stack().clone()
    for network in networks:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        network(torch.ones(3, 6)).sum().backward()
        optimizer.step()
    found = measure(w0, stack())
    for replica, network in enumerate(networks):
        moved = network[0].weight.grad.double() * 0.1
        assert found.distance[replica, 0] == pytest.approx(
            moved.norm().item(), rel=1e-5
        )
        moved = network[0].bias.grad.double() * 0.1
        assert found.bias_distance[replica, 0] == pytest.approx(
            moved.norm().item(), rel=1e-5
        )


def changed(weights, **layers):
    return Weights({**weights.layers, **layers})


REFUSED = {
    "no layers": (lambda: measure(Weights({}), Weights({})), "none"),
    "other layers": (
        lambda: measure(W0, Weights({"hidden1": W["hidden1"]})),
        "hidden1, hidden2, output, current ones hidden1",
    ),
    "other shape": (
        lambda: measure(W0, draw_stack(1, replicas=2)),
        r"hidden1.w: initial is \[3, 13, 7\] on cpu, current \[2, 13, 7\]",
    ),
    "no replica axis": (
        lambda: measure(
            *[changed(W, output=Layer(W["output"].w[0], W["output"].b))] * 2
        ),
        r"output: w \[9, 5\] and b \[3, 5\] are not \[R, I, O\]",
    ),
    "replicas differ between layers": (
        lambda: measure(*[changed(W, output=one_layer(np.eye(9, 5))["output"])] * 2),
        "R = 3 replicas",
    ),
    "biases of another layer": (
        lambda: measure(*[changed(W, output=Layer(W["output"].w, W["hidden1"].b))] * 2),
        r"b \[3, 7\] are not",
    ),
    "integers": (
        lambda: measure(*[one_layer(np.eye(3, dtype=np.int64))] * 2),
        "floating point, not torch.int64",
    ),
    "kind": (lambda: measure(W0, W, kind="scalar"), "did you mean 'scalars'"),
    "still inputs": (
        lambda: measure(W0, W, still_inputs=np.zeros(12, dtype=bool)),
        r"bool \[13\].*not bool \[12\]",
    ),
    "still inputs as numbers": (
        lambda: measure(W0, W, still_inputs=np.zeros(13)),
        "not float64",
    ),
    "path of other layers": (
        lambda: measure(W0, W, path={"hidden1": torch.zeros(3)}),
        "path lacks bias hidden1, bias hidden2, bias output, hidden2, output",
    ),
    "path of other replicas": (
        lambda: measure(
            draw_stack(1, replicas=2),
            draw_stack(2, replicas=2),
            path=extend_path({}, W0, W),
        ),
        r"must be \[2\].*not \[3\]",
    ),
    "extended path of other layers": (
        lambda: extend_path({"hidden1": torch.zeros(3)}, W0, W),
        "path lacks",
    ),
    "path between other shapes": (
        lambda: extend_path({}, W0, draw_stack(1, replicas=2)),
        "give both alike",
    ),
    "bounds of some layers": (
        lambda: measure(W0, W, bounds={"hidden1": (1.0, 1.0)}),
        "bounds lacks hidden2, output",
    ),
    "bound zero": (
        lambda: measure(W0, W, bounds=dict.fromkeys(SIZES, (1.0, 0.0))),
        "positive numbers",
    ),
    "bound infinite": (
        lambda: measure(W0, W, bounds=dict.fromkeys(SIZES, (np.inf, 1.0))),
        "positive numbers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(case):
    call, message = REFUSED[case]
    with pytest.raises(BirthmarkError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert case == "kind" or isinstance(caught.value, WeightsError)
