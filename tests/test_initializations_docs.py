"""The page on initializations has what the code has, and its examples run."""

import re
import runpy
import tomllib
from pathlib import Path

from birthmark.network import INITIALIZATIONS, draw_weights
from birthmark.spec import RunSpec

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "concepts" / "initializations.md").read_text()


def test_the_tables_of_the_page_are_those_of_the_code():
    """After a change: python tools/write_initializations.py."""
    fill = runpy.run_path(str(DOCS.parent / "tools" / "write_initializations.py"))[
        "fill"
    ]
    assert fill(PAGE) == PAGE
    for name in INITIALIZATIONS:
        assert f"| `{name}`" in PAGE


def test_the_python_of_the_page_runs():
    [program] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(program, "initializations.md", "exec"), {})


def test_the_spec_of_the_page_is_one():
    [text] = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    spec = RunSpec(data={"name": "digits"}, **tomllib.loads(text))
    weights = draw_weights(spec, 64, 10, replicas=[0])
    w = weights["hidden2"].w[0]
    assert abs((w.T @ w).diagonal() - 1.4**2).max() < 1e-5
