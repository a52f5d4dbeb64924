"""One of the examples runs in `make test`; `make examples` runs all."""

import runpy
from pathlib import Path

import pytest

import birthmark as bm

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_first_example_says_what_is_left_of_the_start(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    space = runpy.run_path(str(EXAMPLES / "plain_loop.py"), run_name="__main__")
    model, records = space["model"], space["records"]
    said = capsys.readouterr().out
    assert "start left" in said
    assert records.sizes["parameter"] == len(list(model.parameters()))
    assert bm.open_store("runs").runs().state.tolist() == ["done"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda p: p.stem)
def test_each_example_begins_with_a_title(path):
    first, line, *_ = path.read_text().splitlines()
    assert first.startswith('"""')
    assert line.strip("=") == ""
    assert len(line) >= len(first) - 3
