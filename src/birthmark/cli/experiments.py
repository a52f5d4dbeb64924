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
    """Answer a question of the docs, and draw its figure.

    Example: `birthmark experiment depth --scale full --store depth`
    """
    from birthmark.cli.lists import print_experiments
    from birthmark.experiments import find_package

    if name is None:
        print_experiments()
        return
    package = find_package("birthmark experiment")
    folder = store or Path("experiments") / name
    try:
        if scale == "shipped":
            results = package.shipped_results(name)
        else:
            results = package.run_experiment(name, folder, scale)
    except KeyboardInterrupt:
        command = shlex.join(["birthmark", *sys.argv[1:]])
        print(f"\nStopped. To go on: {command}", file=sys.stderr)
        raise typer.Exit(130) from None
    from birthmark.figures import write_drawings

    print(f"{package.find_experiment(name).question}\n")
    if scale == "quick":
        print("The quick scale shows that everything works; it answers nothing.\n")
    else:
        measured = None if scale == "shipped" else results
        print(f"{package.say_answer(name, measured)}\n")
    drawing = package.draw_experiment(name, results)
    for path in write_drawings([drawing], folder / "figures"):
        print(path)
