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
