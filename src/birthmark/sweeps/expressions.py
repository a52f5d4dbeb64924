"""Arithmetic over the fields of a run, as grids write it: `0.1 * 128 / widths[0]`.

A field goes by its dotted name or by its last part, where that is unique. There are
numbers, lists, comparisons, `and`, `or`, `not`, `if ... else`, and the functions below;
nothing else is evaluated.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from birthmark.errors import SpecError, unknown_name

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in ("sqrt", "log", "log2", "log10", "exp")},
    **{f.__name__: f for f in (abs, min, max, sum, len, round, int, float)},
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_MOST = 1e6  # an exponent or a repeated list beyond it is no use of anybody's


def evaluate(text: str, fields: Mapping[str, Any]) -> Any:
    """The value of an expression.

    Raises:
        SpecError: It is none, names no field, or has no value.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise SpecError(f"{text!r} is no expression: {error}") from error
    try:
        return _value(tree, fields)
    except SpecError as error:
        raise SpecError(f"in {text!r}: {error}") from error
    except (ArithmeticError, TypeError, ValueError, LookupError) as error:
        reason = str(error.args[-1]) if error.args else type(error).__name__
        raise SpecError(f"{text!r} has no value: {reason.lower()}") from error


def _value(node: ast.AST, fields: Mapping[str, Any]) -> Any:
    def value(inner: ast.AST) -> Any:
        return _value(inner, fields)

    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [value(one) for one in node.elts]
        case ast.Name() | ast.Attribute():
            return _find(ast.unparse(node), fields)
        case ast.Subscript():
            return value(node.value)[value(node.slice)]
        case ast.BinOp():
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Pow | ast.Mult):
                _check_size(left, right)
            return _known(node.op)(left, right)
        case ast.UnaryOp():
            return _known(node.op)(value(node.operand))
        case ast.BoolOp():
            of_all = isinstance(node.op, ast.And)
            return (all if of_all else any)(value(one) for one in node.values)
        case ast.Compare():
            values = [value(one) for one in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return all(_known(op)(*map(_listed, ends)) for op, *ends in pairs)
        case ast.IfExp():
            return value(node.body if value(node.test) else node.orelse)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(value(one) for one in node.args))
    raise SpecError(
        f"{ast.unparse(node)!r} is not allowed: there are arithmetic, comparisons and "
        f"{', '.join(FUNCTIONS)}"
    )


def _known(op: ast.AST) -> Callable[..., Any]:
    if type(op) not in _OPERATORS:
        raise SpecError(f"the operator {type(op).__name__} is not allowed")
    return _OPERATORS[type(op)]


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_size(left: Any, right: Any) -> None:
    for value in (left, right):
        if isinstance(value, list | str) or abs(value) > _MOST:
            raise SpecError(f"{value!r} is beyond what is computed here")


def _find(name: str, fields: Mapping[str, Any]) -> Any:
    if name in fields:
        return fields[name]
    found = [key for key in fields if key.endswith(f".{name}")]
    if len(found) > 1:
        raise SpecError(f"{name!r} could be {' or '.join(found)}: name one")
    if not found:
        last_parts = {key.rpartition(".")[2] for key in fields}
        raise unknown_name("field", name, [*fields, *last_parts])
    return fields[found[0]]
