"""Runs with smooth curves, written through the store's door, for tests of the page.

As a program it is a trainer: it writes epochs to a run until it is stopped or killed.
"""

import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import xarray as xr

from birthmark.shapes import EpochMetrics, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import open_store

LAYERS = ["hidden1", "hidden2", "output"]


def make_spec(width=32, lr=0.1, seed=0, epochs=40):
    return RunSpec(
        data={"name": "digits"},
        network={"widths": (width, width)},
        mark={"text": "a"},
        training={"lr": lr, "epochs": epochs},
        run={"replicas": 2, "seed": seed},
        record={"weights": (epochs // 2,)},
    )


def metrics(spec, epoch):
    fall = np.exp(-epoch * spec.training.lr) + 0.01 * np.arange(1, 3)
    loss = np.full(2, np.nan) if epoch == 0 else 2.3 * fall
    nothing, unseen = np.zeros(2, dtype=int), np.full(2, np.nan)
    return EpochMetrics(
        epoch=epoch,
        step=epoch * 12,
        train_loss=loss,
        test_loss=2.4 * fall,
        train_accuracy=1 - 0.9 * fall if epoch else unseen,
        test_accuracy=0.97 - 0.87 * fall,
        below_eps=nothing,
        saturated=nothing,
        abandoned=nothing,
        nonfinite_step=nothing - 1,
        train_loss_evaluated=unseen,
        train_accuracy_evaluated=unseen,
    )


def measured(spec, epoch):
    growth = np.log1p(epoch) / spec.network.widths[0] ** 0.5
    per_layer = growth * np.array([[0.8, 1.0, 1.5]] * 2)
    mark = np.full((2, 3), np.nan)
    mark[:, 1] = 1 - 0.3 * np.tanh(growth)
    named = {
        "relative_distance": (per_layer, "distance over the norm of the start", "1"),
        "deviation_std": (0.1 * per_layer, "standard deviation of the deviation", ""),
        "mark_auc": (mark, "ROC-AUC of the weights as detector of the mark", "1"),
    }
    return xr.Dataset(
        {
            name: (
                ("replica", "layer"),
                values,
                {"long_name": long_name, "units": units},
            )
            for name, (values, long_name, units) in named.items()
        },
        coords={"replica": np.arange(2), "layer": LAYERS},
    )


def weights(spec, epoch):
    width = spec.network.widths[0]
    draws = np.random.default_rng(0).uniform(-0.3, 0.3, (2, width, width))
    return Weights({"hidden2": Layer(draws + 0.001 * epoch, np.zeros((2, width)))})


def append(run, spec, epoch):
    run.append_metrics(metrics(spec, epoch))
    run.append_measurements(epoch, epoch * 12, measured(spec, epoch))


def write_run(path, spec, until=None, *, finish=True):
    """A run up to an epoch, its weights at the start, half-way and at the end."""
    until = spec.training.epochs if until is None else until
    run = open_store(path, create=True).start_run(spec)
    run.save_manifest(FACTS)
    for epoch in range(until + 1):
        append(run, spec, epoch)
        if epoch in spec.weights_epochs:
            run.save_weights(epoch, weights(spec, epoch))
    if finish:
        run.finish(FACTS)
    else:
        run.flush()
    return run


FACTS = {"num_classes": 10, "largest_class_share": 0.1, "wall_time_s": 3.0}


@contextmanager
def trainer(path, seed, seconds):
    """A process that has begun to train; it is killed at the end at the latest."""
    program = [sys.executable, __file__, str(path), str(seed), str(seconds)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def main(path, seed, seconds):
    """Train: an epoch every so many seconds, each flushed."""
    spec = make_spec(seed=int(seed), epochs=10_000)
    run = open_store(path, create=True).start_run(spec)
    run.load_checkpoint()
    run.save_manifest(FACTS)
    for epoch in range(spec.training.epochs):
        append(run, spec, epoch)
        run.flush()
        print(epoch, flush=True)
        time.sleep(float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
