"""The marked matrix beside the losses of its network, epoch by epoch."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from birthmark.analysis import Family, Replica
from birthmark.errors import MissingDependencyError
from birthmark.figures.canvas import label_log, new_figure
from birthmark.figures.mark import (
    choose_marked,
    initial_bound,
    kept_epochs,
    retention,
    show_matrix,
)
from birthmark.figures.palettes import PALETTES, Palette, styled
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

FRAMES = 50  # at most
LARGEST_GIF = 3_000_000  # bytes
_COLOURS = 127  # of a GIF: noise in more of them would not fit
_DPI = 100
_FRAME_MS, _LAST_MS = 160, 2400


@dataclass(frozen=True, eq=False)
class Animation:
    """One network of Figure 1 while it trains."""

    name: str  # file stem, such as `animation-mark-hasyv2-512`
    frames: Array  # [F, height, width, 3] uint8

    def to_gif(self) -> bytes:
        """A GIF that repeats; with fewer frames where it would be too large."""
        frames, content = self.frames, _encode_gif(self.frames)
        while len(content) > LARGEST_GIF and len(frames) > 2:
            frames = _thin(frames, len(frames) * 2 // 3)
            content = _encode_gif(frames)
        return content

    def to_mp4(self, ffmpeg: str) -> bytes:
        """An MP4 by the program at `ffmpeg`.

        Raises:
            MissingDependencyError: The program cannot do it.
        """
        height, width = self.frames.shape[1:3]
        held = np.repeat(self.frames[-1:], _LAST_MS // _FRAME_MS, axis=0)
        source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {1000 / _FRAME_MS}"
        target = "-pix_fmt yuv420p -movflags +faststart"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.name}.mp4"
            done = subprocess.run(
                [ffmpeg, "-y", *source.split(), "-i", "-", *target.split(), str(path)],
                input=np.concatenate([self.frames, held]).tobytes(),
                capture_output=True,
            )
            if done.returncode == 0:
                return path.read_bytes()
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MissingDependencyError(
            f"{ffmpeg} could not write {path.name} ({' '.join(reason)}): "
            "pip install 'birthmark[mp4]' brings one that can"
        )


def animate_marks(family: Family) -> list[Animation]:
    """One animation for each network of Figure 1, in the light theme.

    Raises:
        NothingFoundError: As for Figure 1.
    """
    return [
        Animation(
            f"animation-mark-{family.name}-{family.stem(replica.run)}",
            np.stack(list(_draw_frames(family, replica, PALETTES["light"]))),
        )
        for replica in choose_marked(family)
    ]


def need_ffmpeg() -> str:
    """The program of the package imageio-ffmpeg, or of this machine.

    Raises:
        MissingDependencyError: There is none.
    """
    try:
        return str(import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed, or without its program
        program = shutil.which("ffmpeg")
    if program is None:
        raise MissingDependencyError(
            "mp4 needs ffmpeg: pip install 'birthmark[mp4]' brings one"
        )
    return program


def _draw_frames(family: Family, replica: Replica, palette: Palette) -> Iterator[Array]:
    """Only what changes is drawn for each frame, on a copy of what does not."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    run, mark = replica.run, replica.run.spec.mark
    assert mark is not None
    epochs = run.arrays["epoch"].to_numpy()
    shown = _thin(np.array(kept_epochs(family, replica)), FRAMES)
    with styled(palette):
        figure = new_figure(2.8, 6.0)
        figure.set(dpi=_DPI, facecolor=palette.paper)
        canvas: Any = FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
        bound = initial_bound(run, mark.layer)
        picture = show_matrix(left, _matrix(family, replica, 0), bound, palette)
        title = left.set_title(" ")
        points = _paint_losses(right, replica, palette)
        moving = [picture, title, *points.values()]
        for artist in moving:
            artist.set_animated(True)
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        for epoch, place in zip(shown, np.searchsorted(epochs, shown), strict=True):
            canvas.restore_region(still)
            picture.set_data(_matrix(family, replica, int(epoch)))
            auc = retention(replica)[place]
            title.set_text(f"{family.say(run)}, epoch {epoch}, AUC {auc:.2f}")
            for name, point in points.items():
                point.set_data([epoch], [replica.curve(name)[place]])
            for artist in moving:
                figure.draw_artist(artist)
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _matrix(family: Family, replica: Replica, epoch: int) -> Array:
    mark = replica.run.spec.mark
    assert mark is not None
    kept = family.weights_at(replica.run, [epoch], mark.layer)
    return np.asarray(kept[epoch][replica.place])


def _paint_losses(axes: Axes, replica: Replica, palette: Palette) -> dict[str, Line2D]:
    """Both losses; returns the points that run along them."""
    epochs = replica.run.arrays["epoch"].to_numpy()
    points = {}
    for name, colour in (("train_loss", palette.train), ("test_loss", palette.test)):
        label = name.replace("_", " ")
        axes.plot(epochs, replica.curve(name), color=colour, linewidth=1, label=label)
        (points[name],) = axes.plot([], [], "o", color=colour, markersize=6)
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set(xlabel="epoch", ylabel="loss", xlim=(0, epochs[-1] * 1.05))
    label_log(axes)
    axes.legend(loc="best")
    return points


def _thin(frames: Array, most: int) -> Array:
    """At most so many, evenly over their order; the first and the last are kept."""
    places = np.linspace(0, len(frames) - 1, min(most, len(frames)))
    return np.asarray(frames[places.round().astype(int)])


def _encode_gif(frames: Array) -> bytes:
    from PIL import Image

    ends = Image.fromarray(np.concatenate([frames[0], frames[-1]]))
    found = ends.quantize(_COLOURS, dither=Image.Dither.NONE).getpalette() or []
    colours, paper = np.reshape(found, (-1, 3)), frames[0, 0, 0].astype(int)
    apart = np.abs(colours - paper).max(axis=1) > 16  # what is near shall be paper
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([[paper], colours[apart]]).ravel().tolist())
    first, *others = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    buffer = io.BytesIO()
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[_FRAME_MS] * len(others) + [_LAST_MS],
        loop=0,
    )
    return buffer.getvalue()
