"""Write the masks of the letter that the explorer embeds, from the library's own.

Run it when a width of its slider is new: `python tools/write_letters.py`.
"""

import base64
import json
from pathlib import Path

import numpy as np

from birthmark.errors import SpecError
from birthmark.marks import draw_mark
from birthmark.spec import MarkSpec

PAGE = Path(__file__).parent.parent / "src" / "birthmark" / "explorer" / "page"
NUM_INPUTS = 64
WIDTHS = (4, 8, 16, 24, 32, 48, 64, 96, 128)


def pack_letters() -> dict[str, str]:
    """Masks by `rows x columns`: bits of the rows, one after the other, in base64."""
    packed = {}
    for rows, columns in sorted(
        {(w, w) for w in WIDTHS} | {(NUM_INPUTS, w) for w in WIDTHS}
    ):
        try:
            mark = draw_mark(MarkSpec(text="a"), rows, columns)
        except SpecError:
            continue  # too narrow: the page says so
        bits = np.packbits(mark.mask_IO.ravel()).tobytes()
        packed[f"{rows}x{columns}"] = base64.b64encode(bits).decode()
    return packed


if __name__ == "__main__":
    (PAGE / "letters.json").write_text(json.dumps(pack_letters(), indent=1) + "\n")
