"""Which store a command reads: its folder, or by name as in commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from birthmark.errors import StoreError

StoreArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="STORE",
        help="Folder of the store; runs unless said.",
        show_default=False,
    ),
]
NamedStore = Annotated[
    Path | None, typer.Option("--store", help="The same folder, by name.")
]


def find_store(folder: Path | None, named: Path | None) -> Path:
    """The folder that was said in either way; `runs` if in none.

    Raises:
        StoreError: It was said in both, and not the same.
    """
    if folder is not None and named not in (None, folder):
        raise StoreError(f"{folder} and --store {named} are two stores: name one")
    return folder or named or Path("runs")
