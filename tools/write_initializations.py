"""Fill the tables of concepts/initializations.md from the code."""

import re
from collections.abc import Iterator
from inspect import getdoc, signature
from pathlib import Path

import numpy as np

from birthmark.network import (
    ALIASES,
    DATA_DEPENDENT,
    INITIALIZATIONS,
    PARAMETRIZATIONS,
    Target,
    add_fixup_scalars_,
    find_law_for,
    fixup_,
    scale_branches_,
    zero_gamma_,
)
from birthmark.seeds import stream
from birthmark.spec import RuleSpec

PAGE = Path(__file__).parent.parent / "docs" / "concepts" / "initializations.md"
DENSE = Target(784, 256, (), "w")
CONV = Target(64, 128, (3, 3), "w")
EXAMPLES = {"constant": {"value": 0.5}, "gpt2_residual": {"blocks": 12}}


def fill(page: str) -> str:
    """The page with its tables written anew."""
    for name, rows in (
        ("table", _table()),
        ("batch", _batch()),
        ("residual", _residual()),
        ("parametrizations", _parametrizations()),
    ):
        block = f"<!-- {name} -->\n\n" + "\n".join(rows) + "\n\n<!-- end -->"
        page = re.sub(
            rf"<!-- {name} -->.*?<!-- end -->",
            lambda _, block=block: block,
            page,
            flags=re.DOTALL,
        )
    return page


def _table() -> Iterator[str]:
    yield "| name | what it is | std, dense | std, conv | units | known as |"
    yield "|---|---|--:|--:|---|---|"
    for name, function in INITIALIZATIONS.items():
        cells = [f"`{name}`{_parameters(function)}", _first_line(function)]
        if "file" in signature(function).parameters:
            cells += ["file", "file", "file"]
        else:
            cells += _measure(name)
        yield f"| {' | '.join([*cells, ', '.join(_aliases(name))])} |"


def _aliases(rule: str) -> Iterator[str]:
    """Names of others, with the parameters that their defaults fix."""
    for framework, names in ALIASES.items():
        for name, alias in names.items():
            if alias.rule == rule:
                qualified = name if framework == "other" else f"{framework}.{name}"
                fixed = [f"{key} = {_word(v)}" for key, v in alias.parameters.items()]
                yield qualified + (f" ({', '.join(fixed)})" if fixed else "")


def _measure(name: str) -> list[str]:
    """Std in both layers, and whether their units differ."""
    cells, counts = [], []
    for target in (DENSE, CONV):
        law = find_law_for(RuleSpec(name=name, **EXAMPLES.get(name, {})), target)
        cells.append(f"{law.std:.3g}")
        units = law.draw(stream(0, 0, "initial", "w"), target.shape)
        distinct = np.unique(units.reshape(-1, target.num_out), axis=1).shape[1]
        counts.append((distinct, target.num_out))
    different = all(distinct == size for distinct, size in counts)
    told = ", ".join(f"{distinct} of {size}" for distinct, size in counts)
    return [*cells, "differ" if different else told]


def _batch() -> Iterator[str]:
    yield "| name | what it does | start |"
    yield "|---|---|---|"
    for name, entry in DATA_DEPENDENT.items():
        about = f"`{name}`{_parameters(entry.adjust)}"
        yield f"| {about} | {_first_line(entry.adjust)} | `{entry.start}` |"


def _residual() -> Iterator[str]:
    yield "| function | what it does |"
    yield "|---|---|"
    for function in (fixup_, add_fixup_scalars_, scale_branches_, zero_gamma_):
        yield f"| `{function.__name__}` | {_first_line(function)} |"


def _parametrizations() -> Iterator[str]:
    yield "| name | what it is |"
    yield "|---|---|"
    for name, function in PARAMETRIZATIONS.items():
        yield f"| `{name}` | {_first_line(function)} |"


def _first_line(function: object) -> str:
    return (getdoc(function) or "").partition("\n")[0].replace("|", "\\|")


def _parameters(function: object) -> str:
    """Keyword parameters with defaults, in words; checksums are taken unasked."""
    words = [
        p.name if p.default is p.empty else f"{p.name} = {_word(p.default)}"
        for p in signature(function).parameters.values()  # type: ignore[arg-type]
        if p.kind is p.KEYWORD_ONLY and not p.name.endswith("_sha256")
    ]
    return f" ({', '.join(words)})" if words else ""


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value) or "''"


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text()))
