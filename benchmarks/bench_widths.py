"""Whether a step is as quick at every width as at the widths beside it.

Two hidden layers of relu units, inputs and classes of HASYv2 (1024, 369), random
pixels, batch 128, float32, plain SGD, on one core. A width is slow when its step takes
more than a fifth longer than lies between its two neighbours. Seconds of the processor,
the least of all rounds; each round goes through all widths.
"""

import argparse
import sys
import time

import numpy as np
import torch

from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import Training

SIZES = (1024, 369)
BATCH = 128
TOO_SLOW = 1.2  # times what lies between the neighbours
SPIN = 0.02  # seconds at least of a measurement


def make_dataset(num_steps: int) -> Dataset:
    """Random pixels and labels."""
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (BATCH * num_steps, SIZES[0]), dtype=np.uint8)
    y = draws.integers(0, SIZES[1], len(x))
    return Dataset(
        name="hasyv2",
        x_train=x,
        y_train=y,
        x_test=x[:BATCH],
        y_test=y[:BATCH],
        num_classes=SIZES[1],
        image_shape=(SIZES[0],),
        full_scale=255,
    )


def make_training(width: int, dataset: Dataset, path: str = "compiled") -> Training:
    """One replica, which has made a first step."""
    spec = RunSpec(
        data={"name": "hasyv2"},
        network={"widths": [width, width]},
        run={"replicas": 1, "device": "cpu"},
    )
    training = Training.from_spec(spec, dataset, path=path)
    training.advance(1)
    return training


def time_width(width: int, dataset: Dataset, path: str) -> float:
    """Seconds of one step."""
    training = make_training(width, dataset, path)
    flop = 6 * BATCH * (SIZES[0] * width + width**2 + width * SIZES[1])
    num_steps = max(1, min(dataset.x_train.shape[0] // BATCH - 2, int(1e9 / flop)))
    started = time.process_time()
    training.advance(num_steps)
    return (time.process_time() - started) / num_steps


def main() -> None:
    """Print a row a width; the exit status says whether any is slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs=3, default=(8, 1104, 8))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--path", default="compiled")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    widths, dataset = range(*arguments.widths), make_dataset(32)
    least = dict.fromkeys(widths, float("inf"))
    for _ in range(arguments.rounds):
        for width in widths:
            seconds = time_width(width, dataset, arguments.path)
            least[width] = min(least[width], seconds)
    slow = []
    print("| width | step, ms | GFLOP/s | against its neighbours |")
    print("|--:|--:|--:|--:|")
    for width, seconds in least.items():
        beside = [
            least[w] for w in (width - widths.step, width + widths.step) if w in least
        ]
        ratio = seconds / (sum(beside) / len(beside)) if len(beside) == 2 else 1.0
        slow += [width] if ratio > TOO_SLOW else []
        first, rest = SIZES[0] * width, width**2 + width * SIZES[1]
        rate = (4 * first + 6 * rest) * BATCH / seconds / 1e9
        print(f"| {width} | {1e3 * seconds:.3f} | {rate:.0f} | {ratio:.2f} |")
    print(f"\nslow: {slow or 'none'}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
