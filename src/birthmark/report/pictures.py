"""Drawings as pictures that lie in the page itself, for light and for dark screens."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from birthmark.figures import Drawing

LARGEST_SVG = 400_000  # bytes; a drawing that is larger as SVG is shown in pixels
LARGEST_DATA = 400_000  # bytes; larger data are left to `birthmark figures`


@dataclass(frozen=True)
class Picture:
    """One drawing, ready for the page."""

    name: str
    number: int  # of the figure of the paper
    title: str
    caption: str
    light: str  # data URI
    dark: str  # data URI
    data: str  # data URI of the npz file of the numbers drawn; '' if it is large


def embed(drawing: Drawing) -> Picture:
    """Render a drawing for both themes: SVG where that is small, else WebP."""
    light = drawing.render("svg", "light")
    if len(light) <= LARGEST_SVG:
        kind = "image/svg+xml"
        dark = drawing.render("svg", "dark")
    else:
        # a matrix of noise is four times as large as PNG; `birthmark figures` has that
        kind = "image/webp"
        light = _to_webp(drawing.render("png", "light"))
        dark = _to_webp(drawing.render("png", "dark"))
    return Picture(
        name=drawing.name,
        number=drawing.number,
        title=drawing.title,
        caption=drawing.caption,
        light=_uri(kind, light),
        dark=_uri(kind, dark),
        data=_data_uri(drawing),
    )


def _to_webp(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(buffer, "WEBP", quality=90)
    return buffer.getvalue()


def _data_uri(drawing: Drawing) -> str:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **drawing.data)  # type: ignore[arg-type]
    content = buffer.getvalue()
    if len(content) > LARGEST_DATA:
        return ""
    return _uri("application/octet-stream", content)


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
