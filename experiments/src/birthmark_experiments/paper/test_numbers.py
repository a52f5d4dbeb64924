"""Numbers of the paper and of an independent trial, on the real data (minutes)."""

import pytest
from numpy.testing import assert_allclose

from birthmark.spec import RunSpec
from birthmark.sweeps import run

pytestmark = pytest.mark.slow


def test_mnist_learns_and_stays_near_its_start(real_data, tmp_path):
    """Jesus et al., 2012.02550: the paper's protocol, width 256."""
    spec = RunSpec(
        data={"name": "mnist"},
        network={"widths": [256, 256]},
        training={"epochs": 20},
        run={"replicas": 5},
        record={"epochs": [1, 5, 10], "distributions": []},
    )
    last = run(spec, tmp_path).records.isel(step=-1)
    assert (last.test_accuracy > 0.975).all()
    assert (last.correlation.sel(layer="hidden2") > 0.9).all()
    # a trial by hand, loss from logits: 0.904, 0.930, 0.861 and 0.0264
    correlation = last.correlation.mean("replica")
    assert_allclose(correlation, [0.904, 0.930, 0.861], atol=0.005)
    deviation = last.deviation_std.sel(layer="hidden2").mean()
    assert_allclose(deviation, 0.0264, rtol=0.03)


def test_hasyv2_reaches_the_minimum_test_loss_of_figure_2d(real_data, tmp_path):
    """Figure 2d at width 100: 0.98."""
    spec = RunSpec(
        data={"name": "hasyv2"},
        network={"widths": [100, 100]},
        training={"epochs": 30},
        run={"replicas": 2},
        record={"epochs": [10], "distributions": []},
    )
    records = run(spec, tmp_path).records
    lowest = records.test_loss.min("step")
    assert_allclose(lowest, 0.98, rtol=0.05)


def test_hasyv2_at_width_150_moves_as_in_an_independent_trial(real_data, tmp_path):
    """Clipped loss, epochs 1 and 2: a trial by hand, one seed, other random numbers."""
    spec = RunSpec(
        data={"name": "hasyv2"},
        network={"widths": [150, 150]},
        training={"epochs": 2},
        run={"replicas": 2},
        record={"distributions": []},
    )
    records = run(spec, tmp_path).records.isel(step=[1, 2])
    train_loss = records.train_loss.mean("replica")
    assert_allclose(train_loss, [3.330, 1.759], rtol=0.03)
    deviation = records.deviation_std.sel(layer="hidden2").mean("replica")
    assert_allclose(deviation, [0.0367, 0.0501], rtol=0.04)
    correlation = records.correlation.sel(layer="hidden2").mean("replica")
    assert_allclose(correlation, [0.9251, 0.8789], atol=0.008)
