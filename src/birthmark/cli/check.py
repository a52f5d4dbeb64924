"""The command that checks a model before its first step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birthmark.cli.models import cannot_make, find_named, is_address

if TYPE_CHECKING:
    from birthmark.checkup import CheckUp

_PREPROCESSING = ("unit", "inverted", "standardized")
_COLOURS = {"note": "cyan", "warning": "yellow", "error": "bold red"}


def check(
    model: Annotated[
        str,
        typer.Argument(
            help="module:name or file.py:name of a model, class or factory."
        ),
    ],
    data: Annotated[
        str, typer.Option(help="Name of a data set, or file.py:name of a batch.")
    ] = "digits",
    preprocessing: Annotated[
        str, typer.Option(help="unit, inverted or standardized.")
    ] = "standardized",
    batch: Annotated[int, typer.Option(min=2, help="Examples, the first ones.")] = 128,
    shape: Annotated[
        str, typer.Option(help="flat, image, or what the first layer takes.")
    ] = "auto",
    loss: Annotated[
        str | None,
        typer.Option(help="Name of the loss, or file.py:name of (outputs, target)."),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="file.py:name of a loss of (model, batch).")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="file.py:name of what makes one of the model.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate to hold sharpness against.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Set before the model is made."),
    ] = 0,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also Jacobian and sharpness.")
    ] = False,
    ignore: Annotated[
        list[str],
        typer.Option(help="Name of a finding to leave out, or name:tensor."),
    ] = [],  # noqa: B006 - typer copies it
    fail_on: Annotated[
        str | None,
        typer.Option(
            help="note, warning or error: exit with 1 when there is one or a graver."
        ),
    ] = None,
    passport: Annotated[
        Path | None,
        typer.Option(help="Write law, numbers and fingerprint of each tensor as JSON."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="A passport: only say which tensors are not what they were."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all readings as JSON.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write one HTML page.")
    ] = None,
) -> None:
    """Check a model before its first step: signal, symmetry, laws.

    Exit status: 0; 1 with findings at --fail-on or above, or with changes since the
    passport of --compare; 2 for what cannot be checked.

    Example: `birthmark check mymodule:make_model --data mnist --fail-on warning`
    """
    from birthmark.checkup import LEVELS, ignoring
    from birthmark.checkup import check as check_model
    from birthmark.errors import unknown_name
    from birthmark.store import check_target
    from birthmark.whole_files import write_output

    if fail_on is not None and fail_on not in LEVELS:
        raise unknown_name("level", fail_on, LEVELS)
    if preprocessing not in _PREPROCESSING:
        raise unknown_name("preprocessing", preprocessing, _PREPROCESSING)
    for file in (passport, json_file, html_file):
        if file is not None:
            check_target(file)
    made = _make(model, seed)
    if compare is not None:
        _compare(made, compare)
        return
    if passport is not None and _has_no_numbers(made):
        _write_passport(made, None, passport)
        return
    inputs = (
        _call(data, "batch")
        if is_address(data)
        else _take(data, preprocessing, made, batch, shape)
    )
    checkup = check_model(
        made,
        inputs,
        loss=find_named(loss) if loss and is_address(loss) else loss,
        objective=find_named(objective) if objective else None,
        optimizer=_call(optimizer, "optimizer", made) if optimizer else None,
        lr=lr,
        deep=deep,
    )
    checkup = ignoring(checkup, ignore)
    _print(checkup)
    if passport is not None:
        _write_passport(made, checkup, passport)
    if json_file is not None:
        print(write_output(json_file, checkup.to_json() + "\n"))
    if html_file is not None:
        from birthmark.report import write_checkup

        print(write_checkup(checkup, html_file))
    if fail_on is not None and checkup.at_or_above(fail_on):
        raise typer.Exit(1)


def _make(address: str, seed: int) -> Any:
    """The model that an address names; classes and factories are called."""
    from birthmark.checkup import seed_streams

    seed_streams(seed)
    found = find_named(address)
    try:
        # a module of torch is callable too, but no factory: it has parameters
        is_model = hasattr(found, "parameters") and not isinstance(found, type)
        return found if is_model else found()
    except Exception as error:
        raise cannot_make(address, error) from error


def _call(address: str, what: str, *arguments: Any) -> Any:
    """What an address names; functions are called."""
    from birthmark.errors import SpecError

    found = find_named(address)
    if not callable(found):
        return found
    try:
        return found(*arguments)
    except Exception as error:
        kind = type(error).__name__
        raise SpecError(
            f"cannot make the {what} from {address}: {kind}: {error}"
        ) from error


def _take(name: str, preprocessing: str, model: Any, examples: int, shape: str) -> Any:
    from birthmark.checkup import take_batch
    from birthmark.data import load_dataset
    from birthmark.spec import DataSpec

    spec = DataSpec.model_validate({"name": name, "preprocessing": preprocessing})
    dataset = load_dataset(spec, progress=True)
    return take_batch(dataset, model, examples=examples, shape=shape)


def _has_no_numbers(model: Any) -> bool:
    return any(getattr(p, "is_meta", False) for p in model.parameters())


def _write_passport(model: Any, checkup: CheckUp | None, path: Path) -> None:
    from birthmark.checkup import make_passport, write_passport

    readings = None if checkup is None else checkup.tensors
    print(write_passport(make_passport(model, readings), path))


def _compare(model: Any, path: Path) -> None:
    """Say which tensors are not what a passport says; exit with 1 if there are any."""
    from birthmark.checkup import (
        compare_passports,
        group_changes,
        make_passport,
        read_passport,
    )

    before = read_passport(path)
    now = make_passport(model)
    changes = compare_passports(before, now)
    if not changes:
        print(f"All {len(before)} tensors are what {path} says, to the last bit.")
        return
    if not before.keys() & now.keys() and all(c.what != "renamed" for c in changes):
        print(f"{path} is of another model: none of its {len(before)} tensors is here.")
        raise typer.Exit(1)
    of = len(before.keys() | now.keys())
    print(f"{len(changes)} of {of} tensors are not what {path} says:")
    for names, words in group_changes(changes):
        print(f"  {', '.join(names)}: {words}")
    raise typer.Exit(1)


def _print(checkup: CheckUp) -> None:
    """The verdict, the five worst rows, the findings, and where the rest is."""
    from rich.console import Console
    from rich.text import Text

    from birthmark.cli.tables import print_rows

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    console.print(Text(checkup.verdict, style="bold"))
    for line in checkup.sentences():
        console.print(Text(line))
    print()
    header, rows = checkup.worst()
    if rows:
        print_rows(header, rows)
        print()
    for finding in checkup.findings:
        head = Text(f"{finding.level.upper()} [{finding.name}] ", style="bold")
        head.stylize(_COLOURS[finding.level])
        console.print(head + Text(finding.what, style="bold"))
        console.print(Text(f"  Why: {finding.why}"))
        if finding.advice:
            console.print(Text(f"  Do: {finding.advice}"))
        source = f" Source: {finding.source}." if finding.source else ""
        console.print(Text(f"  How: {finding.how}.{source}", style="dim"))
    for reason in checkup.unread:
        console.print(Text(f"Not read: {reason}", style="dim"))
    console.print(
        Text(
            f"All {len(checkup.layers)} layers and {len(checkup.tensors)} tensors: "
            "--html PAGE or --json FILE.",
            style="dim",
        )
    )
