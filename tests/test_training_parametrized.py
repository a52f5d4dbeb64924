"""Parametrizations in the engine, against plain torch with a group for each tensor.

The laws, multipliers and factors that are expected stand here by name, written from
the tables of the papers, with the sizes 64-12-9-10 of the network.
"""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

from birthmark.errors import SpecError
from birthmark.network import draw_weights, initialize_
from birthmark.seeds import batch_order, stream
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.sweeps import Grid, run_grid
from birthmark.training import (
    Training,
    check_spec,
    initial_configuration,
)

SIZES = (64, 12, 9, 10)
BATCH, EPOCHS = 16, 4
ROOTS = [fan_in**-0.5 for fan_in in SIZES[:3]]
# std, multiplier, lr of weights and biases under SGD, lr of weights under Adam
EXPECTED = {
    "standard": (ROOTS, [1] * 3, [1] * 3, [1] * 3, [1] * 3),
    "ntk": ([1] * 3, ROOTS, [1] * 3, [1] * 3, [1] * 3),
    # 2203.03466, table 3
    "mup": (
        [64**-0.5, 12**-0.5, 1 / 9],
        [1] * 3,
        [12, 1, 1 / 9],
        [12, 9, 10],
        [1, 1 / 12, 1 / 9],
    ),
    # 2011.14522, table 1, with the lr of 1804.06561 times the width
    "mean_field": (
        [64**-0.5, 1, 1],
        [1, 12**-0.5, 1 / 9],
        [12, 12, 9],
        [12, 9, 10],
        [1, 12**-0.5, 1],
    ),
    # 2310.17813, conditions on spectral norms
    "spectral": (
        [64**-0.5 * (12 / 64) ** 0.5, 12**-0.5 * (9 / 12) ** 0.5, 9**-0.5],
        [1] * 3,
        [12 / 64, 9 / 12, 10 / 9],
        [12, 9, 10],
        [1 / 64, 1 / 12, 1 / 9],
    ),
}


def digits():
    x, y = load_digits(return_X_y=True)
    x, y = x.astype(np.uint8), y.astype(np.int64)
    return Dataset("digits", x[:90], y[:90], x[90:130], y[90:130], 10, (8, 8), 16)


def make_spec(name, **settings):
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [12, 9], "activation": "tanh"},
        initialization={"name": name},
        training={
            "loss": "cross_entropy",
            "lr": 0.01,
            "batch_size": BATCH,
            "epochs": EPOCHS,
        },
        run={"replicas": 2, "dtype": "float64", "seed": 7, "device": "cpu"},
    )
    return spec.with_settings(settings)


def plain_training(name, spec, replica, data):
    """Weights and biases after the training of one replica, written out in torch."""
    stds, multipliers, sgd, sgd_bias, adam = EXPECTED[name]
    layers = ["hidden1", "hidden2", "output"]
    weights = [
        torch.tensor(
            std * stream(7, replica, "initial", f"{layer}.w").normal(size=shape)
        ).requires_grad_()
        for layer, std, shape in zip(
            layers, stds, zip(SIZES, SIZES[1:], strict=False), strict=True
        )
    ]
    biases = [torch.zeros(n, dtype=torch.float64).requires_grad_() for n in SIZES[1:]]
    t = spec.training
    is_sgd = t.optimizer == "sgd"
    rates = [*(sgd if is_sgd else adam), *(sgd_bias if is_sgd else [1] * 3)]
    groups = [
        {"params": [one], "lr": t.lr * rate}
        for one, rate in zip(weights + biases, rates, strict=True)
    ]
    optimizer = (
        torch.optim.SGD(groups, momentum=t.momentum, weight_decay=t.weight_decay)
        if is_sgd
        else torch.optim.Adam(groups, weight_decay=t.weight_decay)
    )
    x = torch.tensor(data.x_train / 16.0)
    for epoch in range(EPOCHS):
        order = batch_order(7, replica, epoch, len(x))
        for start in range(0, len(x), BATCH):
            at = order[start : start + BATCH]
            a = x[at]
            for w, b, m in zip(weights, biases, multipliers, strict=True):
                z = m * (a @ w) + b
                a = torch.tanh(z)
            optimizer.zero_grad()
            cross_entropy(z, torch.tensor(data.y_train)[at]).backward()
            optimizer.step()
    return weights, biases


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"training.momentum": 0.8, "training.weight_decay": 1e-3},
        {"training.optimizer": "adam"},
    ],
)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_parametrized_stack_is_plain_torch_with_a_group_for_each_tensor(
    name, training
):
    spec, data = make_spec(name, **training), digits()
    run = Training.from_spec(spec, data)
    assert run.path_name == "general"
    for _ in range(EPOCHS):
        run.run_epoch()
    for replica in range(2):
        weights, biases = plain_training(name, spec, replica, data)
        for layer, w, b in zip(
            run.weights.layers.values(), weights, biases, strict=True
        ):
            torch.testing.assert_close(
                layer.w[replica], w.detach(), rtol=1e-8, atol=1e-11
            )
            torch.testing.assert_close(
                layer.b[replica], b.detach(), rtol=1e-8, atol=1e-11
            )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("other", ["mean_field", "unit_mup"])
