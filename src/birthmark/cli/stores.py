"""Commands on a store as files: verify, repair, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from birthmark.cli.folders import NamedStore, StoreArgument, find_store
from birthmark.errors import StoreError


def verify(folder: StoreArgument = None, store: NamedStore = None) -> None:
    """Read every file of a store, and name what is damaged or lost.

    The status is 1 if anything is.

    Example: `birthmark verify runs`
    """
    from birthmark.store import open_store, verify_store

    chosen = find_store(folder, store)
    opened = open_store(chosen)
    damaged = verify_store(opened)
    for one in damaged:
        print(f"{one.run_key}: {one.problem}")
    count = len(opened.runs())
    print(f"{len(damaged)} of {count} runs are damaged")
    if damaged:
        print(f"To carry them out again: birthmark repair {chosen}")
        raise typer.Exit(1)


def repair(folder: StoreArgument = None, store: NamedStore = None) -> None:
    """Carry out again the runs that are damaged, and no others.

    The status is 1 if a run cannot be repaired, since its spec is damaged as well.

    Example: `birthmark repair runs`
    """
    from birthmark.cli.sweeps import carry_out_specs
    from birthmark.store import clear_run, open_store, verify_store

    chosen = find_store(folder, store)
    opened = open_store(chosen, create=True)
    damaged = verify_store(opened)
    if not damaged:
        print("nothing is damaged")
        return
    for one in damaged:
        if one.spec is not None:
            clear_run(opened, one.run_key)
    specs = [one.spec for one in damaged if one.spec is not None]
    failed = carry_out_specs(specs, chosen, 1) if specs else []
    lost = [one.run_key for one in damaged if one.spec is None]
    for key in lost:
        print(
            f"{key}: what it was is lost too. Delete the folder {chosen / key}, and "
            "start what made it again"
        )
    for outcome in failed:
        print(f"{outcome.key}: {outcome.message}")
    print(f"{len(specs) - len(failed)} of {len(damaged)} runs were repaired")
    if lost or failed:
        raise typer.Exit(1)


def export(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="[STORE] OUT",
            help="Folder of the store, runs unless said; then NAME.parquet or NAME.csv "
            "for one table, FOLDER.nc or FOLDER.zarr for the records of each run.",
        ),
    ],
    store: NamedStore = None,
) -> None:
    """Write the records of a store for other programs.

    Example: `birthmark export runs losses.parquet`
    """
    from birthmark.store import export_store, open_store

    *folder, out = places
    if len(folder) > 1:
        raise StoreError(f"{len(places)} places are too many: name a store and a file")
    chosen = find_store(folder[0] if folder else None, store)
    for path in export_store(open_store(chosen), out):
        print(path)
