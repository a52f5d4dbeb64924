"""The explorer put together: readable sources and the digits, into one HTML file.

The page needs no server and no network. `page/letters.json` holds the masks of the
letter at the sizes of its sliders, since drawing one takes the font of `network`.
"""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path

from birthmark import __version__
from birthmark.data import load_dataset
from birthmark.shapes import Array
from birthmark.store import check_target
from birthmark.whole_files import write_output

_WORKER = ("random.js", "network.js", "measures.js", "worker.js")
_PAGE = ("drawing.js", "stories.js", "explorer.js")


def write_explorer(path: str | Path) -> Path:
    """Write the explorer as one HTML file that opens in any browser.

    Args:
        path: The file; its folder must be there.

    Returns:
        The path of the file.

    Raises:
        StoreError: The file cannot be written.
    """
    target = check_target(path)
    return write_output(target, _assemble())


def _assemble() -> str:
    worker = f"const DIGITS = {json.dumps(_digits())};\n{_sources(_WORKER)}"
    page = f"const LETTERS = {_source('letters.json')};\n{_sources(_PAGE)}"
    parts = {
        "style": _source("explorer.css"),
        "worker": worker,
        "page": page,
        "version": __version__,
    }
    html = _source("explorer.html")
    for name, text in parts.items():
        html = html.replace(f"{{{{ {name} }}}}", text)
    return html


def _digits() -> dict[str, dict[str, str]]:
    """Pixels (0 to 16) and classes of both halves, one byte each, as base64."""
    digits = load_dataset("digits")
    return {
        "train": {"x": _bytes(digits.x_train), "y": _bytes(digits.y_train)},
        "test": {"x": _bytes(digits.x_test), "y": _bytes(digits.y_test)},
    }


def _bytes(array: Array) -> str:
    return base64.b64encode(array.astype("uint8").tobytes()).decode()


def _sources(names: tuple[str, ...]) -> str:
    return "\n".join(_source(name) for name in names)


def _source(name: str) -> str:
    page = files("birthmark.explorer").joinpath("page", name)
    return page.read_text(encoding="utf-8")
