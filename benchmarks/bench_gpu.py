"""Training on a GPU: is it right, how quick is it, and how near to what the GPU can do?

Random pixels of the shapes of HASYv2 and MNIST, two hidden relu layers of one width,
batch 128, the clipped loss, an order of its own for each replica, metrics included.
All parts share one budget of time, the most important come first, and the file is
written anew after each line, so what was measured is kept whatever happens.

    PYTHONPATH=src python benchmarks/bench_gpu.py --out benchmarks/results/DATE-GPU.md

Shares: of the floating-point operations of a step, 4 B P + 2 B (P - P1) a replica (P
weights, P1 of them in the first layer), in the rate of a large product. With TF32 also
of the roofline: the lower of the TF32 rate and of the memory bandwidth times the
operations a byte. A step must move 4 (4 P - P1) + 12 B I bytes a replica: weights read
forward, back, and for the update, and written; inputs written once and read twice.
"""

import argparse
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from gpu_checks import CHECKS
from gpu_report import Report, describe_machine
from throughput.case import BATCH, SHAPES, Case
from torch import nn

from birthmark.measurements import measure
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import Training, train_together

WIDTHS = (250, 500, 1000, 100, 50, 10)  # the most important first
REPLICAS = (10, 100, 50, 1)
PRECISIONS = {"float32": "full", "TF32": "tf32"}
NUM_TRAIN, NUM_TEST = 60_000, 10_000
WARM_UP = 48  # steps: the first are queued one by one, then captured
TIMED = 80  # steps a round: whole captures of 16, 8, 5 and 4 steps
ROUNDS = 5
PRODUCT = 8192  # rows of the large product
COPIED = 2**30  # bytes
HASYV2_STEPS = 1183  # of an epoch of the real data set


@dataclass(frozen=True)
class Rates:
    """What the GPU can do at most, as measured."""

    float32: float  # operations a second
    tf32: float
    bandwidth: float  # bytes a second, read and written


