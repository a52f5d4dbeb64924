"""The picture of the README: what the tracker of `examples/plain_loop.py` recorded.

python tools/draw_tracker.py
"""

import contextlib
import runpy
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "images" / "tracker.png"
COLOURS = {"0.weight": "#0072B2", "2.weight": "#D55E00"}  # Okabe and Ito


def main() -> None:
    """Train for a second, and draw distance and correlation beside their nulls."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        loop = runpy.run_path(str(ROOT / "examples" / "plain_loop.py"))
        records = loop["records"].isel(replica=0).load()
    records = records.sel(step=records.step > 0)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for name, colour in COLOURS.items():
        one = records.sel(parameter=name).dropna("step", subset=["distance"])
        left.plot(one.step, one.relative_distance, "o-", ms=3, color=colour, label=name)
        right.plot(one.step, one.correlation, "o-", ms=3, color=colour, label=name)
        right.plot(one.step, one.correlation_by_noise, ":", color=colour)
    decay = one.distance_by_decay
    left.plot(one.step, decay.where(decay > 0), ":", color="0.4")
    left.annotate("weight decay alone", (15, 1.2e-4), color="0.3")
    left.axhline(2**0.5, ls="--", color="0.4")
    left.annotate("an independent draw", (1, 1.6), color="0.3")
    left.set(yscale="log", ylabel="distance / norm of the start")
    right.annotate("dotted: noise of the same size", (1, 0.35), color="0.3")
    right.set(ylabel="correlation with the start", ylim=(0, 1.05))
    for panel in (left, right):
        panel.set(xscale="log", xlabel="step")
        panel.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, loc="lower left")
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
