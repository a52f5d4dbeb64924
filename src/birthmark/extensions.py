"""Rules and measurements of users' own, found where they are said to be.

A package says under the entry point `birthmark.extensions` which of its modules calls
`register_initialization` or `register_measurement`. Without a package the variable
BIRTHMARK_EXTENSIONS names modules or files, with commas between: processes that a sweep
starts, and other machines, find them in the same way.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import cache
from pathlib import Path

from birthmark.errors import SpecError

VARIABLE = "BIRTHMARK_EXTENSIONS"
_GROUP = "birthmark.extensions"
# what was registered, as `initialization laplace`, in that order: keys alone count
REGISTERED: dict[str, None] = {}


def load_extensions() -> None:
    """Import all extensions, each once.

    Raises:
        SpecError: One cannot be imported.
    """
    _load(os.environ.get(VARIABLE, ""))


def find_packaged(group: str) -> list[str]:
    """What installed packages name under an entry point.

    Their lists are read here, since loading `importlib.metadata` would take a third of
    the time in which the command line answers.
    """
    found = []
    for folder in sys.path:
        for path in Path(folder or ".").glob("*-info/entry_points.txt"):
            _, _, rest = path.read_text(encoding="utf-8").partition(f"[{group}]")
            lines = rest.partition("\n[")[0].splitlines()
            found += [line.partition("=")[2].strip() for line in lines if "=" in line]
    return found


@cache
def _load(named: str) -> None:
    packaged = find_packaged(_GROUP)
    own = [place.strip() for place in named.split(",") if place.strip()]
    for place in [*packaged, *own]:
        try:
            _import(place)
        except Exception as error:
            raise SpecError(
                f"extension {place!r} cannot be imported ({type(error).__name__}: "
                f"{error}): mend it, or take it out of {VARIABLE}"
            ) from error


def _import(place: str) -> None:
    if not place.endswith(".py"):
        importlib.import_module(place)
        return
    name = Path(place).stem
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None or not Path(place).exists():
        raise FileNotFoundError(f"no file {place}")
    if name not in sys.modules:
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
