"""Along which field runs differ, how it was varied, and how its values are said."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from birthmark.errors import SpecError
from birthmark.shapes import Array

Value = float | int | str  # of a field of a run; 'none' where a run has no such field
Scale = Literal["linear", "log", "category"]
NONE = "none"

# noun and unit, in the order in which they are taken where runs differ in several
_FIELDS: dict[str, tuple[str, str]] = {
    "width": ("width", "units"),
    "depth": ("depth", "hidden layers"),
    "training.lr": ("learning rate", ""),
    "training.batch_size": ("batch size", "examples"),
    "initialization": ("initialization", ""),
    "training.loss": ("loss", ""),
    "network.activation": ("activation", ""),
    "network.widths": ("widths", "units"),
    "training.optimizer": ("optimizer", ""),
    "training.momentum": ("momentum", ""),
    "training.weight_decay": ("weight decay", ""),
    "training.eps": ("eps of the clip", ""),
    "training.shuffle_buffer": ("buffer of shuffling", "examples"),
    "network.dropout": ("dropout", ""),
    "data.name": ("data set", ""),
    "data.examples_per_class": ("examples per class", ""),
}
_ALIASES = {
    "widths": "width",
    "network.widths": "width",
    "layers": "depth",
    "init": "initialization",
    "initialization.name": "initialization",
}


@dataclass(frozen=True)
class Axis:
    """A field of runs with its values in their order."""

    field: str  # dotted, as `training.lr`; `width` and `depth` for `network.widths`
    values: tuple[Value, ...]
    along: tuple[str, ...] = ()  # fields that change with it, and so are not held fixed

    @property
    def noun(self) -> str:
        """What the field is called: `learning rate`."""
        return name_field(self.field)

    @property
    def label(self) -> str:
        """For the axis of a figure: `width (units)`, `width (with learning rate)`."""
        unit = _FIELDS.get(_known(self.field), ("", ""))[1]
        others = [name_field(field) for field in self.along]
        inside = ", ".join([unit] * bool(unit) + [f"with {one}" for one in others])
        return f"{self.noun} ({inside})" if inside else self.noun

    @cached_property
    def scale(self) -> Scale:
        """`log` where neighbours differ by factors rather than by steps.

        Zeros may stand beside numbers that go by factors: no momentum, no decay.
        """
        return choose_scale(self.values)

    @cached_property
    def places(self) -> Array:
        """Where the values lie on the axis: their logarithms on a log scale, [A]."""
        return place_values(self.values, self.scale)

    def among(self, values: Sequence[Value]) -> Axis:
        """The same axis with those values alone."""
        kept = set(values)
        return replace(self, values=tuple(one for one in self.values if one in kept))

    @property
    def is_number(self) -> bool:
        """Whether a law may be fitted along it."""
        return self.scale != "category"

    def text(self, value: Value) -> str:
        """A value as it stands at a tick: `0.1`, `he_normal`."""
        return say_value(value)

    def say(self, *values: Value) -> str:
        """Values in a sentence: `width 8 and 16`, `initialization he_normal`."""
        words = [self.text(value) for value in values]
        listed = ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]
        return f"{self.noun} {listed}"


def choose_scale(values: Sequence[Value]) -> Scale:
    """How values were varied: by steps, by factors, or they are no numbers."""
    if not values or any(isinstance(value, str) for value in values):
        return "category"
    every = np.sort(np.array(values, dtype=float))
    x = every[1:] if every[0] == 0 else every
    if len(x) < 2 or x[0] <= 0:
        return "linear"
    if len(x) == 2:  # of two, any scale is even
        return "log" if x[1] / x[0] >= (1.4 if len(every) == 2 else 3) else "linear"
    by_factors, by_steps = np.diff(np.log(x)), np.diff(every)
    return "log" if _unevenness(by_factors) < _unevenness(by_steps) else "linear"


def place_values(values: Sequence[Value], scale: Scale) -> Array:
    """Where values lie; on a log scale a zero lies one step left of the least."""
    if scale == "category":
        return np.arange(len(values), dtype=float)
    x = np.array(values, dtype=float)
    if scale == "linear":
        return x
    logs = np.log(np.where(x > 0, x, np.nan))
    gaps = np.diff(np.sort(logs[np.isfinite(logs)]))
    step = float(np.median(gaps)) if len(gaps) else 1.0
    return np.asarray(np.where(x > 0, logs, np.nanmin(logs) - step))


def order_values(values: Sequence[Value]) -> tuple[Value, ...]:
    """The different values: numbers rising, then words, `none` last."""
    numbers = {value for value in values if not isinstance(value, str)}
    words = {value for value in values if isinstance(value, str)}
    return (*sorted(numbers), *sorted(words - {NONE}), *(words & {NONE}))


def say_value(value: Value) -> str:
    """A value without an exponent where that is short; whole numbers as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e6):
        return str(int(value))
    return f"{value:g}"


