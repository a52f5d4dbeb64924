"""The command that carries out an experiment of the docs, or draws what was shipped."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def experiment(
    name: Annotated[
        str | None, typer.Argument(help="Which; without a name all are listed.")
    ] = None,
    scale: Annotated[
        str,
        typer.Option(help="shipped (no training), full (minutes) or quick (seconds)."),
    ] = "shipped",
    store: Annotated[
        Path | None, typer.Option(help="Folder; by default experiments/NAME.")
    ] = None,
) -> None:
    """Measure the answer to a question of the docs, and draw its figure.

    Example: `birthmark experiment depth --scale full --store depth`
    """
    from birthmark.experiments import (
        experiment_names,
        find_experiment,
        run_experiment,
        shipped_results,
    )
    from birthmark.figures import draw_experiment, write_drawings

    if name is None:
        for each in experiment_names():
            print(f"{each:28s}{find_experiment(each).question}")
        return
    folder = store or Path("experiments") / name
    try:
        if scale == "shipped":
            results = shipped_results(name)
        else:
            results = run_experiment(name, folder, scale)
    except KeyboardInterrupt:
        command = shlex.join(["birthmark", *sys.argv[1:]])
        print(f"\nStopped. To go on: {command}", file=sys.stderr)
        raise typer.Exit(130) from None
    for path in write_drawings([draw_experiment(name, results)], folder / "figures"):
        print(path)
