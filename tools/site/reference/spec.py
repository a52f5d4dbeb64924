"""The spec, field by field, and the grid."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from birthmark.data import list_datasets
from birthmark.network import INITIALIZATIONS
from birthmark.spec import RunSpec
from birthmark.sweeps import cells, expressions
from birthmark.training import LOSSES
from reference.tables import say_table

_BOUNDS = {"Ge": "at least", "Gt": "above", "Le": "at most", "Lt": "below"}
_NAMES = {
    "data.name": [one.name for one in list_datasets()],
    "training.loss": LOSSES,
}
_OPERATORS = "+ - * / // % ** == != < <= > >="
_INTRODUCTION = """# The spec, field by field

A spec describes a run, as TOML or as `bm.RunSpec(...)`.
Defaults are the paper's protocol; only `data.name` has none.
Unknown keys and values out of range are refused, with the line, before any work.
`birthmark run spec.toml --set training.lr=0.05` overrides a key, and a [grid](grid.md)
varies any of them.

Every field enters the run key.
A field that came after the first release does not while it says what was so before, so
old runs keep their names.
"""


def write_spec() -> str:
    """The page of all tables of a spec."""
    lines = [_INTRODUCTION]
    for name, field in RunSpec.model_fields.items():
        table = _model_of(field)
        if name == "initialization":
            lines += _initialization(table)
            continue
        lines += _table(
            name, table, optional=not field.is_required() and name == "mark"
        )
    return "\n".join(lines)


def _table(name: str, table: type[BaseModel], *, optional: bool) -> Iterator[str]:
    yield f"## `[{name}]`\n"
    yield f"{_to_markdown(table)}\n"
    if optional:
        yield "Without this table there is none.\n"
    said = field_docs(table)
    rows, inner = [], []
    for key, field in table.model_fields.items():
        part = _model_of(field)
        if part is not None:
            inner.append((f"{name}.{key}", part))
            continue
        known = _NAMES.get(f"{name}.{key}", ())
        text = said[key] + (f" One of {_listed(known)}." if known else "")
        rows.append([f"`{key}`", _say_type(field), _say_default(field), text])
    yield from say_table(["key", "takes", "default", "meaning"], rows)
    for dotted, part in inner:
        yield from _table(dotted, part, optional=False)


def _initialization(table: type[BaseModel]) -> Iterator[str]:
    yield "## `[initialization]`\n"
    yield f"{_to_markdown(table)}\n"
    rows = [
        ["`name`", "a rule", "`glorot_uniform`", "By which weights are drawn."],
        ["any other key", "number or text", "", "A parameter of the rule."],
        ["`bias`", "a table", "`zeros`", "The rule of biases: `name` and parameters."],
        [
            "`layers.LAYER`",
            "a table",
            "",
            "Another rule for one layer or a pattern (`hidden*`), with its own `bias`.",
        ],
    ]
    yield from say_table(["key", "takes", "default", "meaning"], rows)
    yield f"Rules: {_listed(INITIALIZATIONS)}.\n"
    yield "What each is, with formula, source and other names: "
    "[initializations](../concepts/initializations.md).\n"


def field_docs(table: type[BaseModel]) -> dict[str, str]:
    """What stands under each field in the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(table)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: " ".join(said.value.value.split())
        for field, said in zip(body, body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
    }


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    for one in (field.annotation, *getattr(field.annotation, "__args__", ())):
        if inspect.isclass(one) and issubclass(one, BaseModel):
            return one
    return None


def _say_type(field: FieldInfo) -> str:
    """A type in words: `a whole number, at least 1`."""
    text = _in_words(field.annotation)
    bounds = [_say_bound(one) for one in field.metadata]
    return ", ".join([text, *filter(None, bounds)])


def _in_words(kind: object) -> str:
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if kind in words:
        return words[kind]  # type: ignore[index]
    inner = [one for one in getattr(kind, "__args__", ()) if one is not type(None)]
    name = getattr(kind, "__origin__", None)
    if "Literal" in repr(name):
        return _listed(inner)
    if name is tuple and Ellipsis not in inner:
        return f"{len(inner)} of: {_in_words(inner[0])}"
    if name is tuple:
        return f"list of {_in_words(inner[0])}".replace("number", "numbers")
    if hasattr(kind, "__metadata__"):
        bounds = [_say_bound(one) for one in kind.__metadata__]
        text = _in_words(kind.__origin__)  # type: ignore[attr-defined]
        return ", ".join([text, *filter(None, bounds)])
    return ", or ".join(_in_words(one) for one in inner)


def _say_bound(one: object) -> str:
    """A bound that somebody could meet; those far beyond any use are left out."""
    if isinstance(one, FieldInfo):
        return ", ".join(filter(None, map(_say_bound, one.metadata)))
    word = _BOUNDS.get(type(one).__name__)
    if word is None:
        return ""
    value = getattr(one, type(one).__name__.lower())
    return f"{word} {value:g}" if abs(value) < 1e6 else ""


def _say_default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.default
    if value is None:
        return "(none)"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _listed(names: object) -> str:
    return ", ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]


def _to_markdown(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def write_grid() -> str:
    """The page of what a grid may say."""
    doc = inspect.getdoc(cells) or ""
    example = textwrap.dedent(
        re.search(r"\n\n((?:    .*\n|\n)+)", doc).group(1)  # type: ignore[union-attr]
    ).strip()
    operators = " ".join(f"`{one}`" for one in _OPERATORS.split())
    return "\n".join(
        [
            "# The grid",
            "",
            "A grid is a file for `birthmark sweep`, or `bm.Grid.over(...)` in Python:",
            "one spec, and what is varied of it.",
            "`[spec]` holds the tables of a [spec](spec.md) that all runs share.",
            f"`[grid]` knows {_listed(cells.KEYS)}.",
            "",
            "```toml",
            "[spec.data]",
            'name = "digits"',
            "",
            example,
            "```",
            "",
            "Product, zip and list are multiplied with each other, the last key of the "
            "product fastest.",
            "What is derived may be used by what is derived after it and by `where`.",
            "",
            "## Expressions",
            "",
            "A field goes by its dotted name, or by its last part where that is "
            "unique.",
            f"Operators: {operators}, `and`, `or`, `not`, `in`, `a if b else c`, "
            "places in lists (`widths[0]`).",
            f"Functions: {_listed(expressions.FUNCTIONS)}.",
            "Nothing else is evaluated.",
            "",
            "How to use it: [sweep over any fields](../how-to/sweeps.md).",
            "",
        ]
    )
