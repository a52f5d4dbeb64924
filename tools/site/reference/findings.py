"""Names of findings, read from where they are made."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import birthmark
from reference.tables import say_table

_ROOT = Path(birthmark.__file__).parent
_ROOMS = {
    "checkup": (
        "The check-up: `birthmark check`, `bm.check`",
        "`--ignore NAME` leaves one out, `--ignore NAME:TENSOR` for one tensor. "
        "Where the lines come from: [the check-up](../concepts/check-up.md).",
    ),
    "weight_files": (
        "Two checkpoints: `birthmark diff`, `bm.diff`",
        "How to read them: [compare two checkpoints](../how-to/diff.md).",
    ),
    "analysis": (
        "A store: `birthmark report`, `bm.find_findings`",
        "They stand at the top of a report; with each come interval and n.",
    ),
}
_LEVELS = ("error", "warning", "note", "good", "info")


@dataclass(frozen=True)
class Made:
    """A place that makes a finding."""

    name: str
    levels: tuple[str, ...]
    what: str
    why: str
    advice: str


def write() -> str:
    """The page of all names of findings, by who says them."""
    lines = [
        "# Findings\n",
        "A finding has a name for programs, a level, and in words what was found, why "
        "it matters and what to do.",
        "A **note** is a fact that may be wanted, a **warning** is worth a change, an "
        "**error** will not train; **info** and **good** state a result.",
        "What stands in angle quotes is filled in from your model.\n",
    ]
    for room, (title, text) in _ROOMS.items():
        lines += [f"## {title}\n", f"{text}\n"]
        rows = [
            [
                f"`{one.name}`",
                ", ".join(one.levels),
                one.what,
                f"{one.why} {one.advice}",
            ]
            for one in find_made(_ROOT / room)
        ]
        head = ["name", "level", "what it says", "why it matters, and what to do"]
        lines += say_table(head, rows)
    return "\n".join(lines)


def find_made(room: Path) -> list[Made]:
    """What the files of a room make, by name; the same name from two places is one."""
    found: dict[str, Made] = {}
    for path in sorted(room.glob("*.py")):
        for call in _calls(ast.parse(path.read_text())):
            given = {key.arg: key.value for key in call.keywords if key.arg}
            levels = _constants(given["level"]) if "level" in given else ["info"]
            texts = [_say(given[key]) if key in given else "" for key in _TEXTS]
            for name in _constants(given.get("name")):
                known = found.get(name)
                both = {*levels, *(known.levels if known else ())}
                ordered = tuple(level for level in _LEVELS if level in both)
                first = [known.what, known.why, known.advice] if known else texts
                found[name] = Made(name, ordered, *first)
    return [found[name] for name in sorted(found)]


_TEXTS = ("what", "why", "advice")


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            yield node


def _constants(node: ast.AST | None) -> list[str]:
    """Every text that a name or a level may be."""
    if node is None:
        return []
    if isinstance(node, ast.IfExp):
        return [*_constants(node.body), *_constants(node.orelse)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        return [node.value]
    return []


def _say(node: ast.AST) -> str:
    """A text, with what is computed in angle quotes."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_say, values))
        case ast.FormattedValue(value=ast.Name(id=name)):
            return f"‹{name.replace('_', ' ')}›"
        case ast.FormattedValue():
            return "‹...›"
        case ast.BinOp(left=left, right=right):
            return _say(left) + _say(right)
        case ast.IfExp(body=body, orelse=other):
            return _say(body) or _say(other)
        case _:
            return "‹...›"
