"""The command `phase`: what networks become over two axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birthmark.cli.folders import NamedStore, StoreArgument, find_store

if TYPE_CHECKING:
    from birthmark.analysis import Phases
    from birthmark.spec import RunSpec
    from birthmark.store import Store

_FEW = 40  # places that are said in words too


def phase(
    x: Annotated[str, typer.Option("-x", help="Field: network.widths, lr, ...")],
    y: Annotated[str, typer.Option("-y", help="Another; one value is enough.")],
    folder: StoreArgument = None,
    colour: Annotated[
        str,
        typer.Option(
            help="learner, a transition, or a variable of the records: correlation "
            "is what is left of the start."
        ),
    ] = "learner",
    refine: Annotated[
        Path | None,
        typer.Option(
            metavar="GRID", help="First carry out those runs that lie at boundaries."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", "-j", min=1, help="Processes, with --refine.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; STORE/figures by default.")
    ] = None,
    store: NamedStore = None,
) -> None:
    """Draw a phase diagram over any two axes of the runs in a store.

    Example: `birthmark phase runs -x widths -y lr --refine grid.toml`
    """
    from birthmark.analysis import read_phases
    from birthmark.figures import draw_phases, write_drawings
    from birthmark.store import make_output_folder, open_store

    chosen = find_store(folder, store)
    if out is not None:
        make_output_folder(out)
    if refine is not None:
        _follow(refine, chosen, x, y, workers)
    phases = read_phases(open_store(chosen), x, y, colour=colour)
    if phases.replicas.size <= _FEW:
        print("\n".join(_say_places(phases)))
    for path in write_drawings([draw_phases(phases)], out or chosen / "figures"):
        print(path)


def _say_places(phases: Phases) -> Iterator[str]:
    import numpy as np

    from birthmark.analysis import LEARNERS

    for row, column in np.argwhere(phases.replicas > 0):
        x, y = phases.x.values[column], phases.y.values[row]
        if phases.colour == "learner":
            counts = np.rint(phases.shares[row, column] * phases.replicas[row, column])
            said = ", ".join(
                f"{count:.0f} {name}"
                for count, name in zip(counts, LEARNERS, strict=True)
                if count
            )
        else:
            value = phases.values[row, column]
            many = f"any of {phases.replicas[row, column]} networks"
            said = f"{phases.colour} {value:.3g}"
            if np.isnan(value):
                said = f"{phases.colour} is not known of {many}"
        where = [f"{a.noun} {a.text(v)}" for a, v in ((phases.y, y), (phases.x, x))]
        yield f"{', '.join(where)}: {said}"


def _follow(grid: Path, store: Path, x: str, y: str, workers: int) -> None:
    from birthmark.analysis import find_field
    from birthmark.cli.sweeps import carry_out_specs
    from birthmark.comparison import follow_boundaries
    from birthmark.errors import SpecError
    from birthmark.spec import read_toml, resolve_files
    from birthmark.store import open_store
    from birthmark.sweeps import Grid, flatten_product

    Grid.from_toml(grid)  # what is wrong with it is said with its line
    tables = read_toml(grid)
    resolve_files(tables.get("spec", {}), grid)
    product = flatten_product(tables)
    tables["grid"]["product"] = product
    keys = [find_field(name, list(product)) for name in (x, y)]
    opened = open_store(store, create=True)

    def carry_out(specs: Sequence[RunSpec]) -> Store:
        failed = carry_out_specs(specs, store, workers)
        if failed:
            raise SpecError(f"run {failed[0].key} failed: {failed[0].message}")
        return opened

    found = follow_boundaries(tables, keys[0], keys[1], carry_out)
    whole = len(found.labels)
    print(f"{len(found.seen)} of {whole} places were tried, along the boundaries")
