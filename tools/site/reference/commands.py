"""The command line, as `--help` has it."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from birthmark.cli.parser import make_parser
from reference.tables import say_table

_EXITS = """
| status | when |
|--:|---|
| 0 | done, or found done |
| 1 | a run failed, a finding is as grave as `--fail-on`, a tensor is not what it was |
| 2 | what was asked cannot be done; one line says what came and what to do |
| 130 | stopped by Ctrl-C, with everything saved; the same command goes on |
"""


def write() -> str:
    """The page of all commands."""
    app = typer.main.get_command(make_parser())
    lines = [
        "# Command line\n",
        "`birthmark COMMAND --help` prints the same; `python -m birthmark` is the same",
        "where the script is not on the PATH.\n",
        _EXITS,
    ]
    for words, command in _walk(app, ("birthmark",)):
        lines += _say(words, command)
    return "\n".join(lines)


def _walk(
    command: Any, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", {})
    if not inner:
        yield words, command
    for name, one in inner.items():
        yield from _walk(one, (*words, name))


def _say(words: tuple[str, ...], command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=" ".join(words))
    pieces = command.collect_usage_pieces(context)
    yield f"## `{' '.join(words)}`\n"
    text = (command.help or "").replace("\f", "").strip()
    text, _, example = text.partition("Example: ")
    yield f"{_in_prose(text)}\n"
    yield f"```text\n{' '.join([*words, *pieces])}\n```\n"
    rows = [
        _row(one.get_help_record(context), one)
        for one in command.params
        if one.name != "help"
    ]
    if rows:
        yield from say_table(["", "", "default"], rows)
    for line in re.findall(r"`(birthmark [^`]*)`", example):
        yield f"```sh\n{line}\n```\n"


def _row(record: tuple[str, str], parameter: Any) -> list[str]:
    """Names and what they take, the help, the default; of an argument or an option."""
    names, text = record
    text = re.sub(r"\s*\[(default|required)[^]]*\]", "", text)
    value = parameter.default
    given = not (value in (None, False, [], ()) or callable(value))
    default = f"`{value}`" if given else "(required)" if parameter.required else ""
    return [f"`{names.strip()}`", _in_prose(text), default]


def _in_prose(text: str) -> str:
    """Angle brackets and stars as themselves."""
    return re.sub(r"(?<!`)\*(?!`)", r"\\*", " ".join(text.split()))
