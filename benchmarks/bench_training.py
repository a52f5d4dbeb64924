"""Time of one training step a replica: the stack against a tuned plain torch loop.

Both train 8 replicas of two-hidden-layer ReLU networks on random pixels of the shape
of the data set, batch 128, float32, the clipped loss, independent batch orders. The
plain loop trains one replica at a time: `torch.nn`, `torch.optim.SGD(foreach=True)`,
data in memory, batches by indexing, no DataLoader. Both are timed in turn in each
round; the table has medians over the rounds. The rate is that of a float32 product of
two 2048 x 2048 matrices, measured in each round beside them; the share is of the
floating-point operations of a step, 4 B P + 2 B (P - P1), over that rate.
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import Training

BATCH = 128
REPLICAS = 8
SHAPES = {"hasyv2": (1024, 369), "mnist": (784, 10)}


def make_dataset(name: str, num_steps: int) -> Dataset:
    """Random pixels and labels, enough for an epoch of so many steps."""
    num_inputs, num_classes = SHAPES[name]
    draws = np.random.default_rng(0)
    num_train = BATCH * num_steps
    x = draws.integers(0, 256, (num_train + BATCH, num_inputs), dtype=np.uint8)
    y = draws.integers(0, num_classes, num_train + BATCH)
    return Dataset(
        name=name,
        x_train=x[:num_train],
        y_train=y[:num_train],
        x_test=x[num_train:],
        y_test=y[num_train:],
        num_classes=num_classes,
        image_shape=(num_inputs,),
        full_scale=255,
    )


class PlainLoop:
    """One replica as a careful user would train it."""

    def __init__(self, dataset: Dataset, width: int) -> None:
        sizes = [dataset.num_inputs, width, width, dataset.num_classes]
        self.model = nn.Sequential(
            nn.Linear(sizes[0], sizes[1]),
            nn.ReLU(),
            nn.Linear(sizes[1], sizes[2]),
            nn.ReLU(),
            nn.Linear(sizes[2], sizes[3]),
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, foreach=True)
        self.x = torch.from_numpy(dataset.x_train).float() / 255
        self.y = torch.from_numpy(dataset.y_train)
        self.loss, self.correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)

    def run(self, num_steps: int) -> None:
        """Train, with running loss and accuracy as any loop has them."""
        order = torch.randperm(len(self.x))
        for step in range(num_steps):
            index = order[step * BATCH : (step + 1) * BATCH]
            y = self.y[index]
            z = self.model(self.x[index])
            p = torch.softmax(z, 1).gather(1, y[:, None])
            loss = -torch.log(p.clamp(1e-7, 1 - 1e-7)).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.loss += loss.detach()
            self.correct += (z.argmax(1) == y).sum()


def measure_rate() -> float:
    """Floating-point operations a second of a large float32 product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    a @ b
    started = time.perf_counter()
    for _ in range(5):
        a @ b
    return 5 * 2 * 2048**3 / (time.perf_counter() - started)


def measure_width(name: str, width: int, rounds: int, num_steps: int) -> list[str]:
    """One row of the table."""
    dataset = make_dataset(name, num_steps)
    spec = RunSpec(
        data={"name": name},
        network={"widths": [width, width]},
        run={"replicas": REPLICAS, "device": "cpu"},
    )
    training, plain = Training(spec, dataset), PlainLoop(dataset, width)
    training.run_epoch()
    plain.run(num_steps)
    ours, theirs, shares = [], [], []
    for _ in range(rounds):
        rate = measure_rate()
        started = time.perf_counter()
        training.advance(num_steps - 1)  # the end of an epoch evaluates: not a step
        seconds = (time.perf_counter() - started) / (num_steps - 1) / REPLICAS
        training.run_epoch()
        started = time.perf_counter()
        plain.run(num_steps)
        theirs.append((time.perf_counter() - started) / num_steps)
        ours.append(seconds)
        shares.append(count_operations(dataset, width) / seconds / rate)
    ratio = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
    spread = (max(ours) - min(ours)) / statistics.median(ours)
    return [
        f"{name} {width}",
        f"{statistics.median(ours) * 1e3:.3f}",
        f"{spread:.0%}",
        f"{statistics.median(shares):.0%}",
        f"{statistics.median(theirs) * 1e3:.3f}",
        f"{ratio:.2f}",
    ]


def count_operations(dataset: Dataset, width: int) -> int:
    """Forward and both backward products of one step; none goes back to the pixels."""
    first = dataset.num_inputs * width
    weights = first + width * width + width * dataset.num_classes
    return 4 * BATCH * weights + 2 * BATCH * (weights - first)


def main() -> None:
    """Print the table, and keep it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path, help="Markdown file to write as well")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    header = [
        "shape",
        "stack, ms",
        "spread",
        "share of the product rate",
        "plain loop, ms",
        "ratio",
    ]
    lines = [
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} "
        f"threads for both; torch {torch.__version__}, Python "
        f"{platform.python_version()}; {REPLICAS} replicas, batch {BATCH}, n = "
        f"{arguments.rounds} rounds of {arguments.steps} steps, medians; "
        f"product rate {measure_rate() / 1e9:.0f} GFLOP/s.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    print("\n".join(lines))
    for name, widths in (("hasyv2", (10, 50, 100, 250, 500)), ("mnist", (100, 500))):
        for width in widths:
            row = measure_width(name, width, arguments.rounds, arguments.steps)
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
