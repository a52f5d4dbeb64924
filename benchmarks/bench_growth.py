"""How memory and time of a run grow, with the floors that no run can go below.

Along five axes from one run (two hidden layers of 200 relu units, ten replicas, the
digits, eight epochs): replicas, width, depth, examples (60,000 are one epoch of MNIST),
and recorded epochs (of 64). Each point is a process of its own that does all that
`birthmark run` does, on one thread: its peak of resident memory (VmHWM, Linux) and its
seconds of the processor, beside what `estimate_memory` said. The floor of memory is
what importing the libraries takes, the data once, and three copies of the weights; that
of time is the products of all steps at the rate of torch's best product of 2048 x 2048,
plus the import.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from bench_limits import time_library

BASE = {
    "data.name": "digits",
    "network.widths": [200, 200],
    "training.epochs": 8,
    "run.replicas": 10,
    "run.device": "cpu",
    "record.epochs": [0, 8],
}
AXES: dict[str, dict[float, dict[str, Any]]] = {
    "replicas": {n: {"run.replicas": n} for n in (1, 10, 40)},
    "width": {n: {"network.widths": [n, n]} for n in (50, 200, 800)},
    "hidden layers": {n: {"network.widths": [200] * n} for n in (1, 2, 4, 8)},
    "training examples": {
        390: {"data.examples_per_class": 50},
        1437: {},
        60_000: {"data.name": "mnist", "training.epochs": 1, "record.epochs": [0, 1]},
    },
    "recorded epochs": {
        n: {"training.epochs": 64, "record.epochs": [*range(0, 65, 64 // (n - 1))]}
        for n in (2, 9, 65)
    },
}
CHILD = """
import json, re, resource, sys, time
from pathlib import Path
import birthmark as bm

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\\s+(\\d+) kB", status)[0]) * 1024

def seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

settings, folder = json.loads(sys.argv[1]), sys.argv[2]
import pandas, torch, birthmark.sweeps, birthmark.analysis
torch.set_num_threads(1)
libraries, imported = peak(), seconds()
tables = {}
for name, value in settings.items():
    table, _, key = name.partition(".")
    tables.setdefault(table, {})[key] = value
spec = bm.RunSpec(**tables)
data = bm.load_dataset(spec.data)
num_inputs, num_examples = data.num_inputs, len(data.y_train)
pixels, classes = data.x_train.nbytes + data.x_test.nbytes, data.num_classes
del data  # the run reads its own
bm.run(spec, folder)
found = {
    "peak": peak(), "seconds": seconds(), "libraries": libraries, "imported": imported,
    "estimated": bm.estimate_memory(spec).total, "pixels": pixels,
    "sizes": [num_inputs, *spec.network.widths, classes], "examples": num_examples,
    "replicas": spec.run.replicas, "epochs": spec.training.epochs,
}
print(json.dumps(found))
"""
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"


@dataclass(frozen=True)
class Point:
    """What one run took."""

    found: dict[str, Any]
    rate: float  # operations a second

    @property
    def peak(self) -> float:
        """MB."""
        return float(self.found["peak"]) / 1e6

    @property
    def estimated(self) -> float:
        """MB."""
        return float(self.found["estimated"]) / 1e6

    @property
    def least_memory(self) -> float:
        """MB."""
        copies = 3 * 4 * self.found["replicas"] * self._num_weights
        return float(self.found["libraries"] + self.found["pixels"] + copies) / 1e6

    @property
    def seconds(self) -> float:
        """Of the processor."""
        return float(self.found["seconds"])

    @property
    def least_seconds(self) -> float:
        """Products of all steps; 4 B P + 2 B (P - P1) a batch."""
        sizes, seen = self.found["sizes"], self.found["examples"] * self.found["epochs"]
        operations = seen * (6 * self._num_weights - 2 * sizes[0] * sizes[1])
        made: float = operations * self.found["replicas"] / self.rate
        return float(self.found["imported"]) + made

    @property
    def _num_weights(self) -> int:
        sizes = self.found["sizes"]
        return sum(i * o for i, o in zip(sizes, sizes[1:], strict=False))


def measure(settings: dict[str, Any], rate: float) -> Point:
    """Carry one run out, in a process and a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CHILD, json.dumps(BASE | settings), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Point(json.loads(done.stdout.splitlines()[-1]), rate)


def measure_rate() -> float:
    """Operations a second of torch's best product, on one core."""
    torch.set_num_threads(1)
    rounds = range(3)
    return max(time_library(one) for one in ("highest", "medium") for _ in rounds)


def draw(points: dict[str, dict[float, Point]], path: Path) -> None:
    """Memory above, time below; a column an axis."""
    figure, axes = plt.subplots(
        2, len(points), figsize=(3.2 * len(points), 6), layout="constrained"
    )
    for (name, along), (above, below) in zip(
        points.items(), np.transpose(axes), strict=True
    ):
        x, found = list(along), list(along.values())
        above.plot(x, [p.peak for p in found], "o-", color=BLUE, label="peak")
        above.plot(x, [p.estimated for p in found], "x--", color=ORANGE)
        above.plot(x, [p.least_memory for p in found], ":", color=GREY)
        below.plot(x, [p.seconds for p in found], "o-", color=BLUE)
        below.plot(x, [p.least_seconds for p in found], ":", color=GREY)
        for panel in (above, below):
            panel.set_xscale("log")
            panel.set_xticks(x, [f"{value:,.0f}" for value in x])
            panel.minorticks_off()
            panel.set_ylim(bottom=0)
            panel.spines[["top", "right"]].set_visible(False)
        below.set_xlabel(name)
    axes[0, 0].set_ylabel("resident memory at its peak (MB)")
    axes[1, 0].set_ylabel("processor time of the run (s)")
    axes[0, 0].legend(
        axes[0, 0].lines, ["measured", "estimated", "floor"], frameon=False
    )
    figure.savefig(path, dpi=100)


def main() -> None:
    """Print a row a point; draw them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--out", type=Path, help="PNG to draw")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("peaks of memory can be read on Linux only")
    rate = measure_rate()
    print(f"torch's best product on one core: {rate / 1e9:.0f} GFLOP/s\n")
    print("| axis | value | peak, MB | estimated | floor | seconds | floor |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    points: dict[str, dict[float, Point]] = {}
    for axis in arguments.axes:
        for value, settings in AXES[axis].items():
            one = measure(settings, rate)
            points.setdefault(axis, {})[value] = one
            print(
                f"| {axis} | {value:,} | {one.peak:.0f} "
                f"| {one.estimated:.0f} ({one.estimated / one.peak - 1:+.0%}) "
                f"| {one.least_memory:.0f} | {one.seconds:.1f} "
                f"| {one.least_seconds:.1f} |",
                flush=True,
            )
    found = [one for along in points.values() for one in along.values()]
    errors = [abs(one.estimated / one.peak - 1) for one in found]
    print(f"\nThe estimate is off by {statistics.median(errors):.1%}, the median of")
    print(f"{len(errors)} runs; at most by {max(errors):.1%}.")
    if arguments.out:
        draw(points, arguments.out)


if __name__ == "__main__":
    main()
