"""The house: imports go down only, and heavy libraries stay in their rooms."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from birthmark import store

ROOT = Path(__file__).parent.parent
ROOMS = ROOT / "src" / "birthmark"
EXPERIMENTS = ROOT / "experiments" / "src" / "birthmark_experiments"
# which room may import which stands in pyproject.toml alone; import-linter holds it
ONLY_IN = {
    "torch": {
        "checkup",
        "network",
        "training",
        "measurements",
        "sweeps",
        "theory",
        "tracking",
        "weight_files",
        "experiments",
        "interventions",
        "integrations",
    },
    "matplotlib": {"figures"},
    "typer": {"cli"},
    "rich": {"cli"},
    "sklearn": {"data"},
    "pooch": {"data"},
    "pyarrow": {"store"},
    "safetensors": {"network", "store"},
    "h5py": {"weight_files"},
    "jinja2": {"report", "experiments"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
}


def room_of(path):
    if path.is_relative_to(EXPERIMENTS):
        return "experiments"
    return path.relative_to(ROOMS).parts[0].removesuffix(".py")


def imports_of(path):
    """Dotted modules and the names taken from them; imports for type checkers aside."""
    tree = ast.parse(path.read_text())
    checked = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    skipped = {id(inner) for node in checked for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            yield node.module or "", names, id(node) in skipped
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], id(node) in skipped


FRONT = {ROOMS / "__init__.py", ROOMS / "__main__.py"}
FILES = [path for path in ROOMS.rglob("*.py") if path not in FRONT] + [
    path for path in EXPERIMENTS.rglob("*.py") if not path.name.startswith("test_")
]


def find_trespasses(path):
    """Imports of a file that go past a door, or of what belongs to other rooms."""
    room = room_of(path)
    for module, names, for_types in imports_of(path):
        top, _, rest = module.partition(".")
        if top == "birthmark":
            other = rest.partition(".")[0]
            private = {name for name in names if name.startswith("_")}
            inside = room != "experiments"
            if inside and not other and set(names) - {"__version__"}:
                yield f"{module}: the front door is for the version alone"
            elif other != room and rest != other:
                yield f"{module}: past the door of {other}"
            elif other != room and private - {"__version__"}:
                yield f"{module}: {private}"
        elif top in ONLY_IN and not for_types and room not in ONLY_IN[top]:
            yield f"{module}: not in {room}"


def test_other_rooms_are_entered_by_their_doors_and_libraries_stay_in_theirs():
    found = {
        str(path.relative_to(ROOT)): trespasses
        for path in FILES
        if (trespasses := list(find_trespasses(path)))
    }
    assert not found


def test_the_picture_has_every_room_of_the_contract_in_its_order():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [contract] = [one for one in tool["contracts"] if one["type"] == "layers"]
    layers = [
        [room.strip().removeprefix("birthmark.") for room in layer.split("|")]
        for layer in contract["layers"]
        if layer != "birthmark_experiments"
    ]
    assert {room_of(path) for path in FILES} == set(sum(layers, start=[]))
    picture = (ROOT / "docs" / "internals.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", picture, flags=re.MULTILINE)
    drawn = {
        name: int(level)
        for level, names in rows
        for name in re.findall(r"`(\w+)(?:\.py|/)`", names)
    }
    levels = [{drawn[room] for room in layer} for layer in layers]
    assert all(len(one) == 1 for one in levels)
    numbers = [level for one in levels for level in one]
    assert numbers == sorted(numbers, reverse=True)


def test_import_linter_holds_the_same_rule():
    program = "from importlinter.cli import lint_imports_command as lint; lint()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_records_can_be_analysed_and_drawn_without_torch():
    program = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
import scipy.special  # which in old versions draws in sparse matrices by itself
drawn_in = {*sys.modules}
import birthmark.analysis, birthmark.figures, birthmark.report, birthmark.cli
import birthmark as bm
bm.open_store, bm.RunSpec, bm.draw_figures, bm.write_report
slow = {"scipy.stats", "scipy.signal", "scipy.sparse"} & ({*sys.modules} - drawn_in)
assert not slow, slow
import importlib, pkgutil
import birthmark_experiments.pages
for _, name, _ in pkgutil.walk_packages(
    birthmark_experiments.__path__, "birthmark_experiments."
):
    if name.endswith((".facts", ".figure")):
        importlib.import_module(name)
try:
    bm.train
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pip install 'birthmark[train]'" in done.stdout


def test_the_front_door_has_what_it_promises(monkeypatch):
    import birthmark

    monkeypatch.delattr(birthmark, "sweeps", raising=False)  # as before any use
    assert birthmark.sweeps.Processes(2).workers == 2
    for name in birthmark.__all__:
        assert getattr(birthmark, name) is not None
    with pytest.raises(AttributeError):
        _ = birthmark.no_such_thing


def test_all_that_a_store_loads_late_is_there():
    assert all(getattr(store, name) is not None for name in store._FILES)
