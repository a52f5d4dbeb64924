"""Tables on a terminal."""

import sys

import pandas as pd
from rich.console import Console
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


def print_runs(runs: pd.DataFrame) -> None:
    """One line a run, the fields that tell runs apart."""
    if runs.empty:
        print("no runs yet")
        return
    rows = runs.to_dict("records")
    print_rows(
        list(_COLUMNS.values()),
        [[_text(row.get(column)) for column in _COLUMNS] for row in rows],
    )


def print_rows(header: list[str], rows: list[list[str]]) -> None:
    """A plain table; into a pipe or a file it goes in full width."""
    table = Table(box=None, header_style="bold")
    for column in header:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "-".join(str(item) for item in value)
    return str(value)
