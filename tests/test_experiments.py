"""Experiments: what ships is whole, and pages say what the records say."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import birthmark
from birthmark.errors import BirthmarkError, SpecError
from birthmark.experiments import (
    experiment_names,
    find_experiment,
    run_experiment,
    shipped_results,
)
from birthmark.figures import draw_experiment
from birthmark.store import load_results, save_results

DOCS = Path(__file__).parent.parent / "docs"
RECORDS = Path(birthmark.__file__).parent / "records" / "experiments"
PAGES = runpy.run_path(str(DOCS / "write_pages.py"))


@pytest.mark.parametrize("template", PAGES["find_templates"]([]), ids=lambda p: p.stem)
def test_a_page_says_what_the_shipped_records_say(template):
    """After a change: python docs/write_pages.py."""
    assert PAGES["find_differences"](template, PAGES["find_sources"]()) == []


@pytest.mark.parametrize("name", experiment_names())
def test_an_experiment_ships_its_results_figure_and_page(name):
    results = shipped_results(name)
    assert len(results.attrs["protocol"]) > 40
    for variable in results.data_vars.values():
        assert variable.attrs["long_name"]
        assert "units" in variable.attrs
    _, manifest = load_results(RECORDS / name)
    assert manifest["scale"] == "full"
    assert set(manifest["data"]) == set(find_experiment(name).data)
    drawing = draw_experiment(name, results)
    assert drawing.name == name
    assert len(drawing.caption) > 40
    picture = f"../images/experiments/{name}.svg"
    pages = [
        PAGES["find_page"](path).read_text() for path in PAGES["find_templates"]([])
    ]
    assert any(picture in page for page in pages)


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
    with pytest.raises(BirthmarkError, match=r"results\.nc cannot be read") as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_experiment_or_scale_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no experiment 'constant'|unknown experiment"):
        run_experiment("constant", tmp_path)
    assert not any(tmp_path.iterdir())
