"""A rule and a measurement of one's own, from a file, on the command line."""

import pytest

import birthmark as bm
from birthmark import extensions

OWN = """
import birthmark as bm
from birthmark.network import INITIALIZATIONS

def doubled(target, *, factor: float = 2.0):
    return INITIALIZATIONS["uniform"](target, low=-factor / 10, high=factor / 10)

def largest_share(pair):
    squares_RN = pair.deviation_RN.square()
    return squares_RN.amax(1) / squares_RN.sum(1)

bm.register_initialization(doubled)
bm.register_measurement(largest_share, long_name="share of the largest entry")
"""
SPEC = """
[data]
name = "digits"
examples_per_class = 5
[network]
widths = [8]
[initialization]
name = "doubled"
factor = 3.0
[training]
epochs = 2
[run]
replicas = 1
"""


@pytest.fixture
def own(tmp_path, monkeypatch, own_tables):
    path = tmp_path / "own_rules.py"
    path.write_text(OWN)
    monkeypatch.setenv(extensions.VARIABLE, str(path))
    return path


def test_they_work_in_a_spec_and_stand_in_records_and_help(own, tmp_path, birthmark):
    (tmp_path / "run.toml").write_text(SPEC)
    status, _, error = birthmark(
        "run", tmp_path / "run.toml", "--store", tmp_path / "s"
    )
    assert status == 0, error
    store = bm.open_store(tmp_path / "s")
    (key,) = store.runs()["run_key"]
    records = store.records(key)
    assert float(records.largest_share.isel(step=-1, layer=0).item()) > 0
    assert records.bound.max() == pytest.approx(0.3)
    status, text, _ = birthmark("--help")
    assert (status, "largest_share" in text) == (0, True)


def test_one_that_cannot_be_imported_is_refused_in_one_line(
    tmp_path, monkeypatch, birthmark
):
    monkeypatch.setenv(extensions.VARIABLE, str(tmp_path / "nowhere.py"))
    status, _, error = birthmark("status", "--store", tmp_path)
    assert status == 2
    assert "nowhere.py" in error
    assert len(error.strip().splitlines()) == 1
