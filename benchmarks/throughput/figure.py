"""How cost grows with width, replicas and data, with the floors drawn in."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from throughput.case import Case
from throughput.rounds import Timings, best_rate
from throughput.trainer import OURS

# Okabe and Ito's colours, told apart without red and green; ours is black
COLOURS = [
    *("#E69F00", "#56B4E9", "#009E73", "#0072B2"),
    *("#D55E00", "#CC79A7", "#7F7F7F", "#B8A500"),
]
MARKERS = "osD^vP*X<"
WIDTHS = {10: "#0072B2", 100: "#B87800", 500: "#007A57"}
SHAPE = "hasyv2"


def draw_growth(
    results: Sequence[Timings], growth: Mapping[str, Sequence[Timings]], path: Path
) -> None:
    """Three panels; the floors are those of the median rates of all rounds."""
    machine = [rates for timings in results for rates in timings.machine]
    floors = Floors(
        statistics.median(best_rate(rates) for rates in machine),
        statistics.median(rates["bandwidth"] for rates in machine),
    )
    with plt.rc_context({"font.size": 9, "axes.grid": True, "grid.color": "#E5E5E5"}):
        figure, axes = plt.subplots(
            1, 3, figsize=(11, 5), sharey=True, layout="constrained"
        )
        for ax in axes:
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.spines[["top", "right"]].set_visible(False)
        _draw_widths(axes[0], [t for t in results if t.case.shape == SHAPE], floors)
        _draw_series(axes[1], growth["replicas"], floors, lambda case: case.replicas)
        _draw_series(axes[2], growth["data"], floors, lambda case: case.num_examples)
        axes[0].set(ylabel="ms a step and replica", xlabel="width", title="everybody")
        axes[1].set(xlabel="replicas in the stack", title="birthmark")
        axes[2].set(xlabel="examples in an epoch", title="birthmark")
        axes[0].yaxis.set_major_formatter("{x:g}")
        axes[1].xaxis.set_major_formatter("{x:g}")
        axes[1].set_xticks(sorted({t.case.replicas for t in growth["replicas"]}))
        axes[2].xaxis.set_major_formatter("{x:,.0f}")
        for ax in axes[:2]:
            ax.xaxis.set_minor_locator(NullLocator())
        figure.legend(
            *axes[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=4,
            frameon=False,
        )
        figure.savefig(path, dpi=120)
        plt.close(figure)


@dataclass(frozen=True)
class Floors:
    """What no program on this machine can pass."""

    rate: float  # operations a second of the best product
    bandwidth: float  # bytes a second

    def arithmetic(self, case: Case) -> float:
        """Milliseconds of the operations of a step and replica."""
        return 1e3 * case.operations / self.rate

    def memory(self, case: Case) -> float:
        """Milliseconds of the bytes of a step and replica, out of no cache."""
        return 1e3 * case.bytes_moved / self.bandwidth


def _draw_widths(ax: Axes, results: Sequence[Timings], floors: Floors) -> None:
    widths = [t.case.width for t in results]
    others = [name for name in results[0].milliseconds if name != OURS]
    colours = {OURS: "black"} | dict(zip(others, COLOURS, strict=False))
    for (name, colour), marker in zip(colours.items(), MARKERS, strict=False):
        values = [statistics.median(t.milliseconds[name]) for t in results]
        line, size = (2.4, 6) if name == OURS else (1.1, 5)
        ax.plot(widths, values, marker, ls="-", c=colour, lw=line, ms=size, label=name)
    for name, style in (("arithmetic", "--"), ("memory", ":")):
        values = [getattr(floors, name)(t.case) for t in results]
        ax.plot(widths, values, style, c="black", lw=1, label=f"{name} floor")
    ax.set_xticks(widths, [str(width) for width in widths])


def _draw_series(
    ax: Axes,
    series: Sequence[Timings],
    floors: Floors,
    measure: Callable[[Case], int],
) -> None:
    for width in sorted({t.case.width for t in series}):
        some = [t for t in series if t.case.width == width]
        x = [measure(t.case) for t in some]
        values = [statistics.median(t.milliseconds[OURS]) for t in some]
        colour = WIDTHS[width]
        ax.plot(x, values, color=colour, marker="o")
        for name, style in (("arithmetic", "--"), ("memory", ":")):
            floor = getattr(floors, name)(some[0].case)
            ax.plot(x, [floor] * len(x), style, color=colour, lw=1)
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "right"}
        ax.annotate(f"width {width}", (x[-1], values[-1]), color=colour, **above)
