"""Commands that draw and write: figures, report."""

from pathlib import Path
from typing import Annotated

import typer

StoreArgument = Annotated[Path, typer.Argument(help="Folder of the store.")]


def figures(
    store: StoreArgument,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the figures; STORE/figures unless said."),
    ] = None,
) -> None:
    """Draw figures 1 to 6 of the paper from a store: PDF, PNG and the data behind.

    Example: `birthmark figures runs --out figures`
    """
    from birthmark.figures import draw_figures
    from birthmark.store import open_store

    for path in draw_figures(open_store(store), out or store / "figures"):
        print(path)


def report(
    store: StoreArgument,
    out: Annotated[
        Path | None, typer.Option(help="The file; STORE/report.html unless said.")
    ] = None,
) -> None:
    """Write one self-contained HTML file: findings, figures, protocol, runs.

    Example: `birthmark report runs --out report.html`
    """
    from birthmark.report import write_report
    from birthmark.store import open_store

    print(write_report(open_store(store), out or store / "report.html"))


def ship(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(help="Store to copy to; made when missing.")],
    run: Annotated[
        list[str], typer.Option(help="Run key; all that are done unless named.")
    ] = [],  # noqa: B006 - typer copies it
    picture: Annotated[
        list[int],
        typer.Option(help="Epoch whose marked weights go along, in half precision."),
    ] = [],  # noqa: B006
) -> None:
    """Copy finished runs compactly: records without weights, a few megabytes a run.

    Example: `birthmark ship runs --out to-share`
    """
    from birthmark.store import open_store, ship_run

    opened, target = open_store(store), open_store(out, create=True)
    for key in run or opened.runs(state="done")["run_key"]:
        size = ship_run(opened, key, target, pictures=picture)
        print(f"{out / key}: {size / 1e6:.2f} MB")
