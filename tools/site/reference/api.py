"""What is promised in Python: the front door, what it returns, names of rooms."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import birthmark as bm
from reference.promised import FRAMEWORKS, ROOMS, USES

_INTRODUCTION = """# Python

```python
import birthmark as bm
```

Promised are the names on this page: what `import birthmark as bm` offers, what those
functions return, and [names of some rooms](#rooms).
A promised name goes only after a release in which it warns.
**Everything else is private**, whether it can be imported or not: other names of these
rooms, all other rooms (PRIVATE), and every file inside a room.
Nothing is loaded before it is used; what does not train, track or look into models
works without torch.
"""
_RETURNED = """## What they return

What these functions return is promised with them, attributes and methods.
"""
_ROOMS = """## Rooms

For what the front door has no name: `from birthmark.analysis import read_phases`.
"""


def names_of(program: str) -> list[str]:
    """The names of the front door that a program uses, in its order."""
    used = dict.fromkeys(re.findall(r"\bbm\.(\w+)", program))
    return [name for name in used if name in bm.__all__]


def returned() -> dict[str, list[str]]:
    """Classes of the library that functions of the front door return, by room."""
    found: dict[str, list[str]] = {}
    for name in bm.__all__:
        value = getattr(bm, name)
        if inspect.isfunction(value):
            said = str(inspect.signature(value).return_annotation)
            names = vars(import_module(value.__module__))
            for word in re.findall(r"\w+", said):
                home = getattr(names.get(word), "__module__", "").split(".")
                if home[0] == "birthmark" and word not in bm.__all__:
                    found.setdefault(home[1], []).append(word)
    return {room: [*dict.fromkeys(words)] for room, words in found.items()}


def beyond(room: str) -> list[str]:
    """What a room promises beside the front door and what that returns."""
    known = {*bm.__all__, *returned().get(room, ())}
    promised = getattr(import_module(f"birthmark.{room}"), "__all__", ())
    return [name for name in promised if name not in known]


def private_rooms() -> list[str]:
    """Rooms and files of the library of which nothing is promised."""
    top = Path(bm.__file__).parent
    rooms = {path.parent.name for path in top.glob("*/__init__.py")}
    files = {path.stem for path in top.glob("*.py") if not path.stem.startswith("_")}
    return sorted((rooms | files) - {*ROOMS, *returned(), "integrations"})


def write() -> str:
    """The page of all promised names, each from its docstring."""
    private = ", ".join(f"`{room}`" for room in private_rooms())
    lines = [_INTRODUCTION.replace("PRIVATE", private)]
    said: set[str] = set()
    for title, program in USES.items():
        lines += [f"## {title}\n", f"```python\n{program.strip()}\n```\n"]
        names = [name for name in names_of(program) if name not in said]
        lines += _say("bm", {name: getattr(bm, name) for name in names})
        said |= {*names}
    lines.append(_RETURNED)
    for room, words in returned().items():
        lines += _say_room(room, words)
    lines.append(_ROOMS)
    for room, use in ROOMS.items():
        lines += [f"## `birthmark.{room}`\n", f"{use}\n"]
        lines += _say_room(room, beyond(room))
    lines += ["## `birthmark.integrations`\n", f"{FRAMEWORKS}\n"]
    return "\n".join(lines)


def _say_room(room: str, names: list[str]) -> Iterator[str]:
    door = import_module(f"birthmark.{room}")
    yield from _say(f"birthmark.{room}", {name: getattr(door, name) for name in names})


def _say(prefix: str, values: dict[str, object]) -> Iterator[str]:
    """A heading and the docstring of each; of tables, the names in them."""
    for name, value in values.items():
        yield f"### `{prefix}.{name}`\n"
        address = f"{prefix.replace('bm', 'birthmark')}.{name}"
        if isinstance(value, type):
            yield f"```{{eval-rst}}\n.. autoclass:: {address}\n   :members:\n```\n"
        elif callable(value):
            yield f"```{{eval-rst}}\n.. autofunction:: {address}\n```\n"
        else:
            yield ", ".join(f"`{one}`" for one in value) + ".\n"
