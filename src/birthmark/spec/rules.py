"""Rules of initialization: a name with parameters beside it, for all layers or some."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    WrapSerializer,
    model_validator,
)

from birthmark.errors import SpecError
from birthmark.spec.complaints import in_one_line
from birthmark.spec.files import checksum_file, names_file

Value = TypeVar("Value")


class RuleSpec(BaseModel):
    """A rule by which a tensor is drawn, with its parameters beside its name.

    A parameter named `file` or `..._file` is a path. Its SHA-256 is taken when the spec
    is made, so that a changed file is another run.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers_are_floats(cls, fields: Any) -> Any:
        # 1 and 1.0 are one parameter, and so one run key
        if not isinstance(fields, Mapping):
            return fields
        return {
            key: _to_float(value) if type(value) is int else value
            for key, value in fields.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _take_checksums(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        sums = {
            f"{key}_sha256": checksum_file(key, path)
            for key, path in fields.items()
            if names_file(key)
            and isinstance(path, str)
            and f"{key}_sha256" not in fields  # of a file that may have been moved
        }
        return {**sums, **fields}

    @model_validator(mode="after")
    def _parameters_are_numbers_or_texts(self) -> Self:
        for key, value in self.parameters.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not isinstance(value, str) and not (number and math.isfinite(value)):
                raise ValueError(
                    f"parameter {key!r} must be a number or a text, not {value!r}"
                )
        return self

    @property
    def parameters(self) -> dict[str, float | str]:
        """What stands beside the name: keyword arguments of the rule."""
        return dict(self.__pydantic_extra__ or {})


def _to_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf  # which is refused


def make_rule(rule: str | Mapping[str, Any] | RuleSpec) -> RuleSpec:
    """A rule from its name, from its table, or as it is.

    Raises:
        SpecError: The table is no rule.
    """
    if isinstance(rule, RuleSpec):
        return rule
    table = {"name": rule} if isinstance(rule, str) else dict(rule)
    try:
        return RuleSpec(**table)
    except ValidationError as error:
        raise SpecError(f"{table}: {in_one_line(error, RuleSpec)}") from error


class FrozenMapping(Mapping[str, Value]):
    """A mapping that cannot be changed; equal to any mapping with the same items."""

    def __init__(self, items: Mapping[str, Value]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


def _serialize(
    mapping: Mapping[str, Any], serialize: SerializerFunctionWrapHandler
) -> Any:
    return serialize(dict(mapping))


class LayerRuleSpec(RuleSpec):
    """The rule of one layer; `bias` overrides the bias rule of all layers."""

    bias: RuleSpec | None = None


LayerRules = Annotated[
    Mapping[str, LayerRuleSpec],
    AfterValidator(FrozenMapping),
    WrapSerializer(_serialize),
]


class InitializationSpec(RuleSpec):
    """The rule of all layers, and what differs in some; biases are zero unless said.

    `layers` is keyed by the name of a layer or by a pattern (`hidden*`).
    """

    name: str = "glorot_uniform"
    bias: RuleSpec = RuleSpec(name="zeros")
    layers: LayerRules = FrozenMapping({})

    def rules_of(self, layer: str) -> tuple[RuleSpec, RuleSpec]:
        """The rules of the weights and of the biases of one layer."""
        pattern = match_pattern(layer, self.layers)
        if pattern is None:
            return self, self.bias
        override = self.layers[pattern]
        return override, override.bias or self.bias


def match_pattern(name: str, patterns: Mapping[str, object]) -> str | None:
    """The pattern that a name falls under: the name itself before any other.

    Their order means nothing, as it means nothing to the run key.

    Raises:
        SpecError: Two patterns match.
    """
    if name in patterns:
        return name
    found = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
    if len(found) > 1:
        raise SpecError(
            f"{found[0]!r} and {found[1]!r} both match {name}: name it itself"
        )
    return found[0] if found else None
