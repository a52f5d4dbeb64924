"""All figures of a store as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from birthmark.analysis import NothingFoundError, Survey, Thresholds, as_survey
from birthmark.errors import SpecError, unknown_name
from birthmark.figures.animation import animate_marks, need_ffmpeg
from birthmark.figures.catalogue import draw_survey
from birthmark.figures.drawings import Drawing, Kind
from birthmark.figures.workers import make_each
from birthmark.store import Store, make_output_folder
from birthmark.whole_files import write_output

_STILL: tuple[Kind, ...] = ("pdf", "png", "svg")
_MOVING = {"gif", "mp4"}
FORMATS = (*_STILL, "gif", "mp4")


def draw_figures(
    source: Store | Survey,
    folder: str | Path,
    thresholds: Thresholds | None = None,
    *,
    formats: Sequence[str] = ("pdf",),
    apart: bool = False,
) -> list[Path]:
    """Write every figure that the runs of a store allow.

    Beside each lie its data (CSV where it is one table, else npz) and its caption.

    Args:
        source: A store, or a survey of one that something else is made from too.
        folder: Made where it is missing.
        thresholds: Of a store; a survey has its own.
        formats: What files: `pdf`, `png` (300 dots an inch), `svg`; with `gif` or
            `mp4` (which needs an ffmpeg) the marked matrices are animated too.
        apart: Drawn in a process a core, where Linux can copy this one.

    Returns:
        The files, in the order of `draw_survey`, animations last.

    Raises:
        StoreError: A fact about the data of a run is missing, or the folder cannot be
            written.
        SpecError: A format is not known.
        MissingDependencyError: There is no ffmpeg.
    """
    folder, still, moving = Path(folder), _stills(formats), set(formats) & _MOVING
    ffmpeg = need_ffmpeg() if "mp4" in moving else ""
    survey = as_survey(source, thresholds)
    make_output_folder(folder)
    paths = write_drawings(draw_survey(survey).drawings, folder, still, apart=apart)
    for family in survey.families if moving else ():
        try:
            animations = animate_marks(family)
        except NothingFoundError:  # as Figure 1, whose absence is explained
            continue
        for one in animations:
            path = folder / one.name
            if "gif" in moving:
                paths.append(write_output(path.with_suffix(".gif"), one.to_gif()))
            if ffmpeg:
                content = one.to_mp4(ffmpeg)
                paths.append(write_output(path.with_suffix(".mp4"), content))
    return paths


def write_drawings(
    drawings: Iterable[Drawing],
    folder: str | Path,
    formats: Sequence[str] = ("pdf", "png"),
    *,
    apart: bool = False,
) -> list[Path]:
    """Write drawings as `draw_figures` does: pictures, data, caption.

    Raises:
        StoreError: The folder cannot be written.
        SpecError: A format is not known.
    """
    folder, still = Path(folder), _stills(formats)
    make_output_folder(folder)
    write = partial(_write_drawing, folder=folder, kinds=still)
    made = make_each(write, list(drawings), formats=still, apart=apart)
    return sum(made, [])


def _stills(formats: Sequence[str]) -> list[Kind]:
    if isinstance(formats, str) or not formats:
        raise SpecError(f"formats: got {formats!r}, give a list as ['pdf', 'png']")
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    return [kind for kind in _STILL if kind in formats]


def _write_drawing(drawing: Drawing, folder: Path, kinds: Sequence[Kind]) -> list[Path]:
    files: dict[str, bytes] = {
        kind: drawing.render(kind, opaque=kind == "png") for kind in kinds
    }
    files["txt"] = f"{drawing.text}\n".encode()
    shapes = {array.shape for array in drawing.data.values()}
    if len(shapes) == 1 and len(next(iter(shapes))) == 1:
        files["csv"] = _to_csv(drawing)
    else:
        files["npz"] = _to_npz(drawing)
    return [
        write_output(folder / f"{drawing.name}.{ending}", content)
        for ending, content in files.items()
    ]


def _to_csv(drawing: Drawing) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(drawing.data)
    writer.writerows(zip(*drawing.data.values(), strict=True))
    return text.getvalue().encode()


def _to_npz(drawing: Drawing) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **drawing.data)  # type: ignore[arg-type]
    return buffer.getvalue()
