"""Orders drawn ahead, in threads, are those of their addresses."""

import numpy as np
import pytest
import torch

import birthmark as bm
from birthmark.seeds import batch_order, buffered_order
from birthmark.spec import RunSpec
from birthmark.training.orders import DrawnOrder


@pytest.mark.parametrize("order", ["independent", "shared"])
@pytest.mark.parametrize("buffer", [None, 7])
def test_orders_do_not_depend_on_which_epochs_were_asked_for_before(order, buffer):
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [3]},
        training={"batch_order": order, "shuffle_buffer": buffer, "epochs": 9},
        run={"seed": 4},
    )
    replicas = [5, 2]
    orders = DrawnOrder(spec, replicas, 40, "cpu")
    for epoch in (0, 1, 2, 6, 6, 3, 8, 9):
        expected = [
            batch_order(4, replica, epoch, 40)
            if buffer is None
            else buffered_order(4, replica, epoch, 40, buffer)
            for replica in ([0] if order == "shared" else replicas)
        ]
        np.testing.assert_array_equal(orders(epoch).numpy(), expected)


@pytest.mark.parametrize(
    "settings",
    [{}, {"batch_order": "shared"}, {"shuffle_buffer": 50}],
    ids=["independent", "shared", "buffer"],
)
def test_the_public_order_is_the_one_that_is_trained_on(settings):
    """A loop of plain torch over it gives the losses of the run."""
    spec = bm.RunSpec(
        data={"name": "digits", "examples_per_class": 20},
        network={"widths": [6, 6]},
        training={"epochs": 2, "loss": "cross_entropy", **settings},
        run={"replicas": 2, "dtype": "float64", "device": "cpu"},
        record={"distributions": []},
    )
    data = bm.load_dataset(spec.data)
    x = torch.tensor(np.array(data.x_train)).double().flatten(1) / data.full_scale
    y = torch.tensor(np.array(data.y_train)).long()
    start = bm.initial_configuration(spec)
    losses = []
    for replica in range(2):
        layers = []
        for _, layer in start.items():
            linear = torch.nn.Linear(*layer.w.shape[1:], dtype=torch.float64)
            linear.weight.data = layer.w[replica].T.clone()
            linear.bias.data = layer.b[replica].clone()
            layers += [linear, torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        total = 0.0
        for epoch in range(2):
            total = 0.0
            order = torch.tensor(bm.batch_order(spec, replica, epoch))
            for batch in order.split(spec.training.batch_size):
                loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
                model.zero_grad()
                loss.backward()
                with torch.no_grad():
                    for one in model.parameters():
                        one -= spec.training.lr * one.grad
                total += float(loss.detach()) * len(batch)
        losses.append(total / len(y))
    *_, last = bm.train(spec)
    np.testing.assert_allclose(last.metrics.train_loss, losses, rtol=1e-6)


def test_an_order_of_no_replica_or_epoch_is_refused():
    spec = bm.RunSpec(
        data={"name": "digits"}, training={"epochs": 3}, run={"replicas": 1}
    )
    assert bm.batch_order(spec, 0, 2, num_examples=5).tolist() != [0, 1, 2, 3, 4]
    with pytest.raises(bm.BirthmarkError, match="replica 1: the run has 1,"):
        bm.batch_order(spec, 1, 0, num_examples=5)
    with pytest.raises(bm.BirthmarkError, match="epoch 3: the run has 3"):
        bm.batch_order(spec, 0, 3, num_examples=5)
