"""Commands on a store as files: verify, repair, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from birthmark.cli.runs import StoreOption


def verify(store: StoreOption = Path("runs")) -> None:
    """Read every file of a store, and name what is damaged or lost.

    The status is 1 if anything is.

    Example: `birthmark verify --store runs`
    """
    from birthmark.store import open_store, verify_store

    opened = open_store(store)
    damaged = verify_store(opened)
    for one in damaged:
        print(f"{one.run_key}: {one.problem}")
    count = len(opened.runs())
    print(f"{len(damaged)} of {count} runs are damaged")
    if damaged:
        print(f"To carry them out again: birthmark repair --store {store}")
        raise typer.Exit(1)


def repair(store: StoreOption = Path("runs")) -> None:
    """Carry out again the runs that are damaged, and no others.

    The status is 1 if a run cannot be repaired, since its spec is damaged as well.

    Example: `birthmark repair --store runs`
    """
    from birthmark.cli.sweeps import carry_out_specs
    from birthmark.store import clear_run, open_store, verify_store

    opened = open_store(store, create=True)
    damaged = verify_store(opened)
    if not damaged:
        print("nothing is damaged")
        return
    for one in damaged:
        if one.spec is not None:
            clear_run(opened, one.run_key)
    specs = [one.spec for one in damaged if one.spec is not None]
    failed = carry_out_specs(specs, store, 1) if specs else []
    lost = [one.run_key for one in damaged if one.spec is None]
    for key in lost:
        print(
            f"{key}: what it was is lost too. Delete the folder {store / key}, and "
            "start what made it again"
        )
    for outcome in failed:
        print(f"{outcome.key}: {outcome.message}")
    print(f"{len(specs) - len(failed)} of {len(damaged)} runs were repaired")
    if lost or failed:
        raise typer.Exit(1)


def export(
    out: Annotated[
        Path,
        typer.Argument(
            help="NAME.parquet or NAME.csv: one table; FOLDER.nc or FOLDER.zarr: the "
            "records of each run."
        ),
    ],
    store: StoreOption = Path("runs"),
) -> None:
    """Write the records of a store for other programs.

    Example: `birthmark export losses.parquet --store runs`
    """
    from birthmark.store import export_store, open_store

    for path in export_store(open_store(store), out):
        print(path)