class Bench:
    """The parts of the report, on one device."""

    def __init__(self, report: Report, device: str) -> None:
        self.report, self.device = report, device
        self._datasets: dict[str, Dataset] = {}
        self._times: dict[tuple[str, int, int, str], float] = {}

    def run(self) -> bool:
        """All parts, as long as there is time; False where something went wrong."""
        self.report.write(*describe_machine())
        self.report.write(
            f"Batch {BATCH}; medians of {ROUNDS} rounds of {TIMED} steps, spread from "
            "the least to the most."
        )
        self.rates = self.measure_rates()
        good = True
        for part in (
            self.check,
            self.time_stacks,
            self.compare_with_loop,
            self.compare_ways,
            self.measure_records,
            self.time_epochs,
            self.train_several,
            self.measure_memory,
        ):
            if self.report.seconds_left < 5:
                self.report.write("", f"No time was left for {part.__name__}.")
                continue
            try:
                good &= part() is not False
            except Exception as error:
                # the other parts are still worth their time
                traceback.print_exc()
                self.report.write("", f"{part.__name__} failed: {error!r}")
                good = False
        return good

    def measure_rates(self) -> Rates:
        """Large products, and a copy."""
        a, b = (torch.randn(PRODUCT, PRODUCT, device=self.device) for _ in range(2))
        rates = {}
        for name, setting in (("float32", "highest"), ("TF32", "high")):
            torch.set_float32_matmul_precision(setting)
            seconds = min(self._time(torch.matmul, a, b) for _ in range(7))
            rates[name] = 2 * PRODUCT**3 / seconds
        torch.set_float32_matmul_precision("highest")
        source = torch.randint(99, (COPIED,), dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        seconds = min(self._time(target.copy_, source) for _ in range(7))
        found = Rates(rates["float32"], rates["TF32"], 2 * COPIED / seconds)
        self.report.write(
            "",
            f"Product of two {PRODUCT} x {PRODUCT} matrices: "
            f"{found.float32 / 1e12:.1f} TFLOP/s in float32, "
            f"{found.tf32 / 1e12:.0f} in TF32; copy of {COPIED >> 20} MiB: "
            f"{found.bandwidth / 1e12:.2f} TB/s read and written "
            "(the best of 7 each).",
        )
        return found

    def check(self) -> bool:
        """Equality before speed."""
        self.report.head("Checks", "claim", "measured", "holds")
        good = True
        for check in CHECKS:
            try:
                for line in check(self.device):
                    self.report.row(line.claim, line.measured, line.holds)
                    good &= line.holds
            except Exception as error:
                traceback.print_exc()
                self.report.row(check.__name__, repr(error), False)
                good = False
        return good

    def time_stacks(self) -> None:
        """The main table, until three quarters of the time are spent."""
        self.report.head(
            "Time of a step",
            "shape, width",
            "replicas",
            "products",
            "step, µs",
            "spread",
            "a replica, µs",
            "share of the product rate",
            "FLOP a byte",
            "share of the roofline",
            "peak memory, GB",
        )
        for replicas, precision, shape, width in product(
            REPLICAS, PRECISIONS, SHAPES, WIDTHS
        ):
            if self.report.seconds_left < self.report.seconds / 4:
                self.report.write("", "The rest was left out: no time.")
                return
            self._time_stack(shape, width, replicas, precision)

    def _time_stack(self, shape: str, width: int, replicas: int, name: str) -> None:
        self._forget_memory()
        training = self._train(shape, width, replicas, name)
        training.advance(WARM_UP)
        seconds = [self._time(training.advance, TIMED) / TIMED for _ in range(ROUNDS)]
        step = statistics.median(seconds)
        self._times[shape, width, replicas, name] = step
        case = Case(shape, width, TIMED)
        operations = case.operations * replicas
        rate = self.rates.tf32 if name == "TF32" else self.rates.float32
        intensity = case.operations / bytes_of_step(case)
        roof = min(rate, intensity * self.rates.bandwidth)
        self.report.row(
            case.name,
            replicas,
            name,
            f"{step * 1e6:.0f}",
            f"{(max(seconds) - min(seconds)) / step:.0%}",
            f"{step / replicas * 1e6:.2f}",
            f"{operations / step / rate:.0%}",
            f"{intensity:.0f}",
            f"{operations / step / roof:.0%}",
            f"{self._peak_memory() / 1e9:.2f}",
        )

    def compare_with_loop(self) -> None:
        """Against replicas trained one by one, as a careful user would."""
        self.report.head(
            "Width 100, against a loop of torch.nn and torch.optim",
            "shape",
            "loop, µs a step",
            *(f"{replicas} replicas: throughput, times" for replicas in REPLICAS),
        )
        for shape in SHAPES:
            loop = PlainLoop(self._dataset(shape), Case(shape, 100, TIMED), self.device)
            loop.run(50)
            seconds = min(self._time(loop.run, 200) / 200 for _ in range(3))
            keys = [(shape, 100, replicas, "float32") for replicas in REPLICAS]
            ratios = [
                f"{seconds * key[2] / self._times[key]:.0f}"
                if key in self._times
                else "-"
                for key in keys
            ]
            self.report.row(shape, f"{seconds * 1e6:.0f}", *ratios)

    def compare_ways(self) -> None:
        """What the graph brings: steps queued one by one, and the fast path."""
        self.report.head(
            "Ways to make a step, µs (hasyv2, float32)",
            "width, replicas",
            "graph",
            "one by one",
            "fast path",
        )
        for width, replicas in ((100, 10), (250, 10), (500, 50)):
            graphed = self._train("hasyv2", width, replicas, "float32")
            graphed.advance(WARM_UP)
            graph = min(self._time(graphed.advance, TIMED) for _ in range(3))
            single = self._time(self._advance_singly, graphed)
            fast = self._train("hasyv2", width, replicas, "float32", path="fast")
            fast.advance(WARM_UP)
            eager = min(self._time(fast.advance, TIMED) for _ in range(3))
            times = (f"{t / TIMED * 1e6:.0f}" for t in (graph, single, eager))
            self.report.row(f"{width}, {replicas}", *times)

    def measure_records(self) -> None:
        """All measurements of one recorded step, beside an epoch of the real HASYv2."""
        self.report.head(
            "Measurements of one recorded step (hasyv2, float32)",
            "width, replicas",
            "scalars, ms",
            "all, ms",
            "an epoch, ms",
            "scalars, share of it",
            "all, share of it",
        )
        for width, replicas in ((250, 10), (250, 100), (1000, 10)):
            training = self._train("hasyv2", width, replicas, "float32")
            training.advance(WARM_UP)
            steps = self._time(training.advance, TIMED) / TIMED
            epoch = steps * HASYV2_STEPS
            costs = []
            for kind in ("scalars", "all"):
                self._time(self._measure, training, kind)
                costs.append(
                    min(self._time(self._measure, training, kind) for _ in range(3))
                )
            self.report.row(
                f"{width}, {replicas}",
                *(f"{cost * 1e3:.1f}" for cost in (*costs, epoch)),
                *(f"{cost / epoch:.1%}" for cost in costs),
            )

    def _measure(self, training: Training, kind: str) -> None:
        measure(training.initial, training.weights, kind=kind)

    def time_epochs(self) -> None:
        """Whole epochs: orders drawn on the host, and the test set evaluated."""
        self.report.head(
            f"A whole epoch of {NUM_TRAIN} examples, ms (hasyv2, float32)",
            "width, replicas",
            "its steps alone",
            "with order and evaluation",
        )
        for width, replicas in ((100, 10), (100, 100), (250, 100)):
            training = self._train("hasyv2", width, replicas, "float32")
            training.run_epoch()
            training.advance(WARM_UP)
            step = self._time(training.advance, TIMED) / TIMED
            training.run_epoch()
            whole = self._time(training.run_epoch)
            alone = step * training.steps_per_epoch
            self.report.row(
                f"{width}, {replicas}", f"{alone * 1e3:.0f}", f"{whole * 1e3:.0f}"
            )

    def train_several(self) -> None:
        """Widths in turn, and side by side on streams of their own."""
        self.report.head(
            "Several widths, one epoch each after a first one, ms (hasyv2, float32)",
            "widths",
            "replicas each",
            "in turn",
            "side by side",
        )
        for widths, replicas in (((10, 50, 100), 10), ((100, 250, 500), 10)):
            for together in (False, True):
                trainings = [
                    self._train("hasyv2", width, replicas, "float32", epochs=2)
                    for width in widths
                ]
                for training in trainings:
                    training.run_epoch()

                groups = [trainings] if together else [[one] for one in trainings]
                seconds = self._time(self._finish, groups)
                if not together:
                    in_turn = seconds
            self.report.row(
                ", ".join(str(width) for width in widths),
                replicas,
                f"{in_turn * 1e3:.0f}",
                f"{seconds * 1e3:.0f}",
            )

    def measure_memory(self) -> None:
        """At its peak in a training with evaluation and one recorded step."""
        self.report.head(
            "Peak memory of the GPU, with measurements (hasyv2, float32)",
            "width, replicas",
            "GB",
        )
        for width, replicas in ((1000, 10), (1000, 100)):
            self._forget_memory()
            training = self._train("hasyv2", width, replicas, "float32")
            training.advance(WARM_UP)
            training.metrics_at_start()
            self._measure(training, "all")
            peak = f"{self._peak_memory() / 1e9:.2f}"
            self.report.row(f"{width}, {replicas}", peak)

    def _train(
        self,
        shape: str,
        width: int,
        replicas: int,
        name: str,
        *,
        path: str = "graphed",
        epochs: int = 100,
    ) -> Training:
        spec = RunSpec(
            data={"name": shape},
            network={"widths": [width, width]},
            training={"batch_size": BATCH, "epochs": epochs},
            run={
                "replicas": replicas,
                "device": self.device,
                "precision": PRECISIONS[name],
            },
        )
        return Training.from_spec(spec, self._dataset(shape), path=path)

    def _dataset(self, shape: str) -> Dataset:
        if shape not in self._datasets:
            self._datasets[shape] = make_dataset(shape)
        return self._datasets[shape]

    def _finish(self, groups: list[list[Training]]) -> None:
        for group in groups:
            for _ in train_together(group):
                pass

    def _advance_singly(self, training: Training) -> None:
        for _ in range(TIMED):
            training.advance(1)

    def _time(self, work: Callable[..., object], *arguments: object) -> float:
        self._wait()
        started = time.perf_counter()
        work(*arguments)
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def _forget_memory(self) -> None:
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _peak_memory(self) -> int:
        return torch.cuda.max_memory_allocated() if self.device != "cpu" else 0


class PlainLoop:
    """One replica; the data lie on the GPU, batches are taken by index."""

    def __init__(self, dataset: Dataset, case: Case, device: str) -> None:
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip(case.sizes, case.sizes[1:], strict=False):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        self._model = nn.Sequential(*layers[:-1]).to(device)
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), 0.1, foreach=device != "cpu"
        )
        self._x = torch.from_numpy(dataset.x_train).to(device).float() / 255
        self._y = torch.from_numpy(dataset.y_train).to(device)
        self._loss = torch.zeros((), device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)

    def run(self, num_steps: int) -> None:
        """Train, with running loss and accuracy; the host never waits."""
        order = torch.randperm(len(self._y), device=self._y.device)
        for index in order[: num_steps * BATCH].split(BATCH):
            y = self._y[index]
            z = self._model(self._x[index])
            p = torch.softmax(z, 1).gather(1, y[:, None])
            loss = -torch.log(p.clamp(1e-7, 1 - 1e-7)).mean()
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            self._loss += loss.detach()
            self._correct += (z.argmax(1) == y).sum()


