"""The command that trains from several initializations and compares them."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birthmark.cli.models import cannot_make, find_named, is_address

if TYPE_CHECKING:
    from birthmark.analysis import Comparison
    from birthmark.shapes import EpochMetrics
    from birthmark.spec import RunSpec

_COLOURS = {"warning": "yellow", "note": "cyan"}
# unless a spec says otherwise: a comparison wants curves, not the paper's 1000 epochs
_DEFAULTS: dict[str, Any] = {
    "training": {"epochs": 20},
    "run": {"replicas": 5},
    "record": {"distributions": []},
}


def compare(
    init: Annotated[
        list[str],
        typer.Option(
            "--init",
            metavar="NAME[:KEY=VALUE],...",
            help="Two or more, with commas: he_normal, constant:value=0.5; with "
            "--model also as_built, or file.py:name of a function of the model.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Name of a data set (digits unless said); with --model also "
            "file.py:name of what gives x_train, y_train, x_test, y_test."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="file.py:name or module:name of a factory of torch modules; else the "
            "dense network of the spec."
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="With --model: file.py:name of (outputs, targets)."),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="With --model: file.py:name of what makes one of a model."),
    ] = None,
    tune_lr: Annotated[
        str | None,
        typer.Option(
            "--tune-lr",
            metavar="LR,LR,...",
            help="Choose each initialization's learning rate among these, on the next "
            "seed.",
        ),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(help="Of each initialization; 5 unless said.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Budget of each; 20 unless said.")
    ] = None,
    reach: Annotated[
        list[float],
        typer.Option(help="A test loss to reach; by default 3 shares of a guess's."),
    ] = [],  # noqa: B006 - typer copies it
    spec: Annotated[
        Path | None,
        typer.Option(help="A spec in TOML; else 256-256, 20 epochs, 5 replicas."),
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key of the spec, as lr."
        ),
    ] = [],  # noqa: B006 - typer copies it
    shape: Annotated[
        str, typer.Option(help="With --model: flat, image, or what it takes.")
    ] = "auto",
    store: Annotated[
        Path, typer.Option(help="Folder of the runs: what is there is not run again.")
    ] = Path("runs"),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers as JSON.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Draw curves and differences into this folder.")
    ] = None,
) -> None:
    """Train from several initializations, and compare them in pairs.

    All see the same batches. What was stopped, or killed, goes on with the same
    command.

    Example: `birthmark compare --init glorot_uniform,he_normal,orthogonal --data mnist`

    Example: `birthmark compare --model net.py:make --init as_built,net.py:draw --data
    net.py:data --loss net.py:loss --tune-lr 0.01,0.1`
    """
    from birthmark.data import fetch_dataset
    from birthmark.errors import SpecError
    from birthmark.store import check_target, make_output_folder

    if json_file is not None:
        check_target(json_file)
    if figures is not None:
        make_output_folder(figures)
    rules = [_read_rule(text) for listed in init for text in listed.split(",")]
    own = {
        "data": find_named(data) if data and is_address(data) else None,
        "loss": find_named(loss) if loss else None,
        "optimizer": find_named(optimizer) if optimizer else None,
    }
    name = Path(data.rpartition(":")[0]).stem if data and own["data"] else data
    chosen = _read_spec(spec, name, settings, replicas=replicas, epochs=epochs)
    lrs = _read_lrs(tune_lr)
    if own["data"] is None:
        fetch_dataset(chosen.data.name, progress=True)
    try:
        if model is None:
            comparison = _compare_runs(rules, chosen, store, reach, lrs, own)
        else:
            comparison = _compare_models(
                model, rules, chosen, store, shape, reach, lrs, own
            )
    except SpecError as error:
        if "needs the parameter" not in str(error):
            raise
        message = f"{error}: write it as NAME:KEY=VALUE, constant:value=0.5"
        raise SpecError(message) from error
    except KeyboardInterrupt:
        command = shlex.join(["birthmark", *sys.argv[1:]])
        print(f"\nStopped and saved. To go on: {command}", file=sys.stderr)
        raise typer.Exit(130) from None
    _print(comparison)
    if json_file is not None:
        _write(json_file, comparison)
    if figures is not None:
        from birthmark.figures import write_comparison

        for path in write_comparison(comparison, figures):
            print(path)


def _read_rule(text: str) -> Any:
    """A rule by name, or what `file.py:name` names."""
    from birthmark.errors import SpecError
    from birthmark.sweeps import parse_rule

    name = text.strip().rpartition(":")[2]
    if ":" not in text or not name.isidentifier():
        return parse_rule(text)
    found = find_named(text.strip())
    if not callable(found):
        kind = type(found).__name__
        raise SpecError(f"--init {text} is {kind}: name a function of the model")
    return found


def _read_spec(
    path: Path | None,
    data: str | None,
    settings: list[str],
    *,
    replicas: int | None,
    epochs: int | None,
) -> RunSpec:
    from birthmark.spec import RunSpec, apply_settings, parse_setting

    given = dict(parse_setting(text) for text in settings)
    options = {"data.name": data, "run.replicas": replicas, "training.epochs": epochs}
    given |= {key: value for key, value in options.items() if value is not None}
    if path is not None:
        return RunSpec.from_toml(path, given)
    tables = {"data": {"name": "digits"}, **_DEFAULTS}
    return RunSpec(**apply_settings(tables, given))


def _read_lrs(text: str | None) -> list[float]:
    from birthmark.errors import SpecError

    try:
        return [float(one) for one in text.split(",")] if text else []
    except ValueError as error:
        raise SpecError(
            f"--tune-lr takes numbers with commas between, got {text!r}"
        ) from error


def _compare_runs(
    rules: list[Any],
    spec: RunSpec,
    store: Path,
    reach: list[float],
    lrs: list[float],
    own: dict[str, Any],
) -> Comparison:
    from birthmark.cli.progress import Display
    from birthmark.comparison import compare as compare_runs

    display = Display(len(rules) * (1 + len(lrs)), quiet=False)
    with display:
        return compare_runs(
            rules,
            spec,
            store=store,
            **own,
            losses=reach,
            lrs=lrs,
            starting=display.announce,
            watch=display.show,
            finished=display.finish,
        )


def _compare_models(
    address: str,
    rules: list[Any],
    spec: RunSpec,
    store: Path,
    shape: str,
    reach: list[float],
    lrs: list[float],
    own: dict[str, Any],
) -> Comparison:
    from birthmark.comparison import compare_models

    def say(name: str, metrics: EpochMetrics) -> None:
        if metrics.epoch == spec.training.epochs:
            print(f"{name}: done", file=sys.stderr)

    found = find_named(address)

    @functools.wraps(found)
    def factory() -> Any:
        try:
            return found()
        except Exception as error:
            raise cannot_make(address, error) from error

    return compare_models(
        factory,
        rules,
        spec,
        **own,
        losses=reach,
        lrs=lrs,
        shape=shape,
        store=store,
        watch=say,
    )


def _print(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.text import Text

    from birthmark.analysis import (
        METHOD,
        comparison_protocol,
        comparison_table,
        find_differences,
    )
    from birthmark.cli.tables import print_rows

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    print(
        f"\n{len(comparison.names)} initializations on "
        f"{comparison.candidates[0].spec.data.name}, "
        f"{comparison.num_replicas} paired replicas, {comparison.budget:,} steps each"
    )
    for name, words in comparison_protocol(comparison).items():
        console.print(Text(f"  {name}: {words}", "dim"))
    print()
    print_rows(*comparison_table(comparison))
    console.print(
        Text("Letters: no difference is seen between those that share one.\n", "dim")
    )
    for finding in find_differences(comparison):
        colour = _COLOURS.get(finding.level, "")
        what = finding.what.replace(" %", "\u00a0%")  # no line begins with it
        console.print(Text(f"- {what}", style=colour))
    console.print(Text(f"\nMethod: {METHOD}.", style="dim"))


def _write(path: Path, comparison: Comparison) -> None:
    from birthmark.analysis import summarize_comparison
    from birthmark.whole_files import write_output

    text = json.dumps(summarize_comparison(comparison), indent=2)
    print(write_output(path, text + "\n"))
