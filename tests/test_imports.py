"""The house: imports go down only, and heavy libraries stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = Path(__file__).parent.parent / "src" / "birthmark"
WORDS = {"errors", "shapes", "spec", "seeds"}
MAY_IMPORT = {
    "errors": set(),
    "experiments": {"errors"},
    "shapes": {"errors"},
    "spec": {"errors", "shapes"},
    "seeds": {"errors", "shapes", "spec"},
    "data": WORDS,
    "network": WORDS,
    "training": WORDS | {"data", "network"},
    "measurements": WORDS,
    "statistics": WORDS,
    "store": WORDS | {"experiments"},
    "checkup": WORDS | {"network", "measurements"},
    "tracking": WORDS | {"network", "measurements", "store"},
    "sweeps": WORDS
    | {"data", "network", "training", "measurements", "checkup", "store", "tracking"},
    "analysis": WORDS | {"statistics", "store"},
    "comparison": WORDS | {"data", "store", "sweeps", "analysis"},
    "figures": WORDS | {"statistics", "store", "analysis", "interventions"},
    "report": WORDS
    | {"checkup", "statistics", "store", "analysis", "figures", "weight_files"},
    "interventions": WORDS | {"measurements"},
    "weight_files": WORDS | {"checkup", "measurements", "store"},
    "explorer": WORDS | {"data"},
    "serve": WORDS | {"statistics", "store", "analysis"},
    "cli": WORDS
    | {"checkup", "data", "store", "sweeps", "analysis", "comparison"}
    | {"experiments", "figures", "report", "explorer", "serve"}
    | {"weight_files"},
}
ONLY_IN = {
    "torch": {
        "checkup",
        "network",
        "training",
        "measurements",
        "sweeps",
        "tracking",
        "weight_files",
        "interventions",
    },
    "matplotlib": {"figures"},
    "typer": {"cli"},
    "rich": {"cli"},
    "sklearn": {"data"},
    "pooch": {"data"},
    "pyarrow": {"store"},
    "safetensors": {"network", "store"},
    "h5py": {"weight_files"},
    "ruptures": {"statistics"},
    "jinja2": {"report"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
}


def room_of(path):
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
FILES = [path for path in ROOMS.rglob("*.py") if path not in FRONT]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOMS)))
def test_a_file_imports_only_what_its_room_may(path):
    room = room_of(path)
    for module, names, for_types in imports_of(path):
        top, _, rest = module.partition(".")
        if top == "birthmark":
            other = rest.partition(".")[0]
            if not other:  # the front door, for the version alone
                assert set(names) <= {"__version__"}
            elif other != room:
                assert other in MAY_IMPORT[room], f"{room} imports {module}"
                assert rest == other, f"{room} goes past the door of {other}"
            private = [name for name in names if name.startswith("_")]
            assert other == room or not set(private) - {"__version__"}
        elif top in ONLY_IN and not for_types:
            assert room in ONLY_IN[top], f"{room} imports {top}"


def test_every_room_is_in_the_picture():
    rooms = {room_of(path) for path in FILES}
    assert rooms == set(MAY_IMPORT)
    picture = (ROOMS.parent.parent / "docs" / "internals.md").read_text()
    for room in rooms:
        assert f"`{room}/`" in picture or f"`{room}.py`" in picture


def test_import_linter_holds_the_same_rule():
    program = "from importlinter.cli import lint_imports_command as lint; lint()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOMS.parent.parent,
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
import birthmark.analysis, birthmark.figures, birthmark.report, birthmark.cli
import birthmark as bm
bm.open_store, bm.RunSpec, bm.draw_figures, bm.write_report
try:
    bm.train
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pip install 'birthmark[train]'" in done.stdout


def test_the_front_door_has_what_it_promises():
    import birthmark

    for name in birthmark.__all__:
        assert getattr(birthmark, name) is not None
    assert len(birthmark.__all__) <= 40
    with pytest.raises(AttributeError):
        _ = birthmark.no_such_thing
