"""Models and factories that a user names: `module:name` or `file.py:name`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def find_named(address: str) -> Any:
    """What the address names; modules are looked for in the current folder too.

    Raises:
        SpecError: The address has no such form, or it cannot be imported.
    """
    from birthmark.errors import SpecError

    place, _, name = address.rpartition(":")
    if not place or not name:
        raise SpecError(
            f"what is yours is named as module:name or file.py:name, got {address!r}"
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(_import(place), name)
    except Exception as error:
        kind = type(error).__name__
        raise SpecError(f"cannot load {address}: {kind}: {error}") from error
    finally:
        sys.path.remove(str(Path.cwd()))


def is_address(text: str) -> bool:
    """Whether it names something of a user's own, and nothing of ours."""
    return ":" in text


def cannot_make(address: str, error: Exception) -> Exception:
    """What a user's own code raised, as one line."""
    from birthmark.errors import SpecError

    kind = type(error).__name__
    return SpecError(f"cannot make a model from {address}: {kind}: {error}")


def _import(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {place}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    return module
