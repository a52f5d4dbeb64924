"""Marks: a text or an image drawn into the weights of one layer.

Texts are drawn with a font that ships with the package, at many times the size of the
matrix, and then reduced: the mask depends neither on the fonts of the machine nor on
the hinting of its FreeType.
"""

import hashlib
import warnings
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from birthmark.errors import SpecError
from birthmark.shapes import Array, Mark
from birthmark.spec import MarkSpec

_FONT_SIZE = 400  # pixels: far more than a matrix needs, so that edges are exact
_MOST_PIXELS = 16_000_000  # of a picture: 64 MB unpacked
_FILL = 0.8  # share of the matrix, in its tighter direction, that the drawing takes


def draw_mark(spec: MarkSpec, fan_in: int, fan_out: int) -> Mark:
    """The mask [I, O] of a text or image, upright when rows run down the page.

    Raises:
        SpecError: The image cannot be read, or no weight lies under the mark.
    """
    ink = _text_ink(spec.text) if spec.text is not None else _image_ink(spec)
    mask_IO = _fit(ink, fan_in, fan_out)
    if not mask_IO.any() or mask_IO.all():
        what = spec.text if spec.text is not None else spec.image
        raise SpecError(
            f"mark {what!r} cannot be drawn into {spec.layer}, {fan_in} x {fan_out}: "
            "take a wider layer or a shorter text"
        )
    return Mark(spec.layer, mask_IO, spec.mode, spec.value or 0.0)


def apply_mark(mark: Mark, w_IO: Array) -> Array:
    """A copy with the weights under the mark zeroed, scaled or shifted."""
    under = {
        "zero": np.zeros_like(w_IO),
        "scale": w_IO * mark.value,
        "shift": w_IO + mark.value,
    }[mark.mode]
    return np.where(mark.mask_IO, under, w_IO)


def _text_ink(text: str) -> Image.Image:
    font_file = resources.files("birthmark") / "fonts" / "DejaVuSans.ttf"
    with resources.as_file(font_file) as path:
        # the basic layout: the other one depends on a library of the machine
        font = ImageFont.truetype(
            path, _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC
        )
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    ink = Image.new("L", (max(1, right - left), max(1, bottom - top)), 0)
    ImageDraw.Draw(ink).text((-left, -top), text, fill=255, font=font)
    return ink


def _image_ink(spec: MarkSpec) -> Image.Image:
    """Dark pixels are ink; transparent ones are paper."""
    try:
        content = Path(str(spec.image)).read_bytes()
        picture = _open_picture(content)
    except UnidentifiedImageError as error:
        raise SpecError(f"mark.image: {spec.image!r} is no image") from error
    # SyntaxError is how Pillow calls a broken PNG
    except (OSError, ValueError, SyntaxError) as error:
        raise SpecError(f"mark.image: cannot read {spec.image!r}: {error}") from error
    if hashlib.sha256(content).hexdigest() != spec.image_sha256:
        raise SpecError(
            f"mark.image: {spec.image!r} is not the file the spec was made with: "
            "leave image_sha256 out to take it as it is now"
        )
    paper = Image.new("RGBA", picture.size, "white")
    grey = np.asarray(Image.alpha_composite(paper, picture).convert("L"))
    return Image.fromarray(255 - grey)


def _open_picture(content: bytes) -> Image.Image:
    """The pixels, unless a small file stands for more of them than memory holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(BytesIO(content)) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise ValueError(
                        f"it has {image.width} x {image.height} pixels, at most "
                        f"{_MOST_PIXELS:,} are read: make it smaller"
                    )
                return image.convert("RGBA")
        except Image.DecompressionBombError as error:
            raise ValueError(f"{error} make it smaller") from error


def _fit(ink: Image.Image, rows: int, columns: int) -> Array:
    """The ink scaled into the middle of the matrix; covered by half counts as ink."""
    scale = _FILL * min(columns / ink.width, rows / ink.height)
    width = max(1, min(columns, round(ink.width * scale)))
    height = max(1, min(rows, round(ink.height * scale)))
    small = np.asarray(ink.resize((width, height), Image.Resampling.BOX))
    mask_IO = np.zeros((rows, columns), dtype=bool)
    top, left = (rows - height) // 2, (columns - width) // 2
    mask_IO[top : top + height, left : left + width] = small >= 128
    return mask_IO
