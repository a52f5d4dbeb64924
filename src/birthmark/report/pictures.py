"""Drawings as pictures that lie in the page itself, for light and for dark screens."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from birthmark.figures import Drawing, follow_theme, picture_matrix
from birthmark.shapes import Array

LARGEST_SVG = 400_000  # bytes; a drawing that is larger as SVG is shown in pixels
LARGEST_DATA = 400_000  # bytes; larger data are left to `birthmark figures`
_DPI = 140  # of what is rasterized


@dataclass(frozen=True)
class Picture:
    """One drawing, ready for the page."""

    name: str
    title: str
    caption: str
    light: str  # data URI
    dark: str  # data URI; '' where the first follows the theme
    data: str  # data URI of the npz file of the numbers drawn; '' if it is large


def embed(drawing: Drawing) -> Picture:
    """Render a drawing: as one SVG that follows the theme of the screen, or as WebP.

    Of a WebP, which is smaller where a drawing has many pixels, there are two.
    """
    svg = drawing.render("svg", dpi=_DPI)
    if len(svg) <= LARGEST_SVG:
        light, dark = _uri("image/svg+xml", follow_theme(svg)), ""
    else:
        light, dark = (
            _uri("image/webp", _to_webp(drawing.render("png", theme, dpi=_DPI)))
            for theme in ("light", "dark")
        )
    return Picture(
        drawing.name,
        drawing.title,
        drawing.caption,
        light,
        dark,
        _data_uri(drawing),
    )


def embed_matrix(w_IO: Array, bound: float) -> str:
    """A matrix as a data URI, a pixel a weight, on the scale of its start."""
    return _uri("image/png", picture_matrix(w_IO, bound))


def _to_webp(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(buffer, "WEBP", quality=85)
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
