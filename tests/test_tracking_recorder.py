"""The recorder under any loop: schedules, and the numbers of the engine's own run."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn.functional import cross_entropy

import birthmark as bm
from birthmark.errors import SpecError
from birthmark.seeds import batch_order
from birthmark.shapes import StepMetrics
from birthmark.store import RunDescription, open_store
from birthmark.tracking import Listed, LogSpaced, Recorder, make_schedule

SPEC = bm.RunSpec(
    data={"name": "digits", "examples_per_class": 20},
    network={"widths": [16]},
    training={
        "epochs": 3,
        "batch_size": 32,
        "lr": 0.1,
        "loss": "cross_entropy",
    },
    run={"replicas": 1, "dtype": "float64", "seed": 5},
)


def plain_loop(store: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """The run of `SPEC` as anybody would write it.

    Recorded through the seam, and by a tracker that hangs on its optimizer.
    """
    data, initial = bm.load_dataset(SPEC.data), bm.initial_configuration(SPEC)
    x = torch.tensor((data.x_train / data.full_scale - data.mean) / data.std)
    y = torch.tensor(data.y_train)
    parts = {
        "hidden1": nn.Linear(64, 16),
        "relu": nn.ReLU(),
        "output": nn.Linear(16, 10),
    }
    net = nn.Sequential(OrderedDict(parts)).double()
    for name, layer in initial.items():
        module = net.get_submodule(name)
        module.weight.data.copy_(layer.w[0].T)
        module.bias.data.copy_(layer.b[0])
    optimizer = torch.optim.SGD(net.parameters(), lr=SPEC.training.lr)
    start = bm.to_parameters(net).clone()
    run = open_store(store, create=True).start_run(RunDescription("loop", "plain"))
    steps = -(-len(x) // 32)
    epochs = {number * steps for number in range(4)}
    recorder, step, losses = Recorder(run, start, Listed(epochs, epochs)), 0, []
    tracker = bm.Tracker(net, optimizer, schedule=list(epochs))
    recorder.record(StepMetrics(0, {}, epoch=0), bm.to_parameters(net))
    for epoch in range(SPEC.training.epochs):
        order = torch.from_numpy(batch_order(5, 0, epoch, len(x)))
        for index in order.split(32):
            loss = cross_entropy(net(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, losses = step + 1, [*losses, loss.item() * len(index)]
        means = {"train_loss": np.array([sum(losses) / len(x)])}
        recorder.record(StepMetrics(step, means, epoch + 1), bm.to_parameters(net))
        losses = []
    run.finish({})
    return open_store(store).records(run.run_key), tracker.records


def test_a_plain_loop_has_the_numbers_of_the_engines_run(tmp_path):
    found, tracked = plain_loop(tmp_path / "plain")
    expected = bm.run(SPEC, tmp_path / "engine").records
    np.testing.assert_array_equal(found.step, expected.step)
    np.testing.assert_array_equal(found.epoch, expected.epoch)
    assert found.layer.values.tolist() == expected.layer.values.tolist()
    assert found.train_loss[1:].values == pytest.approx(
        expected.train_loss[1:].values, rel=1e-10
    )
    compared = 0
    for name in expected.data_vars:
        if {"layer", "replica"} <= set(expected[name].dims) and name != "cannot_move":
            x, y = found[name].values, expected[name].values
            if expected[name].dtype.kind == "f" and "bin" not in expected[name].dims:
                # what noise would do is seen by a sample, in the order of the weights
                sampled = "by_noise" in name
                near = {"atol": 0.05} if sampled else {"rtol": 1e-7, "atol": 1e-12}
                np.testing.assert_allclose(x, y, err_msg=name, **near)
                compared += 1
    assert compared > 30
    for layer in expected.layer.values.tolist():
        for name in ("distance", "relative_distance", "correlation", "deviation_std"):
            for kind, prefix in (("weight", ""), ("bias", "bias_")):
                of = tracked[name].sel(parameter=f"{layer}.{kind}", step=expected.step)
                to = expected[prefix + name].sel(layer=layer)
                np.testing.assert_allclose(of, to, rtol=1e-7, atol=1e-12, err_msg=name)


def test_a_log_schedule_has_the_first_powers_and_even_parts_of_octaves():
    due = [step for step in range(200) if LogSpaced().due(step)]
    assert due == [0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]
    thirds = [step for step in range(9, 65) if LogSpaced(per_octave=3).due(step)]
    assert thirds == [11, 14, 16, 22, 27, 32, 43, 54, 64]
    every = [step for step in range(260) if LogSpaced(every=100).due(step)]
    assert set(every) - set(due) == {100, 200, 256}
    arrays = LogSpaced(arrays_every=4)
    assert [s for s in range(300) if arrays.due(s) in ("all", "distributions")] == [
        1,
        16,
        256,
    ]


def test_a_schedule_may_be_a_number_or_a_list():
    assert make_schedule("log") == LogSpaced()
    assert make_schedule(50).due(150) == "scalars"
    listed = make_schedule([3, 7])
    assert [step for step in range(9) if listed.due(step)] == [0, 3, 7]
    for senseless in ("weekly", 0, -3, 1.5, [1.5]):
        with pytest.raises(SpecError, match="schedule"):
            make_schedule(senseless)
