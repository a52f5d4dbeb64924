"""What a comparison of initializations runs: one spec, and one rule after the other.

The order of batches depends on (seed, replica) alone, and so does the stream from which
a tensor is drawn: replicas of one number are pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from birthmark.errors import SpecError
from birthmark.spec import RuleSpec, RunSpec, apply_settings, make_rule, parse_setting
from birthmark.sweeps.models import Initialize
from birthmark.sweeps.own_parts import name_function

Rule = str | Mapping[str, Any] | RuleSpec | Initialize


def parse_rule(text: str) -> RuleSpec:
    """`constant:value=0.5` or `he_normal` as a rule.

    Raises:
        SpecError: It is not of the form name[:key=value[:key=value ...]].
    """
    name, *settings = text.strip().split(":")
    if not name:
        raise SpecError("an initialization has no name: give name or name:key=value")
    return make_rule({"name": name, **dict(map(parse_setting, settings))})


def name_rule(rule: RuleSpec) -> str:
    """`constant(value=0.5)`: the rule with its parameters, checksums of files aside."""
    given = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in rule.parameters.items()
        if not key.endswith("_sha256")
    ]
    return f"{rule.name}({', '.join(given)})" if given else rule.name


def name_rules(rules: Sequence[Rule]) -> dict[str, RuleSpec | Initialize]:
    """Rules, and functions of the user's own, by name, in the order given.

    Raises:
        SpecError: There are fewer than two, or one twice.
    """
    made = [rule if callable(rule) else make_rule(rule) for rule in rules]
    names = list(map(_name, made))
    named = dict(zip(names, made, strict=True))
    if len(named) < len(made):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"initialization {twice} is there twice: name each once")
    if len(named) < 2:
        raise SpecError(f"a comparison needs 2 initializations, got {len(named)}")
    return named


def _name(rule: RuleSpec | Initialize) -> str:
    return name_rule(rule) if isinstance(rule, RuleSpec) else name_function(rule)


def candidate_specs(spec: RunSpec, rules: Iterable[RuleSpec]) -> list[RunSpec]:
    """The spec with each rule in place of its own; biases and overrides stay.

    Raises:
        SpecError: A rule does not fit into the spec.
    """
    tables = spec.model_dump(exclude_unset=True)
    kept = {
        key: value
        for key, value in tables.get("initialization", {}).items()
        if key in ("bias", "layers")
    }
    return [
        RunSpec(
            **apply_settings(
                {
                    key: value
                    for key, value in tables.items()
                    if key != "initialization"
                },
                {"initialization": {**rule.model_dump(), **kept}},
            )
        )
        for rule in rules
    ]
