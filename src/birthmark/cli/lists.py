"""Lists: of runs, of experiments, and the version; none of it waits for a parser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from birthmark.cli.tables import Rows


def print_version() -> None:
    """That of birthmark."""
    from birthmark import __version__

    print(__version__)


def print_experiments() -> None:
    """The name and the question of each."""
    from birthmark.experiments import find_package

    package = find_package("birthmark experiment")
    for name in package.experiment_names():
        print(f"{name:28s}{package.find_experiment(name).question}")


def print_store(store: Path) -> None:
    """The runs of a store and how far they are."""
    from birthmark.cli.tables import print_runs

    print_runs(read_rows(store))


def read_rows(store: Path) -> Rows:
    """One a run, without what reads records, where the store is small."""
    from birthmark.store import list_runs

    rows = list_runs(store)
    if rows is None:
        from birthmark.store import open_store

        return open_store(store).runs().to_dict("records")
    return rows
