"""The experiment of the docs is complete: it trains, goes on, and is drawn."""

import re
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from birthmark.store import open_store
from birthmark_experiments import frame

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "extend.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        if named := re.match(r"# (my_questions/\S+\.py)\n", block):
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_questions")]:
        del sys.modules[name]


def test_the_experiment_of_the_docs_runs(folder, capsys):
    [program] = [
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if not block.startswith("#")
    ]
    scope = {}
    exec(compile(program, str(PAGE), "exec"), scope)
    facts = scope["EXPERIMENT"].summarize(scope["results"])
    assert set(facts.moved) == {32, 128}
    for size, found in facts.moved.items():
        values = scope["results"]["moved"].sel(size=size)
        assert_allclose(found["mean"], values.mean(), rtol=1e-6)
        assert found["low"] < found["mean"] < found["high"]
    # more steps in an epoch, further from the start
    assert facts.moved[32]["mean"] > facts.moved[128]["mean"]
    assert list((folder / "batch-size" / "figures").glob("*.png"))
    before = len(open_store(folder / "batch-size" / "store").runs())
    again = frame.run_experiment(scope["EXPERIMENT"], "batch-size", scale="quick")
    assert again.identical(scope["results"])
    assert len(open_store(folder / "batch-size" / "store").runs()) == before == 2
