"""Commands that open pages: explore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explore(
    out: Annotated[
        Path | None,
        typer.Option(help="Write the page here, and open nothing."),
    ] = None,
) -> None:
    """Open the explorer: paint a letter into a network and train it in the page.

    Example: `birthmark explore --out explorer.html`
    """
    import webbrowser

    from platformdirs import user_cache_path

    from birthmark.explorer import write_explorer

    if out is not None:
        print(write_explorer(out))
        return
    folder = user_cache_path("birthmark", ensure_exists=True)
    path = write_explorer(folder / "explorer.html")
    print(path)
    if not webbrowser.open(path.as_uri()):
        print("No browser opened: open this file in one.")
