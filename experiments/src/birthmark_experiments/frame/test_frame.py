"""Experiments: what ships is whole, and pages say what the records say."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import birthmark_experiments
from birthmark.errors import BirthmarkError, SpecError
from birthmark.store import load_results, save_results
from birthmark_experiments import (
    run_experiment,
)

RECORDS = Path(birthmark_experiments.__file__).parent


def test_results_come_back_as_they_were_saved(tmp_path):
    results = xr.Dataset(
        {
            "loss": (("rule", "step"), np.array([[1.5, np.nan]], dtype="f4")),
            "count": (("rule",), np.array([7], dtype="i4")),
        },
        coords={"rule": ["he_normal"], "step": np.array([0, 10], dtype="i4")},
        attrs={"protocol": "none"},
    )
    results.loss.attrs |= {"long_name": "train loss", "units": "nats"}
    save_results(tmp_path / "new", results, {"scale": "full"})
    loaded, manifest = load_results(tmp_path / "new")
    xr.testing.assert_identical(loaded, results)
    assert manifest == {"scale": "full"}


def test_damaged_results_are_refused_in_one_line(tmp_path):
    save_results(tmp_path, xr.Dataset({"a": ("x", np.arange(3.0))}), {})
    (tmp_path / "results.nc").write_bytes(b"CDF\x01 and nothing else")
    with pytest.raises(BirthmarkError, match=r"results\.nc is damaged") as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_experiment_or_scale_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no experiment 'constant'|unknown experiment"):
        run_experiment("constant", tmp_path)
    assert not any(tmp_path.iterdir())
