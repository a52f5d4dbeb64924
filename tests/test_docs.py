"""What the README and the docs say is run, not believed."""

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

import birthmark as bm
from birthmark.cli.parser import make_parser
from birthmark.measurements import MEASUREMENTS
from birthmark.spec import RunSpec
from birthmark.sweeps import Grid

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *ROOT.glob("docs/**/*.md"),
]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)
# what a page takes for granted, as the reader has it
GIVEN = """
import torch
from torch.nn import Linear, ReLU, Sequential
model = Sequential(Linear(8, 16), ReLU(), Linear(16, 3))
make_model = lambda: model
batch = x, y = torch.randn(32, 8), torch.randint(3, (32,))
"""
# run by tests of their own; of Keras; and a loop whose middle is left to the reader
ELSEWHERE = {
    "extend.md",
    "measurements-and-figures.md",
    "initializations.md",
    "keras.md",
}


def blocks(page, language):
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def pages_with(*languages):
    return [page for page in PAGES if any(blocks(page, one) for one in languages)]


def say(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page",
    [page for page in pages_with("python") if page.name not in ELSEWHERE],
    ids=say,
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = {"__name__": page.stem}
    exec(GIVEN, space)
    for program in blocks(page, "python"):
        exec(compile(program, str(page), "exec"), space)
    if isinstance(space.get("tracker"), bm.Tracker):
        space["tracker"].close()


@pytest.mark.parametrize("page", pages_with("toml"), ids=say)
def test_the_toml_of_a_page_is_a_spec_or_a_grid(page):
    for text in blocks(page, "toml"):
        tables = tomllib.loads(text)
        if "grid" in tables:
            spec = {"data": {"name": "digits"}} | tables.get("spec", {})
            assert len(Grid.from_tables(tables | {"spec": spec})) > 1
        else:
            RunSpec(**{"data": {"name": "digits"}} | tables)


def test_the_spec_on_the_page_of_runs_states_the_defaults():
    [text] = blocks(ROOT / "docs/how-to/run.md", "toml")
    assert RunSpec(**tomllib.loads(text)).twin == RunSpec(data={"name": "hasyv2"})


@pytest.mark.parametrize("page", pages_with("sh"), ids=say)
def test_the_commands_of_a_page_are_commands_with_their_options(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if "birthmark" in words:
            parse(words[words.index("birthmark") + 1 :])
        if words[:1] == ["make"]:
            assert words[1] in targets, line


def parse(words):
    """As the command line does, which refuses what it does not know."""
    if words == ["--version"]:
        return
    command = typer.main.get_command(make_parser())
    while hasattr(command, "commands"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    command.make_context("birthmark", list(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        made = "/reference/" in f"/{target}" or "tutorials/" in target
        if not target.startswith("http") and not made:
            assert (page.parent / target).exists(), target


def test_names_in_the_docs_are_names_of_measurements():
    doors = {"measure", "replica", "parameter", "named_parameters"}
    doors |= {"bin_edge", "current_bin_edge"}
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
    promises, _, _ = page.partition("## Attacked")
    rows = [line for line in promises.splitlines() if line.startswith("| ")]
    said = [row for row in rows if "held by" not in row]
    assert all("`tests/" in row for row in said), "a promise without a test"


# rooms; of integrations each file is promised
ROOM_NAMES = sorted(
    {path.parent.name for path in ROOT.glob("src/birthmark/*/__init__.py")}
    - {"integrations"}
)


def promises_of(room):
    return {*getattr(importlib.import_module(f"birthmark.{room}"), "__all__", ())}


@pytest.fixture
def reference(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "site"))
    return importlib.import_module("reference.api")


def test_every_name_of_the_front_door_has_a_use_that_runs(
    reference, own_tables, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "promised", "bm": bm}
    for title, program in reference.USES.items():
        exec(compile(program, title, "exec"), space)
    assert [one.status for one in space["outcomes"]] == ["done", "done"]
    used = {name for one in reference.USES.values() for name in reference.names_of(one)}
    assert {*bm.__all__} - {"__version__"} == used


def test_what_docs_and_examples_take_from_a_room_is_promised(reference):
    texts = [page.read_text() for page in PAGES if page.name != "internals.md"]
    texts += [page.read_text() for page in ROOT.glob("examples/**/*.py")]
    texts += [*reference.USES.values()]
    promised = {room: promises_of(room) for room in ROOM_NAMES}
    listed = r"from birthmark\.(\w+) import (\((?:[^)]+)\)|.+)"
    taken = [
        (room, name)
        for text in texts
        for room, names in re.findall(listed, text)
        for name in re.findall(r"\w+", names)
    ]
    taken += re.findall(r"\b(?:bm|birthmark)\.(\w+)\.(\w+)", "\n".join(texts))
    private = [
        f"{room}.{name}"
        for room, name in taken
        if room in promised and name not in promised[room] | {*bm.__all__}
    ]
    assert not private
    assert len(taken) > 20


def test_the_page_of_promises_has_each_name_once_and_says_what_is_private(reference):
    page = reference.write()
    headings = re.findall(r"^### `(.+)`$", page, flags=re.MULTILINE)
    assert len(headings) == len({*headings})
    assert {f"bm.{name}" for name in bm.__all__} - {"bm.__version__"} <= {*headings}
    for room in ROOM_NAMES:
        door = importlib.import_module(f"birthmark.{room}")
        others = promises_of(room) - {*bm.__all__}
        assert {f"birthmark.{room}.{name}" for name in others} <= {*headings}
        assert bool(reference.beyond(room)) == (room in reference.ROOMS)
        for value in (getattr(door, name) for name in others):
            assert value.__doc__ or not callable(value), value
    of_shapes = {f"birthmark.shapes.{name}" for name in reference.returned()["shapes"]}
    assert of_shapes <= {*headings}
    said = page.partition("## ")[0]
    for room in ("theory", "seeds"):
        assert f"`{room}`" in said


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/how-to/*.md")))
def test_every_how_to_stands_in_the_table_from_which_the_menu_is_made(page):
    table = (page.parent / "index.md").read_text()
    assert page.name == "index.md" or f"]({page.name})" in table