def name_field(field: str) -> str:
    """The noun of a field; of one without its own, the last part of its name."""
    if _known(field) in _FIELDS:
        return _FIELDS[_known(field)][0]
    return field.removesuffix(".name").rpartition(".")[2].replace("_", " ")


def rank_field(field: str) -> int:
    """The place of a field among those that are taken as an axis, the first 0."""
    names = list(_FIELDS)
    return names.index(_known(field)) if _known(field) in names else len(names)


def _known(field: str) -> str:
    """The field of a spec that one of a user's own is called like: `optimizer.lr`."""
    last = field.rpartition(".")[2]
    alike = (one for one in _FIELDS if one.rpartition(".")[2] == last)
    return field if field in _FIELDS or last == "name" else next(alike, field)


def find_field(name: str, fields: Sequence[str]) -> str:
    """The field that a user names: whole, by its last part, or by its noun.

    Raises:
        SpecError: None or several are meant.
    """
    for wanted in (name, _ALIASES.get(name, name)):
        if wanted in fields:
            return wanted
        said = [field for field in fields if name_field(field) == wanted]
        found = said or [field for field in fields if field.endswith(f".{wanted}")]
        if len(found) == 1:
            return found[0]
        if found:
            raise SpecError(f"axis {name!r} could mean {' or '.join(found)}: name one")
    near = difflib.get_close_matches(name, [*fields, *map(name_field, fields)], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
    raise SpecError(f"unknown axis {name!r}: {hint}")


def unify_fields(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Value]]:
    """The fields of runs by which they are told apart, as numbers and words.

    `network.widths` becomes `width` (of the last hidden layer) and `depth` where these
    two tell all runs apart; a mark is one field, and so is an initialization unless one
    number of it is all that differs. What tells replicas apart (seeds, and how many),
    where they were trained and what was recorded of them is left out.
    """
    flat = [_simplify(fields) for fields in runs]
    _unify_initializations(flat)
    _unify_widths(flat)
    return flat


def _simplify(fields: Mapping[str, Any]) -> dict[str, Value]:
    kept = {
        name: _as_value(value)
        for name, value in fields.items()
        if not name.startswith(("record.", "mark.")) and name != "mark"
        if name not in ("run.replicas", "run.device", "replicas", "replica", "device")
        and name != "name"
        if not name.endswith("seed") and not name.endswith("_sha256")
    }
    return kept | {"mark": say_mark(fields)}


def _as_value(value: Any) -> Value:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, Sequence):
        return "-".join(say_value(_as_value(one)) for one in value) or NONE
    return str(value)


def say_mark(fields: Mapping[str, Any]) -> str:
    """The mark of a run in words: `mark "a" in hidden2 (zero)`, `no mark`."""
    sign = fields.get("mark.text") or fields.get("mark.image")
    if not sign:
        return "no mark"
    value = fields.get("mark.value")
    size = "" if value is None else f" {value:g}"
    return f'mark "{sign}" in {fields["mark.layer"]} ({fields["mark.mode"]}{size})'


def _unify_initializations(runs: list[dict[str, Value]]) -> None:
    """In place: one word for a rule and its parameters, where several fields differ."""
    names = {name for one in runs for name in one if name.startswith("initialization.")}
    apart = {name for name in names if len({one.get(name, NONE) for one in runs}) > 1}
    if not apart or apart == {"initialization.name"} or len(apart) > 1:
        for one in runs:
            own = {name: one.pop(name) for name in names if name in one}
            if own:
                one["initialization"] = _say_rule(own, apart)


def _say_rule(own: Mapping[str, Value], apart: set[str]) -> str:
    word = say_value(own.get("initialization.name", NONE))
    others = [
        f"{name.removeprefix('initialization.')} {say_value(value)}"
        for name, value in own.items()
        if name in apart and name != "initialization.name" and value != NONE
    ]
    return ", ".join([word, *others])


def _unify_widths(runs: list[dict[str, Value]]) -> None:
    """In place: width and depth, where these say all of the widths."""
    listed = {str(one["network.widths"]) for one in runs if "network.widths" in one}
    pairs = {(text.count("-"), text.rpartition("-")[2]) for text in listed}
    if len(pairs) < len(listed):
        return
    for one in runs:
        text = str(one.pop("network.widths", ""))
        if text:
            one["width"] = int(text.rpartition("-")[2])
            one["depth"] = text.count("-") + 1


def _unevenness(gaps: Array) -> float:
    return float(gaps.std() / gaps.mean())
