"""What measuring one recorded step costs, by part and as a share of an epoch.

Ten replicas of 1024-W-W-369 networks (HASYv2) are trained for a while; in each round
so many steps are made and every part of a recorded step is timed once. An epoch is
that stretch of steps times the steps of an epoch, without the evaluation at its end:
the share is rather too large than too small. Data are the real ones where
BIRTHMARK_DATA names them, random pixels of the same shape elsewhere.

    make bench-measuring
    make bench-measuring BENCH="--widths 250 --rounds 15"
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from throughput.table import describe_machine

from birthmark.data import load_dataset
from birthmark.measurements import MEASUREMENTS, Pair, extend_path, measure
from birthmark.shapes import Dataset, Weights
from birthmark.spec import RunSpec
from birthmark.training import Training

NUM_EXAMPLES = 151_241  # of HASYv2's first fold, training
NUM_INPUTS, NUM_CLASSES = 1024, 369
EPOCH, SUM = "epoch", "recorded step"


def find_dataset(spec: RunSpec) -> Dataset:
    """The real one if it is here, otherwise random pixels."""
    if os.environ.get("BIRTHMARK_DATA"):
        return load_dataset(spec.data)
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (NUM_EXAMPLES + 128, NUM_INPUTS), dtype=np.uint8)
    y = draws.integers(0, NUM_CLASSES, len(x))
    return Dataset(
        name="hasyv2",
        x_train=x[:NUM_EXAMPLES],
        y_train=y[:NUM_EXAMPLES],
        x_test=x[NUM_EXAMPLES:],
        y_test=y[NUM_EXAMPLES:],
        num_classes=NUM_CLASSES,
        image_shape=(32, 32),
        full_scale=255,
    )


def list_parts(training: Training) -> dict[str, Callable[[], Any]]:
    """Each part of a recorded step, as the observer of a run asks for it.

    The spectra are among the distributions as well.
    """
    initial, current = training.initial, training.weights
    previous = current.clone()
    path = extend_path({}, initial, previous)
    bounds = {name: (x.w.abs().max().item(), 1.0) for name, x in initial.items()}

    def all_of(kind: Any) -> Callable[[], Any]:
        return lambda: measure(initial, current, path=path, bounds=bounds, kind=kind)

    return {
        "path": lambda: extend_path(path, previous, current),
        "copy": current.clone,
        "scalars": all_of("scalars"),
        "distributions": all_of("distributions"),
        "of them spectra": lambda: measure_spectra(initial, current),
        "all at once": all_of("all"),
    }


def measure_spectra(initial: Weights, current: Weights) -> None:
    """Singular values alone."""
    spectral_distance = MEASUREMENTS["spectral_distance"].function
    for name, layer in initial.items():
        for part in Pair(layer.w, current[name].w, layer.w.abs().max).split():
            spectral_distance(part)


def time_parts(
    spec: RunSpec, num_rounds: int, num_steps: int
) -> dict[str, list[float]]:
    """Seconds of each part in each round, of an epoch, and of a recorded step."""
    training = Training.from_spec(spec, find_dataset(spec))
    training.advance(num_steps)
    parts = list_parts(training)
    for part in parts.values():
        part()
    scale = training.steps_per_epoch / num_steps
    seconds: dict[str, list[float]] = {name: [] for name in (*parts, SUM, EPOCH)}
    for _ in range(num_rounds):
        seconds[EPOCH].append(scale * seconds_of(lambda: training.advance(num_steps)))
        for name, part in parts.items():
            seconds[name].append(seconds_of(part))
        whole = (seconds[name][-1] for name in ("path", "copy", "all at once"))
        seconds[SUM].append(sum(whole))
    return seconds


def seconds_of(function: Callable[[], Any]) -> float:
    """Of one call, with what it has left to do on a GPU."""
    synchronize()
    started = time.perf_counter()
    function()
    synchronize()
    return time.perf_counter() - started


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def print_table(seconds: dict[str, list[float]]) -> None:
    """One line a part: milliseconds, and the share of the epoch of the same round."""
    print("| part | median, ms | quickest | slowest | share of an epoch |")
    print("|---|--:|--:|--:|--:|")
    for name, times in seconds.items():
        shares = (a / b for a, b in zip(times, seconds[EPOCH], strict=True))
        numbers = [1e3 * x for x in (statistics.median(times), min(times), max(times))]
        cells = [f"{number:.1f}" for number in numbers]
        print(f"| {name} | {' | '.join(cells)} | {statistics.median(shares):.2%} |")


def main() -> None:
    """Print a table for each width."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--replicas", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=30, help="a stretch of training")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    data = "real data" if os.environ.get("BIRTHMARK_DATA") else "random pixels"
    print(
        f"{describe_machine()} torch {torch.__version__}, {torch.get_num_threads()} "
        f"threads, {arguments.device}; {data}, {arguments.replicas} replicas; "
        f"n = {arguments.rounds} rounds of {arguments.steps} steps."
    )
    for width in arguments.widths:
        spec = RunSpec(
            data={"name": "hasyv2"},
            network={"widths": [width, width]},
            run={"replicas": arguments.replicas, "device": arguments.device},
        )
        print(f"\nWidth {width}\n")
        print_table(time_parts(spec, arguments.rounds, arguments.steps))


if __name__ == "__main__":
    main()
