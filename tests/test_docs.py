"""What the README and the docs say is run, not believed."""

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

import birthmark as bm
from birthmark import cli
from birthmark.measurements import MEASUREMENTS
from birthmark.spec import RunSpec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("place", "said"), [(0, "the start"), (1, "20 ")], ids=["track", "train"]
)
def test_the_python_of_the_readme_runs(place, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program = blocks("python")[place]
    exec(compile(program, "README.md", "exec"), {})
    assert said in capsys.readouterr().out
    assert len(bm.open_store("runs").runs()) == 1


def test_the_spec_of_the_readme_is_one_and_states_the_defaults():
    [text] = blocks("toml")
    tables = tomllib.loads(text)
    spec = RunSpec(**tables)
    assert spec.twin == RunSpec(data={"name": "hasyv2"})


@pytest.mark.parametrize(
    "line",
    [
        line
        for block in blocks("sh")
        for line in block.splitlines()
        if "birthmark" in line
    ],
)
def test_the_commands_of_the_readme_exist_with_their_options(line, monkeypatch, capsys):
    command = shlex.split(line, comments=True)[1:]
    words = [word for word in command if not word.startswith("-")]
    depth = 2 if words[0] == "data" else 1
    monkeypatch.setattr(sys, "argv", ["birthmark", *words[:depth], "--help"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    text = capsys.readouterr().out
    for option in (word for word in command if word.startswith("--")):
        assert option in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_names_in_the_docs_are_names_of_measurements():
    doors = {"measure", "replica", "parameter", "named_parameters"}
    known = {*MEASUREMENTS, "conditional_*", *doors}
    text = (ROOT / "docs" / "concepts" / "deviation.md").read_text()
    named = set(re.findall(r"`([a-z_*]+)`", text))
    assert named <= known
    assert len(named) > 15


def test_each_promise_names_a_test_that_there_is():
    page = (ROOT / "docs/concepts/promises.md").read_text()
    named = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 30
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), (file, name)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    said = [row for row in rows if "held by" not in row]
    assert all("`tests/" in row for row in said), "a promise without a test"
