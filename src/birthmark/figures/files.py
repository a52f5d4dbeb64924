"""All figures of a store as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from birthmark.analysis import NothingFoundError, Survey, Thresholds, as_survey
from birthmark.errors import StoreError
from birthmark.figures.animation import Animation, animate_marks, find_ffmpeg
from birthmark.figures.catalogue import draw_survey
from birthmark.figures.drawings import Drawing
from birthmark.store import Store


def draw_figures(
    source: Store | Survey, folder: str | Path, thresholds: Thresholds | None = None
) -> list[Path]:
    """Write every figure that the runs of a store allow, and the animations.

    Each as PDF, as PNG of 300 dots an inch, as data (CSV where it is one table, else
    npz) and its caption as text; animations as GIF, and MP4 where there is an ffmpeg.

    Args:
        source: A store, or a survey of one that something else is made from too.
        folder: Made where it is missing.
        thresholds: Of a store; a survey has its own.

    Returns:
        The files, in the order of `draw_survey`, animations last.

    Raises:
        StoreError: A fact about the data of a run is missing, or the folder cannot be
            written.
    """
    folder = Path(folder)
    survey = as_survey(source, thresholds)
    with _writing_into(folder):
        paths = write_drawings(draw_survey(survey).drawings, folder)
        for family in survey.families:
            try:
                animations = animate_marks(family)
            except NothingFoundError:  # as Figure 1, whose absence is explained
                continue
            for animation in animations:
                paths += list(_write_animation(animation, folder))
    return paths


def write_drawings(drawings: Iterable[Drawing], folder: str | Path) -> list[Path]:
    """Write drawings as `draw_figures` does: PDF, PNG, data, caption.

    Raises:
        StoreError: The folder cannot be written.
    """
    folder = Path(folder)
    with _writing_into(folder):
        return [path for one in drawings for path in _write_drawing(one, folder)]


@contextmanager
def _writing_into(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write figures to {folder} ({error.strerror}): name another folder"
        ) from error


def _write_drawing(drawing: Drawing, folder: Path) -> Iterator[Path]:
    files = {
        "pdf": drawing.render("pdf"),
        "png": drawing.render("png", opaque=True),
        "txt": f"{drawing.text}\n".encode(),
    }
    shapes = {array.shape for array in drawing.data.values()}
    if len(shapes) == 1 and len(next(iter(shapes))) == 1:
        files["csv"] = _to_csv(drawing)
    else:
        files["npz"] = _to_npz(drawing)
    for ending, content in files.items():
        path = folder / f"{drawing.name}.{ending}"
        path.write_bytes(content)
        yield path


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


def _write_animation(animation: Animation, folder: Path) -> Iterator[Path]:
    gif = folder / f"{animation.name}.gif"
    gif.write_bytes(animation.to_gif())
    yield gif
    ffmpeg = find_ffmpeg()
    if ffmpeg is not None:
        mp4 = folder / f"{animation.name}.mp4"
        animation.write_mp4(mp4, ffmpeg)
        yield mp4
