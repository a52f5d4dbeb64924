"""The command that compares checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from birthmark.weight_files import Diff

_COLOURS = {"info": "cyan", "note": "cyan", "warning": "yellow", "error": "bold red"}
_ROWS = 5


def diff(
    first: Annotated[str, typer.Argument(help="The earlier checkpoint.")],
    second: Annotated[str, typer.Argument(help="The later one.")],
    every: Annotated[
        bool, typer.Option("--all", help="All tensors, not the five that matter most.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers as JSON.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write one HTML page.")
    ] = None,
) -> None:
    """Say what became of one checkpoint in another, beside what chance would do.

    Files or folders of safetensors, torch, Keras, HDF5 or NumPy, of any size; nothing
    in them is run.

    Example: `birthmark diff step0.safetensors final.safetensors`
    """
    from birthmark.report import check_target
    from birthmark.weight_files import diff as compare

    for file in (json_file, html_file):
        if file is not None:
            check_target(file)
    compared = compare(first, second)
    _print(compared, rows=None if every else _ROWS)
    if json_file is not None:
        json_file.write_text(compared.to_json() + "\n", encoding="utf-8")
        print(json_file)
    if html_file is not None:
        from birthmark.report import write_diff

        print(write_diff(compared, html_file))


def _print(compared: Diff, rows: int | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from birthmark.cli.tables import print_rows

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    said, *rest = compared.summary()
    console.print(Text(said, style="bold"))
    for line in rest:
        console.print(Text(line, style="dim"))
    print()
    header, lines = compared.table(rows)
    print_rows(header, lines)
    more = len(compared.tensors) - len(lines)
    if more:
        print(f"... and {more} more: --all, or --html FILE, or --json FILE")
    console.print(Text(compared.legend, style="dim"))
    for finding in compared.verdict.findings:
        print()
        level = Text(f"{finding.level.upper()} ", style=_COLOURS[finding.level])
        console.print(level + Text(finding.what))
        if finding.level != "info":
            console.print(Text(f"  Why: {finding.why}", style="dim"))
        if finding.advice:
            console.print(Text(f"  Do: {finding.advice}"))
