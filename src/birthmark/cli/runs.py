"""Commands that train: run, reproduce; and status."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birthmark.cli.folders import NamedStore, StoreArgument, find_store

if TYPE_CHECKING:
    from birthmark.sweeps import Grid, RunResult

StoreOption = Annotated[
    Path, typer.Option("--store", help="Folder of the store; made when missing.")
]
SetOption = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the spec."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def run(
    spec: Annotated[Path, typer.Argument(help="A spec in TOML.")],
    store: StoreOption = Path("runs"),
    settings: SetOption = [],  # noqa: B006 - typer copies it
    as_json: JsonOption = False,
) -> None:
    """Carry out one run, or go on with it, or say that it is done.

    Example: `birthmark run run.toml --store runs --set training.lr=0.05`
    """
    from birthmark.spec import RunSpec, parse_setting
    from birthmark.sweeps import Grid

    chosen = RunSpec.from_toml(spec, dict(parse_setting(text) for text in settings))
    _carry_out(Grid((chosen,)), store, as_json=as_json)


def reproduce(
    scale: Annotated[
        str,
        typer.Option(
            help="shipped (no training), demo (minutes), laptop (a night), gpu (ten "
            "minutes there) or paper (everything, a GPU)."
        ),
    ] = "demo",
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder; by default named as scale.")
    ] = None,
) -> None:
    """Reproduce the paper: train, draw its figures, write a report.

    The paper is arXiv 2012.02550. With `--scale shipped` nothing is
    trained: all is drawn from the records that come with the package.

    Example: `birthmark reproduce --scale demo --store demo`
    """
    from birthmark.analysis import find_headlines, read_survey
    from birthmark.cli.outputs import say_damaged
    from birthmark.cli.waiting import announced
    from birthmark.figures import draw_figures
    from birthmark.report import write_report
    from birthmark.store import open_shipped, open_store

    folder = store or Path(scale)
    if scale == "shipped":
        opened = open_shipped("paper")
    else:
        from birthmark.sweeps import reproduction

        _carry_out(reproduction(scale), folder, as_json=False)
        opened = open_store(folder)
    with announced("Reading the records"):
        survey = read_survey(opened)
    say_damaged(survey)
    with announced("Drawing the figures"):
        draw_figures(survey, folder / "figures")
    with announced("Writing the report"):
        path = write_report(survey, folder / "report.html")
    print(f"\nReport: {path}\n")
    for headline in find_headlines(survey):
        print(f"  - {headline}")


def status(
    folder: StoreArgument = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Look again every 2 s, until nothing is written."),
    ] = False,
    as_json: JsonOption = False,
    store: NamedStore = None,
) -> None:
    """List the runs of a store and how far they are.

    Example: `birthmark status runs --watch`
    """
    from birthmark.cli import lists

    chosen = find_store(folder, store)
    if watch:
        from birthmark.cli.tables import watch_runs

        watch_runs(lambda: lists.read_rows(chosen))
    elif as_json:
        from birthmark.store import open_store

        table = open_store(chosen).runs()
        print(table.to_json(orient="records", indent=2, date_format="iso"))
    else:
        lists.print_store(chosen)


def _carry_out(grid: Grid, store: Path, *, as_json: bool) -> None:
    from birthmark.cli.progress import Display
    from birthmark.data import fetch_dataset
    from birthmark.sweeps import Stopped, run_grid

    # what is not here is refused, or comes with a bar, before the store is touched
    for name in sorted({spec.data.name for spec in grid}):
        fetch_dataset(name, progress=True)
    display = Display(len(grid), quiet=as_json)
    try:
        with display:
            results = run_grid(
                grid,
                store,
                starting=display.announce,
                watch=display.show,
                finished=display.finish,
            )
    except KeyboardInterrupt as interrupt:
        command = shlex.join(["birthmark", *sys.argv[1:]])
        saved = isinstance(interrupt, Stopped)
        how = "Stopped and saved" if saved else "Stopped; what was saved before is kept"
        print(f"\n{how}. To go on: {command}", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps([_as_json(result) for result in results], indent=2))


def _as_json(result: RunResult) -> dict[str, Any]:
    records = result.records
    last = {
        name: [None if value != value else float(value) for value in records[name][-1]]
        for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    }
    return {
        "run_key": result.run_key,
        "folder": str(result.store.path / result.run_key),
        "was_done": result.was_done,
        **last,
    }
