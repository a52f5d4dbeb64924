"""Commands that open pages: explore, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from birthmark.cli.folders import NamedStore, StoreArgument, find_store


def explore(
    out: Annotated[
        Path | None,
        typer.Option(help="Write the page here, and open nothing."),
    ] = None,
) -> None:
    """Paint a letter into a network and train it in the browser.

    Example: `birthmark explore --out explorer.html`
    """
    import webbrowser

    from platformdirs import user_cache_path

    from birthmark.explorer import write_explorer

    if out is not None:
        print(write_explorer(out))
        return
    folder = user_cache_path("birthmark")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home, or one that is only read
        import tempfile

        folder = Path(tempfile.mkdtemp(prefix="birthmark-"))
    path = write_explorer(folder / "explorer.html")
    print(path)
    if not webbrowser.open(path.as_uri()):
        print("No browser opened: open this file in one.")


def serve(
    folder: StoreArgument = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; this machine alone unless said.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 takes one that is free.")
    ] = 8765,
    store: NamedStore = None,
) -> None:
    """Show a store in the browser, live while runs are written.

    Example: `birthmark serve runs --port 0`
    """
    from birthmark.serve import serve_store
    from birthmark.store import open_store

    def announce(address: str) -> None:
        print(f"Open {address}\nStop with Ctrl-C.", flush=True)

    chosen = open_store(find_store(folder, store))
    serve_store(chosen, host=host, port=port, announce=announce)
