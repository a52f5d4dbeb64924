"""The command that compares checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from birthmark.weight_files import Diff, Parting, Trajectory

_COLOURS = {"info": "cyan", "note": "cyan", "warning": "yellow", "error": "bold red"}
_ROWS = 5


def diff(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="The start first; or two runs.")
    ],
    every: Annotated[
        bool, typer.Option("--all", help="All tensors, not the five that matter most.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers as JSON.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write one HTML page.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Store to write the trajectory to, as a run."),
    ] = None,
    name: Annotated[str, typer.Option(help="Of that run.")] = "",
    null: Annotated[
        Path | None,
        typer.Option(help="Of two runs: a third, of another seed, to read them by."),
    ] = None,
) -> None:
    """Say what became of one checkpoint in another.

    Beside each number stands what chance would do. Files or folders of safetensors,
    torch, Keras, HDF5 or NumPy, of any size; nothing in them is run. More
    than two are a trajectory. Two runs (folders of numbered checkpoints, or
    STORE/RUN_KEY) are laid side by side, step by step.

    Example: `birthmark diff step0.safetensors final.safetensors`
    """
    from birthmark.errors import WeightsError
    from birthmark.report import write_diff
    from birthmark.store import check_target
    from birthmark.weight_files import diff as compare
    from birthmark.whole_files import write_output

    if len(checkpoints) < 2:
        raise WeightsError(
            f"a diff needs two checkpoints, and {checkpoints[0]} is one: give the "
            "earlier and the later one"
        )
    for file in (json_file, html_file):
        if file is not None:
            check_target(file)
    if len(checkpoints) == 2 and all(_is_training(path) for path in checkpoints):
        found = _lay_side_by_side(
            checkpoints[0], checkpoints[1], null, rows=_rows(every)
        )
        _write(found, json_file, html_file, "Two trainings side by side")
        return
    if len(checkpoints) > 2 or to is not None:
        followed = _follow(checkpoints, to, name)
        _write(followed, json_file, html_file, f"From {followed.labels[0]} on")
        return
    compared = compare(checkpoints[0], checkpoints[1])
    _print(compared, rows=_rows(every))
    if json_file is not None:
        print(write_output(json_file, compared.to_json() + "\n"))
    if html_file is not None:
        print(write_diff(compared, html_file))


def _write(
    course: Trajectory | Parting,
    json_file: Path | None,
    html_file: Path | None,
    title: str,
) -> None:
    from birthmark.report import write_course
    from birthmark.whole_files import write_output

    if json_file is not None:
        print(write_output(json_file, course.to_json() + "\n"))
    if html_file is not None:
        print(write_course(course, html_file, title))


def _rows(every: bool) -> int | None:
    return None if every else _ROWS


def _is_training(path: Path) -> bool:
    """Whether a folder holds a run of a store, or several numbered checkpoints."""
    from birthmark.errors import WeightsError
    from birthmark.weight_files import find_checkpoints, is_run, open_weights

    if not path.is_dir() or is_run(path):
        return path.is_dir()
    try:
        open_weights(path)
    except WeightsError:
        try:
            return bool(find_checkpoints(path))
        except WeightsError:
            return False
    return False


def _follow(checkpoints: Sequence[Path], to: Path | None, name: str) -> Trajectory:
    from rich.text import Text

    from birthmark.cli.tables import print_rows
    from birthmark.weight_files import follow

    found = follow(checkpoints, store=to, name=name)
    _console().print(Text(found.headline, style="bold"))
    print()
    print_rows(*found.table())
    if to is not None:
        print(f"stored in {to}: birthmark report {to}")
    return found


def _lay_side_by_side(
    first: Path, second: Path, null: Path | None, *, rows: int | None
) -> Parting:
    from rich.text import Text

    from birthmark.cli.tables import print_rows
    from birthmark.weight_files import part

    found = part(first, second, null=null)
    _console().print(Text(found.headline, style="bold"))
    print()
    header, lines = found.table()
    print_rows(header, lines[:rows])
    if rows is not None and len(lines) > rows:
        print(f"... and {len(lines) - rows} more: --all")
    _console().print(Text(found.legend, style="dim"))
    return found


def _print(compared: Diff, rows: int | None) -> None:
    from rich.text import Text

    from birthmark.cli.tables import print_rows

    console = _console()
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


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100, highlight=False)