def test_three_ways_to_write_maximal_update_have_the_same_losses(other, optimizer):
    # Adam's eps is in the units of a gradient, and these differ
    settings = {"training.optimizer": optimizer, "training.adam_eps": 1e-30}
    found = [
        Training.from_spec(make_spec(n, **settings), digits()) for n in ("mup", other)
    ]
    for _ in range(3):
        one, two = (run.run_epoch() for run in found)
        np.testing.assert_allclose(one.test_loss, two.test_loss, rtol=1e-7)


def test_one_learning_rate_moves_features_alike_at_all_widths_under_mup_alone():
    data = digits()
    moves = {}
    for name in ("ntk", "mup"):
        by_width = []
        for width in (32, 512):
            settings = {"network.widths": [width, width], "training.lr": 1e-3}
            run = Training.from_spec(make_spec(name, **settings), data)
            before = hidden(run.weights, data)
            run.advance(1)
            by_width.append((hidden(run.weights, data) - before).abs().mean())
        moves[name] = float(by_width[1] / by_width[0])
    assert moves["mup"] == pytest.approx(1, abs=0.35)
    # lazy: as 1 / sqrt(width), Yang & Hu 2011.14522
    assert moves["ntk"] == pytest.approx((32 / 512) ** 0.5, rel=0.35)


def hidden(weights, data):
    """Activations of the first hidden layer; at hidden1 ntk has 1/8, muP has 1."""
    w, b = weights["hidden1"].w, weights["hidden1"].b
    scale = 1 / 8 if float(w.std()) > 0.5 else 1
    x = torch.tensor(data.x_train / 16.0)
    return torch.tanh(scale * (x @ w) + b[:, None, :])


def test_a_resumed_training_and_a_run_in_a_store_go_on_as_one(tmp_path):
    spec = make_spec("mup", **{"training.optimizer": "adam"})
    whole, first = (
        Training.from_spec(spec, digits()),
        Training.from_spec(spec, digits()),
    )
    for _ in range(2):
        whole.run_epoch()
    first.run_epoch()
    second = Training.from_spec(spec, digits(), path=first.path_name)
    second.load_state_dict(*first.state_dict())
    second.run_epoch()
    for name, layer in whole.weights.items():
        assert torch.equal(layer.w, second.weights[name].w)
    specs = (make_spec("mup"), make_spec("ntk"), make_spec("glorot_uniform"))
    results = run_grid(Grid(specs), tmp_path)
    loss = [one.records["test_loss"].to_numpy()[-1, 0] for one in results]
    assert len(set(loss)) == 3
    assert results[0].store.manifest(specs[0].run_key)["path"] == "general"


def test_start_is_drawn_from_the_laws_of_the_layers():
    weights = initial_configuration(make_spec("mup", **{"network.widths": [400, 300]}))
    stds = [weights[name].w.std().item() for name in weights]
    assert stds == pytest.approx([1 / 8, 1 / 20, 1 / 300], rel=0.02)
    assert not weights["hidden1"].b.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initialization.gain": 2.0}, "has no parameters, got gain"),
        ({"initialization.layers": {"output": {"name": "zeros"}}}, "leave out init"),
        ({"initialization.layers": {"output": {"name": "mup"}}}, "leave out init"),
        ({"network.kind": "convolutional"}, "for dense networks alone"),
    ],
)
def test_what_does_not_go_with_a_parametrization_is_refused(settings, message):
    with pytest.raises(SpecError, match=message):
        check_spec(make_spec("mup", **settings))


def test_a_single_layer_or_module_cannot_be_parametrized():
    spec = make_spec(
        "he_normal", **{"initialization.layers": {"output": {"name": "ntk"}}}
    )
    with pytest.raises(SpecError, match="ntk is a parametrization"):
        draw_weights(spec, 64, 10, replicas=[0])
    with pytest.raises(SpecError, match="only a whole dense network"):
        initialize_(torch.nn.Linear(3, 3), "mup")
    with pytest.raises(SpecError, match="did you mean 'mup'"):
        check_spec(make_spec("mupp"))
