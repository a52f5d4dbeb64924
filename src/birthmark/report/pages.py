"""A page from a template: the style in it, its hash in the policy, written whole."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from birthmark import __version__
from birthmark.errors import StoreError
from birthmark.store import check_replaceable, replacing


def write_page(template: str, path: str | Path, **values: Any) -> Path:
    """Write one HTML file that needs nothing else to be read.

    Args:
        template: Name of the template, which gets `values` and what all pages need.
        path: The file.
        **values: What the template shows.

    Raises:
        StoreError: The file cannot be written.
    """
    target = check_target(path)
    style = files("birthmark.report").joinpath("templates", "report.css")
    css = style.read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("birthmark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(
        css=Markup(css),  # ours, and no place for what others wrote
        css_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        version=__version__,
        written=datetime.now(UTC),
        **values,
    )
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def check_target(path: str | Path) -> Path:
    """The path of a file that can be written, before any work.

    Raises:
        StoreError: It is a folder, a device or a pipe, or lies in no folder.
    """
    target = Path(path)
    if target.is_dir() or not target.parent.is_dir():
        raise StoreError(f"cannot write {target}: name a file in a folder that exists")
    check_replaceable(target)
    return target
