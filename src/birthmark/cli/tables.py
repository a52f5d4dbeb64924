"""Tables on a terminal."""

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
    table = Table(box=None, header_style="bold")
    for column in _COLUMNS.values():
        table.add_column(column)
    for row in runs.to_dict("records"):
        table.add_row(*(_text(row.get(column)) for column in _COLUMNS))
    Console(soft_wrap=True).print(table)


def print_rows(header: list[str], rows: list[list[str]]) -> None:
    """A plain table."""
    table = Table(box=None, header_style="bold")
    for column in header:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True).print(table)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "-".join(str(item) for item in value)
    return str(value)
