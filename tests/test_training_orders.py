"""Orders drawn ahead, in threads, are those of their addresses."""

import numpy as np
import pytest

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
