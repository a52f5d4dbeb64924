"""Try both wheels where neither torch nor the checkout is: sizes, commands, figures.

    python tools/try_wheels.py dist

makes an environment beside the wheels, installs them from the files, and uses them as
somebody would who reads and draws and never trains.
"""

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

LIBRARY_MB = 2.5  # at most
INSIDE = """
import importlib.util
import sys
from pathlib import Path

import typer

from birthmark import cli
from birthmark.cli.parser import make_parser

assert importlib.util.find_spec("torch") is None, "torch is here: nothing is shown"


def call(*arguments):
    sys.argv = ["birthmark", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)


def walk(command, words=()):
    call(*words, "--help")
    for name, inner in getattr(command, "commands", {}).items():
        walk(inner, (*words, name))


walk(typer.main.get_command(make_parser()))
call("experiment")
import birthmark as bm
from birthmark_experiments import experiment_names

for name in experiment_names():
    call("experiment", name, "--scale", "shipped", "--store", Path("drawn") / name)
    assert list((Path("drawn") / name).rglob("*.png")), name
call("reproduce", "--scale", "shipped", "--store", "paper")
assert Path("paper/report.html").stat().st_size > 100_000
assert list(Path("paper/figures").iterdir())
from birthmark.store import open_shipped

study = bm.Study  # the front door answers without torch
assert len(open_shipped("paper").runs()) >= 14
"""


def find_wheel(folder: Path, name: str) -> Path:
    """The newest wheel of a distribution."""
    return max(folder.glob(f"{name}-*.whl"), key=lambda path: path.stat().st_mtime)


def main() -> None:
    """Build an environment, and try."""
    folder = Path(sys.argv[1]).resolve()
    library = find_wheel(folder, "birthmark")
    experiments = find_wheel(folder, "birthmark_experiments")
    for wheel in (library, experiments):
        files = zipfile.ZipFile(wheel).namelist()
        size = wheel.stat().st_size / 1e6
        print(f"{wheel.name}: {size:.2f} MB, {len(files)} files")
        tests = [name for name in files if "/test_" in name]
        assert not tests, tests
    assert library.stat().st_size <= LIBRARY_MB * 1e6
    with tempfile.TemporaryDirectory(dir=folder) as place:
        venv.create(Path(place) / "venv", with_pip=True)
        python = str(Path(place) / "venv" / "bin" / "python")
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", str(library), str(experiments)], check=True)
        subprocess.run([python, "-c", INSIDE], cwd=place, check=True)
        subprocess.run(
            [*pip, "uninstall", "--yes", "birthmark-experiments"], check=True
        )
        command = [str(Path(python).parent / "birthmark"), "experiment"]
        for words in ([], ["depth"]):
            done = subprocess.run(
                [*command, *words], cwd=place, capture_output=True, text=True
            )
            assert done.returncode == 2, done
            assert "pip install birthmark-experiments" in done.stderr, done.stderr
    print("both wheels work without torch")


if __name__ == "__main__":
    main()
