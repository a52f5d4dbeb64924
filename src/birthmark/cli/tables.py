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
_NOT_FIELDS = ("wall_time_s", "written", "kind", "problem")

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
            table = _table(*_columns(moving))
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
    print_rows(*_columns(runs))
    for problem in runs["problem"].dropna():
        print(problem)


def print_rows(header: list[str], rows: list[list[str]]) -> None:
    """A plain table; into a pipe or a file it goes in full width."""
    Console(width=None if sys.stdout.isatty() else 200).print(_table(header, rows))


def _columns(runs: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what specs say, and fields of users' own, where any run has it.

    A step is shown where runs have no epochs to count.
    """
    titles = dict(_COLUMNS)
    # a field of a spec has its table before a dot
    titles |= {
        name: name
        for name in map(str, runs.columns)
        if "." not in name and name not in (*_COLUMNS, *_NOT_FIELDS)
    }
    if runs["epoch"].notna().all():
        del titles["step"]
    known = runs.notna().any()
    shown = [name for name in titles if known.get(name, False)]
    rows = [[_text(row[name]) for name in shown] for row in runs.to_dict("records")]
    return [titles[name] for name in shown], rows


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
    unknown = value is None or value is pd.NA or value != value
    return "" if unknown else str(value)
