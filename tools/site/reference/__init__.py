"""Reference pages, each made from the code that it describes."""

from collections.abc import Callable

from reference import api, commands, findings, records, spec

_INDEX = """# Reference

Made from the code, so that it is what the code does.

- [Python](api.md): every promised name with a use, and what is private
- [Command line](commands.md): every command with its options
- [The spec](spec.md): every field, with type, default and meaning
- [The grid](grid.md): what a sweep can vary, and how
- [Records](records.md): every variable in a store, with dims, unit and bins
- [Findings](findings.md): every name that a check-up, a diff or a report may say
"""


def write_index() -> str:
    """The page that leads to the others."""
    return _INDEX


PAGES: dict[str, Callable[[], str]] = {
    "index": write_index,
    "api": api.write,
    "spec": spec.write_spec,
    "grid": spec.write_grid,
    "records": records.write,
    "commands": commands.write,
    "findings": findings.write,
}
