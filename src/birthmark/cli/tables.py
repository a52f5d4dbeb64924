"""Tables on a terminal."""

import sys
import time
from collections.abc import Callable

import pandas as pd
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

_COLUMNS = {
    "run_key": "run",
    "state": "state",
    "data.name": "data",
    "network.widths": "widths",
    "training.loss": "loss",
    "training.lr": "lr",
    "run.replicas": "replicas",
    "epoch": "epoch",
    "training.epochs": "of",
}


_QUIET_LOOKS = 4  # a sweep that goes from one run to the next has not ended


def watch_runs(look: Callable[[], pd.DataFrame], every: float = 2.0) -> None:
    """The table of runs, brought up to date until none is written any more."""
    console, quiet = Console(), 0
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while True:
            runs = look()
            states = runs["state"].value_counts().to_dict()
            said = ", ".join(f"{count} {state}" for state, count in states.items())
            moving = runs[runs["state"] != "done"].tail(max(4, console.height - 8))
            table = _table(list(_COLUMNS.values()), _rows(moving))
            live.update(Group(table, said or "no runs yet"), refresh=True)
            quiet = 0 if "running" in states else quiet + 1
            if quiet == _QUIET_LOOKS:
                return
            time.sleep(every)


def print_runs(runs: pd.DataFrame) -> None:
    """One line a run, the fields that tell runs apart."""
    if runs.empty:
        print("no runs yet")
        return
    print_rows(list(_COLUMNS.values()), _rows(runs))
    for problem in runs["problem"].dropna():
        print(problem)


def print_rows(header: list[str], rows: list[list[str]]) -> None:
    """A plain table; into a pipe or a file it goes in full width."""
    Console(width=None if sys.stdout.isatty() else 200).print(_table(header, rows))


def _rows(runs: pd.DataFrame) -> list[list[str]]:
    rows = runs.to_dict("records")
    return [[_text(row.get(column)) for column in _COLUMNS] for row in rows]


def _table(header: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in header:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "-".join(str(item) for item in value)
    return str(value)
