"""Tables on a terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from birthmark.wording import align

if TYPE_CHECKING:
    from rich.table import Table

Rows = Sequence[Mapping[Any, Any]]

_COLUMNS = {
    "run_key": "run",
    "state": "state",
    "name": "name",
    "replica": "replica",
    "data.name": "data",
    "network.widths": "widths",
    "training.loss": "loss",
    "training.lr": "lr",
    "run.replicas": "replicas",
    "epoch": "epoch",
    "training.epochs": "of",
    "step": "step",
}
_HOW_FAR = ("epoch", "training.epochs", "step")
_MOST_VARIED = 4
_NOT_FIELDS = ("wall_time_s", "written", "kind", "problem")

_QUIET_LOOKS = 4  # a sweep that goes from one run to the next has not ended


def watch_runs(look: Callable[[], Rows], every: float = 2.0) -> None:
    """The table of runs, brought up to date until none is written any more."""
    from rich.console import Console, Group
    from rich.live import Live

    console, quiet = Console(), 0
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            runs = look()
            states = Counter(str(row["state"]) for row in runs)
            said = ", ".join(f"{count} {state}" for state, count in states.items())
            moving = [row for row in runs if row["state"] != "done"]
            table = _table(*_columns(moving[-max(4, console.height - 8) :]))
            live.update(Group(table, said or "no runs yet"), refresh=True)
            quiet = 0 if "running" in states else quiet + 1
            if quiet == _QUIET_LOOKS:
                break
            time.sleep(every)
    if not console.is_terminal:  # there the last line is left open
        console.print()


def print_runs(runs: Rows) -> None:
    """One line a run, the fields that tell runs apart."""
    if not runs:
        print("no runs yet")
        return
    print_rows(*_columns(runs))
    for row in runs:
        if not _is_unknown(row["problem"]):
            print(row["problem"])


def print_rows(header: list[str], rows: list[list[str]]) -> None:
    """A plain table; into a pipe or a file it goes in full width."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(_table(header, rows))
        return
    for line in align(header, rows):
        print("", line)


def _columns(runs: Rows) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what specs say, and fields of users' own, where any run has it.

    Of the other fields of specs those in which runs differ, a few at most.
    A step is shown where runs have no epochs to count.
    """
    names = list(dict.fromkeys(str(name) for row in runs for name in row))
    # a field of a spec has its table before a dot
    own = [n for n in names if "." not in n and n not in (*_COLUMNS, *_NOT_FIELDS)]
    fields = [n for n in names if "." in n and n not in _COLUMNS and _tells(n)]
    varied = [name for name in fields if _differs(runs, name)]
    titles = {name: _COLUMNS[name] for name in _COLUMNS if name not in _HOW_FAR}
    titles |= {name: _short(name) for name in varied[:_MOST_VARIED]}
    titles |= {name: _COLUMNS[name] for name in _HOW_FAR} | {name: name for name in own}
    known = {
        name for row in runs for name, value in row.items() if not _is_unknown(value)
    }
    if all(not _is_unknown(row["epoch"]) for row in runs):
        del titles["step"]
    shown = [name for name in titles if name in known]
    rows = [[_text(row.get(name)) for name in shown] for row in runs]
    return [titles[name] for name in shown], rows


def _tells(name: str) -> bool:
    """Whether a field says what a run is; of a mark its letter is enough."""
    table = name.partition(".")[0]
    return table != "record" and (table != "mark" or name == "mark.text")


def _differs(runs: Rows, name: str) -> bool:
    first = runs[0].get(name) if runs else None
    return any(row.get(name) != first for row in runs)


def _short(name: str) -> str:
    """`seed` of `run.seed`, `mark` of `mark.text`."""
    return name.removesuffix(".name").removesuffix(".text").rpartition(".")[2]


def _table(header: list[str], rows: list[list[str]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in header:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "-".join(str(item) for item in value)
    return "" if _is_unknown(value) else str(value)


def _is_unknown(value: object) -> bool:
    """None, or what pandas puts in its place: NA, NaN, NaT."""
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, float) and value != value
