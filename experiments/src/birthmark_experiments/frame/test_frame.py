"""Experiments: what ships is whole, and pages say what the records say."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import birthmark_experiments
from birthmark.errors import BirthmarkError, SpecError
from birthmark.store import load_results, save_results
from birthmark_experiments import (
    experiment_names,
    find_experiment,
    pages,
    run_experiment,
    shipped_results,
)
from birthmark_experiments.frame import draw_experiment

RECORDS = Path(birthmark_experiments.__file__).parent


@pytest.mark.parametrize(
    "template", pages.find_templates([]), ids=lambda path: pages.find_page(path).stem
)
def test_a_page_says_what_the_shipped_records_say(template):
    """After a change: python -m birthmark_experiments.pages."""
    assert pages.find_differences(template, pages.find_sources()) == []


@pytest.mark.parametrize("name", experiment_names())
def test_an_experiment_ships_its_results_figure_and_page(name):
    results = shipped_results(name)
    assert len(results.attrs["protocol"]) > 40
    for variable in results.data_vars.values():
        assert variable.attrs["long_name"]
        assert "units" in variable.attrs
    _, manifest = load_results(RECORDS / name.replace("-", "_"))
    assert manifest["scale"] == "full"
    assert set(manifest["data"]) == set(find_experiment(name).data)
    drawing = draw_experiment(name, results)
    assert drawing.draw().axes
    assert drawing.name == name
    assert len(drawing.caption) > 40
    picture = f"../images/experiments/{name}.svg"
    texts = [pages.find_page(path).read_text() for path in pages.find_templates([])]
    assert any(picture in text for text in texts)


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
