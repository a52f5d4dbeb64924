"""Commands that draw and write: figures, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birthmark.cli.folders import NamedStore, StoreArgument, find_store

if TYPE_CHECKING:
    from birthmark.analysis import Survey

AxisOption = Annotated[
    str | None,
    typer.Option(help="Field to look along, as lr; what differs unless said."),
]
SeriesOption = Annotated[
    str | None, typer.Option(help="A second field, in colours; none for none.")
]


def figures(
    folder: StoreArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the figures; STORE/figures unless said."),
    ] = None,
    axis: AxisOption = None,
    series: SeriesOption = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format", help="pdf, png, svg; gif or mp4 animate; several: pdf,png."
        ),
    ] = "pdf",
    store: NamedStore = None,
) -> None:
    """Draw the runs of a store along what differs between them.

    Each figure with its data and its caption beside it.

    Example: `birthmark figures runs --axis lr --series depth --format pdf,png`
    """
    from birthmark.cli.waiting import waited
    from birthmark.figures import draw_figures

    names = [name.strip() for name in formats.split(",") if name.strip()]
    chosen = find_store(folder, store)
    survey = _survey(chosen, axis, series)
    with waited("Drawing the figures"):
        into = out or chosen / "figures"
        paths = draw_figures(survey, into, formats=names, apart=True)
    for path in paths:
        print(path)


def report(
    folder: StoreArgument = None,
    out: Annotated[
        Path | None, typer.Option(help="The file; STORE/report.html unless said.")
    ] = None,
    axis: AxisOption = None,
    series: SeriesOption = None,
    store: NamedStore = None,
) -> None:
    """Write one HTML page: findings, figures, protocol, runs.

    Example: `birthmark report runs --out report.html`
    """
    from birthmark.cli.waiting import waited
    from birthmark.report import write_report

    chosen = find_store(folder, store)
    survey = _survey(chosen, axis, series)
    with waited("Drawing and writing the report"):
        path = write_report(survey, out or chosen / "report.html", apart=True)
    print(path)


def ship(
    out: Annotated[Path, typer.Option(help="Store to copy to; made when missing.")],
    folder: StoreArgument = None,
    run: Annotated[
        list[str], typer.Option(help="Run key; all that are done unless named.")
    ] = [],  # noqa: B006 - typer copies it
    picture: Annotated[
        list[int],
        typer.Option(help="Epoch whose marked weights go along, in half precision."),
    ] = [],  # noqa: B006
    store: NamedStore = None,
) -> None:
    """Copy finished runs compactly, without weights.

    A run takes a few megabytes then.

    Example: `birthmark ship runs --out to-share`
    """
    from birthmark.store import open_store, ship_run

    opened = open_store(find_store(folder, store))
    target = open_store(out, create=True)
    for key in run or opened.runs(state="done")["run_key"]:
        size = ship_run(opened, key, target, pictures=picture)
        print(f"{out / key}: {size / 1e6:.2f} MB")


def _survey(store: Path, axis: str | None, series: str | None) -> Survey:
    from birthmark.analysis import read_survey
    from birthmark.cli.waiting import waited
    from birthmark.store import open_store

    opened, second = open_store(store), "" if series == "none" else series
    with waited("Reading the records"):
        survey = read_survey(opened, axis=axis, series=second)
    say_damaged(survey)
    return survey


def say_damaged(survey: Survey) -> None:
    """Name the runs that are left out since they cannot be read."""
    for key, problem in survey.damaged:
        print(f"run {key} is left out: {problem}", file=sys.stderr)
