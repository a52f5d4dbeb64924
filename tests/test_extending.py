"""What the pages on extending say is run as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

import birthmark as bm
from birthmark.analysis.trends import MEASURED
from birthmark.errors import SpecError
from birthmark.figures import catalogue, draw_survey, register_figure
from birthmark.measurements import MEASUREMENTS

PAGE = Path(__file__).parent.parent / "docs/how-to/measurements-and-figures.md"


def test_a_measurement_and_a_figure_of_ones_own_stand_beside_the_others(
    tmp_path, monkeypatch, capsys, own_tables
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "FIGURES", dict(catalogue.FIGURES))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    space = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), space)
    assert "shares-digits.pdf" in capsys.readouterr().out
    store = bm.open_store("runs")
    key = space["grid"].specs[0].run_key
    start, end = (store.records(key).sel(layer="hidden2").isel(step=i) for i in (0, -1))
    assert start["largest_share"].values.tolist() == [0, 0]
    assert (end["largest_share"] > 1 / 256).all() and (end["largest_share"] < 1).all()
    with np.load(tmp_path / "figures" / "shares-digits.npz") as kept:
        np.testing.assert_allclose(kept["axis"], [0.03, 0.1, 0.3])
        np.testing.assert_array_equal(kept["shares"][0], end["largest_share"])
    trends = next(
        one
        for one in draw_survey(bm.read_survey(store)).drawings
        if one.name == "trends-digits"
    )
    assert "largest_share" in trends.data["names"]
    assert "share of the largest entry" in trends.data["labels"]


def test_a_name_of_a_figure_that_is_taken_is_refused():
    with pytest.raises(SpecError, match="there is a figure 'trends' already"):
        register_figure("trends", lambda family: [])


def test_what_counts_as_a_users_measurement_is_not_in_the_librarys_table():
    own = {
        name
        for name, one in MEASUREMENTS.items()
        if one.kind == "scalar" and not one.dims
    }
    assert own == MEASURED
