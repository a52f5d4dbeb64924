"""Studies read from a store, as the other rooms write it."""

import numpy as np
import pytest
import xarray as xr

from birthmark.analysis import find_findings, find_transitions, read_study
from birthmark.errors import StoreError
from birthmark.shapes import Array, EpochMetrics
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store

R, EPOCHS, STEPS = 3, 60, 7
FACTS = {"num_classes": 10, "largest_class_share": 0.1}


def _spec(width: int) -> RunSpec:
    return RunSpec(
        data={"name": "digits"},
        network={"widths": [width, width]},
        training={"epochs": EPOCHS},
        run={"replicas": R},
    )


def _metrics(epoch: int, loss: float) -> EpochMetrics:
    def each(value: float) -> Array:
        return np.full(R, value)

    return EpochMetrics(
        epoch=epoch,
        step=epoch * STEPS,
        train_loss=each(loss if epoch else np.nan),
        test_loss=each(loss),
        train_accuracy=each(0.5),
        test_accuracy=each(0.5),
        below_eps=np.zeros(R, int),
        saturated=np.zeros(R, int),
        abandoned=np.zeros(R, int),
        nonfinite_step=np.full(R, -1),
        train_loss_evaluated=each(np.nan),
        train_accuracy_evaluated=each(np.nan),
    )


def _by_layer(name: str, value: float, *more: tuple[str, int]) -> xr.Dataset:
    sizes = (R, 3, *(size for _, size in more))
    variable = (("replica", "layer", *(dim for dim, _ in more)), np.full(sizes, value))
    layers = {"layer": ["hidden1", "hidden2", "output"]}
    return xr.Dataset({name: variable}, coords=layers)


@pytest.fixture
def store(tmp_path) -> Store:
    """Two runs whose loss is exp(-epoch / 10), deviation epoch / width."""
    store = open_store(tmp_path / "store", create=True)
    for width in (8, 16):
        run = store.start_run(_spec(width))
        for epoch in range(EPOCHS + 1):
            run.append_metrics(_metrics(epoch, 2.3 * np.exp(-epoch / 10)))
            scalars = _by_layer("deviation_std", epoch / width)
            binned = None
            if epoch % 20 == 0:
                binned = _by_layer("spectral_distance", epoch / width)
                binned = binned.merge(_by_layer("conditional_mean", 0.0, ("bin", 4)))
            run.append_measurements(epoch, epoch * STEPS, scalars, binned)
        run.save_checkpoint({"x": np.zeros(1)}, {})
        run.finish(FACTS)
    store.start_run(_spec(32))  # without any records yet
    return store


def test_a_study_holds_the_runs_of_a_store_that_have_records(store):
    study = read_study(store)
    assert study.axis.values == (8, 16)
    assert [run.spec for run in study] == [_spec(8), _spec(16)]
    assert [run.run_key for run in study] == [_spec(8).run_key, _spec(16).run_key]
    (one,) = read_study(store, [_spec(16).run_key[:8]])
    assert one.run_key == _spec(16).run_key


def test_what_has_a_bin_axis_is_not_held_and_spectra_are(store):
    for run in read_study(store):
        assert "bin" not in run.records.sizes
        assert "spectral_distance" in run.records


def test_stored_runs_can_be_analysed(store):
    study = read_study(store)
    found = find_transitions(study.runs[0].records, study.runs[0].spec)
    assert found.train_still_falling.all() and found.last_epoch == EPOCHS
    assert found.min_train_loss[0] == pytest.approx(2.3 * np.exp(-EPOCHS / 10))
    (scaling,) = [f for f in find_findings(study) if "equal train loss" in f.what]
    for measure in ("deviation_std", "spectral_distance"):
        assert scaling.values[f"{measure}_exponent"] == pytest.approx(1.0)


def test_an_unknown_run_is_refused(store):
    with pytest.raises(StoreError):
        read_study(store, ["f" * 16])