def bytes_of_step(case: Case) -> int:
    """The fewest that a step of one replica must move; see the top."""
    num_inputs, width, *_ = case.sizes
    first = num_inputs * width
    return 4 * (4 * case.num_weights - first) + 12 * BATCH * num_inputs


def make_dataset(shape: str) -> Dataset:
    """Random pixels and labels."""
    num_inputs, num_classes = SHAPES[shape]
    draws = np.random.default_rng(0)
    count = NUM_TRAIN + NUM_TEST
    x = draws.integers(0, 256, (count, num_inputs), dtype=np.uint8)
    y = draws.integers(0, num_classes, count)
    return Dataset(
        name=shape,
        x_train=x[:NUM_TRAIN],
        y_train=y[:NUM_TRAIN],
        x_test=x[NUM_TRAIN:],
        y_test=y[NUM_TRAIN:],
        num_classes=num_classes,
        image_shape=(num_inputs,),
        full_scale=255,
    )


def main() -> int:
    """Write the report; 1 where a check did not hold or a part failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="Markdown to write")
    parser.add_argument("--seconds", type=float, default=540, help="for all of it")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here that torch can use: nothing to measure.")
        return 0
    report = Report(arguments.out, arguments.seconds)
    return 0 if Bench(report, "cuda").run() else 1


if __name__ == "__main__":
    sys.exit(main())
