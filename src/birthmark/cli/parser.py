"""Which commands there are, and the parser of those that a call needs."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer

from birthmark.cli.lists import print_version
from birthmark.extensions import REGISTERED

# by name the file of a command, in the order of the help; `data` is a group of them
_COMMANDS = {
    "reproduce": "runs",
    "run": "runs",
    "sweep": "sweeps",
    "status": "runs",
    "figures": "outputs",
    "report": "outputs",
    "check": "check",
    "diff": "diff",
    "compare": "compare",
    "experiment": "experiments",
    "ship": "outputs",
    "explore": "pages",
    "serve": "pages",
    "phase": "phases",
    "verify": "stores",
    "repair": "stores",
    "export": "stores",
    "data": "datasets",
}
_HELP: tuple[list[str], ...] = ([], ["-h"], ["--help"])


def make_parser(arguments: list[str] | None = None) -> typer.Typer:
    """The parser for a call: of its command alone, and of none for the list of all.

    To look through the options of all would take as long as all else of most calls;
    without a call that is what is made.
    """
    app = typer.Typer(
        name="birthmark",
        help="How far neural-network training travels from its random start.",
        epilog=f"Of your own: {', '.join(REGISTERED)}." if REGISTERED else None,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_version)
    for name in [one for one in _COMMANDS if one in (arguments or [])[:1]] or _COMMANDS:
        command = _load(name)
        if arguments in _HELP:
            app.command(name)(_without_options(command))
        elif isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _load(name: str) -> Any:
    """A function, or a group of them."""
    return getattr(import_module(f"birthmark.cli.{_COMMANDS[name]}"), name)


def _without_options(command: Callable[..., None] | typer.Typer) -> Callable[[], None]:
    """What stands for a command in the list of all: its help alone."""

    def listed() -> None:
        pass

    if isinstance(command, typer.Typer):
        listed.__doc__ = command.info.help
    else:
        listed.__doc__ = inspect.getdoc(command)
    return listed


def _version(
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    if version:
        print_version()
        raise typer.Exit
