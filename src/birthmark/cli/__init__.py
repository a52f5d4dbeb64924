"""The command line: parse, call, print.

Rooms are imported inside the commands, so that `--help` answers at once.
"""

import gc
import os
import sys

import typer

from birthmark.cli.check import check
from birthmark.cli.compare import compare
from birthmark.cli.datasets import data_app
from birthmark.cli.diff import diff
from birthmark.cli.experiments import experiment
from birthmark.cli.outputs import figures, report, ship
from birthmark.cli.pages import explore, serve
from birthmark.cli.phases import phase
from birthmark.cli.runs import reproduce, run, status
from birthmark.cli.stores import export, repair, verify
from birthmark.cli.sweeps import sweep
from birthmark.cli.terminal import any_terminal

app = typer.Typer(
    name="birthmark",
    help="How far neural-network training travels from its random start.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    *(reproduce, run, sweep, status, figures, report),
    *(check, diff, compare, experiment, ship, explore, serve),
    *(phase, verify, repair, export),
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line: errors that a user can mend are one line, and exit 2."""
    from birthmark.errors import BirthmarkError
    from birthmark.extensions import REGISTERED, load_extensions

    gc.set_threshold(100_000, 50, 100)  # a figure makes objects by the 100,000
    with any_terminal():
        try:
            _check_folder()
            load_extensions()
            own = f"Of your own: {', '.join(REGISTERED)}." if REGISTERED else None
            app.info.epilog = own
            app(prog_name="birthmark")
        except BirthmarkError as error:
            _refuse(str(error))
        except OSError as error:
            if error.filename is None:
                raise
            # what the file system answers about a file is no fault of ours
            _refuse(f"{error.filename}: {error.strerror}")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            _refuse("training needs torch: pip install 'birthmark[train]'")


def _check_folder() -> None:
    """Refuse a working folder that is gone: torch dies of it, and blames a library."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        _refuse("the folder that it was started in is gone: go to another")


def _refuse(message: str) -> None:
    print(f"birthmark: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    if version:
        from birthmark import __version__

        print(__version__)
        raise typer.Exit
