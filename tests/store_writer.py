"""A writer of a store whose numbers are known beforehand, and which can be killed."""

import contextlib
import time
from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.shapes import Array, EpochMetrics, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store

R, LAYERS = 2, ["hidden1", "hidden2", "output"]
EPOCHS, CHECKPOINT_EVERY, STEPS = 11, 4, 7
SCALAR_EPOCHS = [0, 1, 2, 4, 5, 7, 8, 10, 11]
DISTRIBUTION_EPOCHS = [0, 1, 4, 8, 11]
WEIGHTS_EPOCHS = [0, 5, 11]
MANIFEST = {
    "wall_time_s": 12.5,
    "num_classes": 10,
    "data": {"checksum": "ab12"},
    "versions": {"numpy": "2"},
}


def make_spec(**tables: object) -> RunSpec:
    return RunSpec(
        **{
            "data": {"name": "mnist"},
            "training": {"epochs": EPOCHS},
            "run": {"replicas": R},
            "record": {"weights": [5]},
            **tables,
        }
    )


def noise(*address: int | str, shape: tuple[int, ...]) -> Array:
    seed = [sum(map(ord, part)) if isinstance(part, str) else part for part in address]
    return np.random.default_rng(seed).normal(size=shape)


def metrics(epoch: int) -> EpochMetrics:
    def losses(name: str) -> Array:
        return np.full(R, np.nan) if epoch == 0 else noise(name, epoch, shape=(R,))

    def counts(offset: int) -> Array:
        return np.arange(R) + offset + epoch

    return EpochMetrics(
        epoch=epoch,
        step=epoch * STEPS,
        train_loss=losses("train"),
        test_loss=noise("test", epoch, shape=(R,)).astype(np.float32),
        train_accuracy=losses("accuracy"),
        test_accuracy=noise("test accuracy", epoch, shape=(R,)),
        below_eps=counts(0),
        saturated=counts(100),
        abandoned=counts(200),
        nonfinite_step=np.array([-1, -1 if epoch < 6 else 40]),
        train_loss_evaluated=np.full(R, np.nan),
        train_accuracy_evaluated=np.full(R, np.nan),
    )


def scalars(epoch: int, travelled: float = 0.0) -> xr.Dataset:
    """`travelled` is what only a checkpoint can carry on, like a path length."""
    shape = (R, len(LAYERS))
    path = np.full(shape, travelled)
    deviation = {"long_name": "standard deviation", "units": "weight"}
    variables = {
        "deviation_std": (
            ("replica", "layer"),
            noise("std", epoch, shape=shape),
            deviation,
        ),
        "path_length": (
            ("replica", "layer"),
            path,
            {"long_name": "path", "units": "1"},
        ),
        "nonfinite_count": (
            ("replica", "layer"),
            np.full(shape, epoch),
            {"long_name": "weights that are not finite", "units": "weights"},
        ),
        "deviation_quantile": (
            ("replica", "layer", "quantile"),
            noise("quantile", epoch, shape=(*shape, 5)),
            {"long_name": "quantile of the deviation", "units": "weight"},
        ),
    }
    quantiles = (
        "quantile",
        [0.02, 0.25, 0.5, 0.75, 0.98],
        {"long_name": "share below"},
    )
    coords = {"replica": np.arange(R), "layer": LAYERS, "quantile": quantiles}
    return xr.Dataset(variables, coords)


def distributions(epoch: int) -> xr.Dataset:
    shape = (R, len(LAYERS))
    counts = (noise("joint", epoch, shape=(*shape, 4, 6)) ** 2 * 1000).astype(np.int64)
    current = ("current_bin", np.linspace(-64.0, 64.0, 6), {"units": "bound"})
    return xr.Dataset(
        {
            "joint_count": (
                ("replica", "layer", "bin", "current_bin"),
                counts,
                {"long_name": "weights by bin", "units": "weights"},
            ),
            "conditional_mean": (
                ("replica", "layer", "bin"),
                np.where(
                    counts.sum(-1) > 4000, noise(epoch, shape=(*shape, 4)), np.nan
                ),
                {"long_name": "mean by bin", "units": "weight"},
            ),
            "spectral_distance": (
                ("replica", "layer"),
                noise(epoch, 1, shape=shape),
                {},
            ),
            "bound": (
                "layer",
                [0.1, 1 / 3, 2e-7],
                {"long_name": "bound", "units": "w"},
            ),
        },
        coords={
            "replica": np.arange(R),
            "layer": LAYERS,
            "bin": np.linspace(-0.75, 0.75, 4),
            "current_bin": current,
            "bin_edge": np.linspace(-1, 1, 5),
        },
    )


def weights(epoch: int) -> Weights:
    """Strided views, as the engine's may be."""
    return Weights(
        {
            name: Layer(
                noise(name, epoch, shape=(R, 5, 4)).astype(np.float32).mT,
                noise(name, epoch, shape=(R, 5)).astype(np.float32),
            )
            for name in LAYERS
        }
    )


def write_run(store: Path, spec: RunSpec, *, pause: float = 0.0) -> None:
    """Start the run or go on from its checkpoint, to the end."""
    run = open_store(store, create=True).start_run(spec)
    with contextlib.closing(run):
        if run.is_done:
            return
        saved = run.load_checkpoint()
        first, travelled = 0, 0.0
        if saved is not None:
            first, travelled = saved[1]["next"], float(saved[0]["travelled"])
        for epoch in range(first, EPOCHS + 1):
            travelled += float(noise("move", epoch, shape=()) ** 2)
            run.append_metrics(metrics(epoch))
            if epoch in SCALAR_EPOCHS:
                binned = distributions(epoch) if epoch in DISTRIBUTION_EPOCHS else None
                run.append_measurements(
                    epoch, epoch * STEPS, scalars(epoch, travelled), binned
                )
            if epoch in WEIGHTS_EPOCHS:
                run.save_weights(epoch, weights(epoch))
            if epoch % CHECKPOINT_EVERY == 0:
                arrays = {
                    "travelled": np.array(travelled),
                    "w": weights(epoch)["output"].w,
                }
                run.save_checkpoint(arrays, {"next": epoch + 1, "note": "a \n note"})
            time.sleep(pause)
        run.finish(MANIFEST)


def read_all(store: Store, key: str) -> list[object]:
    """All that can be read of a run; floats as bytes, so that a changed bit shows."""
    records = store.records(key)
    found: list[object] = [records.attrs, store.spec(key).run_key, store.manifest(key)]
    for name, variable in sorted(records.variables.items()):
        values = variable.to_numpy()
        content = values.tolist() if values.dtype == object else values.tobytes()
        found += [name, variable.dims, variable.attrs, content]
    for epoch in store.weights_epochs(key):
        for _, layer in store.weights(key, epoch).items():  # noqa: PERF102
            found += [np.asarray(layer.w).tobytes(), np.asarray(layer.b).tobytes()]
    return found
