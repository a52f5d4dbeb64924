"""Numbers of the paper and of an independent trial, on the real data (minutes)."""

import pytest
from numpy.testing import assert_allclose

from birthmark.spec import RunSpec
from birthmark.sweeps import run

pytestmark = pytest.mark.slow


def train(folder, data, width, epochs, replicas, recorded="every"):
    """Records of the paper's protocol."""
    spec = RunSpec(
        data={"name": data},
        network={"widths": [width, width]},
        training={"epochs": epochs},
        run={"replicas": replicas},
        record={"epochs": recorded, "distributions": []},
    )
    return run(spec, folder).records


def test_mnist_learns_and_stays_near_its_start(real_data, tmp_path):
    """Jesus et al., 2012.02550: the paper's protocol, width 256."""
    last = train(tmp_path, "mnist", 256, 20, 5, [1, 5, 10]).isel(step=-1)
    assert (last.test_accuracy > 0.975).all()
    assert (last.correlation.sel(layer="hidden2") > 0.9).all()
    # a trial by hand, loss from logits: 0.904, 0.930, 0.861 and 0.0264
    correlation = last.correlation.mean("replica")
    assert_allclose(correlation, [0.904, 0.930, 0.861], atol=0.005)
    deviation = last.deviation_std.sel(layer="hidden2").mean()
    assert_allclose(deviation, 0.0264, rtol=0.03)


def test_hasyv2_reaches_the_minimum_test_loss_of_figure_2d(real_data, tmp_path):
    """Figure 2d at width 100: 0.98."""
    lowest = train(tmp_path, "hasyv2", 100, 30, 2, [10]).test_loss.min("step")
    assert_allclose(lowest, 0.98, rtol=0.05)


def test_hasyv2_at_width_150_moves_as_in_an_independent_trial(real_data, tmp_path):
    """Clipped loss, epochs 1 and 2: a trial by hand, one seed, other random numbers."""
    records = train(tmp_path, "hasyv2", 150, 2, 2).mean("replica").isel(step=[1, 2])
    between = records.sel(layer="hidden2")
    assert_allclose(records.train_loss, [3.330, 1.759], rtol=0.03)
    assert_allclose(between.deviation_std, [0.0367, 0.0501], rtol=0.04)
    assert_allclose(between.correlation, [0.9251, 0.8789], atol=0.008)
