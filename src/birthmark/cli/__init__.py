"""The command line: parse, call, print.

Rooms are imported inside the commands, and the parser where there is something to
parse, so that lists and `--help` answer at once.
"""

import gc
import os
import sys
from pathlib import Path

from birthmark.cli.terminal import any_terminal, interruptible


def main() -> None:
    """Run the command line: errors that a user can mend are one line, and exit 2."""
    from birthmark.errors import BirthmarkError, say_shortage
    from birthmark.extensions import load_extensions

    gc.set_threshold(100_000, 50, 100)  # a figure makes objects by the 100,000
    with any_terminal():
        try:
            with interruptible():
                _check_folder()
                load_extensions()
                _answer(sys.argv[1:])
        except BirthmarkError as error:
            _refuse(str(error))
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            _refuse("training needs torch: pip install 'birthmark[train]'")
        except (MemoryError, RuntimeError, OSError, ImportError) as error:
            if shortage := say_shortage(error):
                _refuse(shortage)
            if not isinstance(error, OSError) or error.filename is None:
                raise
            # what the file system answers about a file is no fault of ours
            _refuse(f"{error.filename}: {error.strerror}")


def _answer(arguments: list[str]) -> None:
    """Lists that are asked for without more need no parser: it takes longer than they.

    Whatever else is said with them goes through it, to the same functions.
    """
    from birthmark.cli import lists

    match arguments:
        case ["--version"]:
            lists.print_version()
        case ["experiment"]:
            lists.print_experiments()
        case ["status"]:
            lists.print_store(Path("runs"))
        case ["status", store] | ["status", "--store", store] if store[:1] != "-":
            lists.print_store(Path(store))
        case _:
            from birthmark.cli.parser import make_parser

            make_parser(arguments)(prog_name="birthmark")


def _check_folder() -> None:
    """Refuse a working folder that is gone: torch dies of it, and blames a library."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        _refuse("the folder that it was started in is gone: go to another")


def _refuse(message: str) -> None:
    print(f"birthmark: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
