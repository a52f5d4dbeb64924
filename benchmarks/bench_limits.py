"""How far a step is from each limit of one core: its tile, its products, its memory.

Two hidden layers of relu units, inputs and classes of HASYv2 (1024, 369), random
pixels, batch 128, float32, plain SGD, one replica on one core. Beside the step stand:

- the products of the step alone: the same C on matrices of the same sizes and strides;
- the tile alone: its three vectors of columns on numbers that lie in the first cache,
  the rate that no product of ours can exceed;
- torch's products of 2048 x 2048, through MKL and through oneDNN;
- a copy of 256 MiB, the rate at which weights come that no cache holds.

Seconds of the processor, the least of all rounds; each round measures everything.
"""

import argparse
import ctypes
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench_widths import BATCH, SIZES, make_dataset, make_training
from throughput.rates import COPIED, SIZE

from birthmark.compilation import compile_command
from birthmark.training import Training, compiled
from birthmark.training.compiled.tuning import Tuning

WIDTHS = (10, 100, 250, 500, 1000)
TILE_DEPTH, TILE_ROUNDS = 128, 2000
OPERATIONS = 2e8  # of a measurement at least, so that the clock is no part of it
# what `multiply` and the widest tile are called through
SOURCE = """
#include "products.h"
#include <stdlib.h>
void product(int64_t rows, int64_t columns, int64_t depth, const REAL *a, int64_t a_row,
             int64_t a_column, REAL *b, int64_t b_row, REAL *start, int64_t start_row,
             REAL *c, int64_t c_row, REAL *panel, int64_t often,
             int64_t cuts)
{
    static REAL *left;
    if (!left) left = malloc(num_kept() * sizeof(REAL));
    multiply(rows, columns, depth, (left_matrix){a, a_row, a_column},
             (right_matrix){b, b_row}, (right_matrix){start, start_row},
             (right_matrix){c, c_row}, (copies_room){panel, left, often, cuts});
}
int64_t tile_alone(int64_t depth, int64_t times, REAL *a, REAL *b, REAL *c)
{
    const left_matrix left = {a, depth, 1};
    const right_matrix right = {b, WIDEST * LANES}, to = {c, WIDEST * LANES};
    const ends at = {to, to, to};
    for (int64_t i = 0; i < times; i++)
        TILES[WIDEST - 1][0].run(depth, &left, right, &at);
    return 2 * TILES[WIDEST - 1][0].rows * WIDEST * LANES * depth * times;
}
int64_t room_of_panel(int64_t depth) { return panel_size(depth); }
"""


class Products:
    """The products of the engine, called one by one."""

    def __init__(self, folder: str) -> None:
        compiler = shutil.which("cc")
        assert compiler is not None, "the engine is compiled by cc, and there is none"
        (Path(folder) / "alone.c").write_text(SOURCE)
        made = str(Path(folder) / "alone.so")
        room = Path(compiled.__file__).parent
        command = [*compile_command(compiler), "-DREAL=float", f"-I{room}"]
        subprocess.run([*command, f"{folder}/alone.c", "-o", made, "-lm"], check=True)
        self._library = ctypes.CDLL(made)
        for name in ("row_stride", "room_of_panel", "tile_alone"):
            getattr(self._library, name).restype = ctypes.c_int64
        self._held: list[np.ndarray] = []  # what the calls point to
        self._panel = self._room(self._ask("room_of_panel", max(SIZES[0], WIDTHS[-1])))

    def time_tile(self) -> float:
        """Operations a second of the widest tile, its numbers in the first cache."""
        operands = [self._room(TILE_DEPTH * 64) for _ in range(3)]
        places = [_at(operand) for operand in operands]
        started = time.process_time()
        times = _whole(TILE_DEPTH), _whole(TILE_ROUNDS)
        made = self._library.tile_alone(*times, *places)
        return int(made) / (time.process_time() - started)

    def of_step(self, width: int, tuning: Tuning) -> Callable[[], None]:
        """What makes the products of one step, in its order."""
        chosen = [_whole(one) for one in (tuning.often, tuning.cuts)]
        sizes = [SIZES[0], width, width, SIZES[1]]
        strides = [self._ask("row_stride", size) for size in sizes]
        across = self._ask("row_stride", BATCH)
        x = [self._room(BATCH * stride) for stride in strides]
        w = [
            self._room(i * stride)
            for i, stride in zip(sizes, strides[1:], strict=False)
        ]
        delta = [self._room(size * across) for size in sizes]
        zeros, calls = self._room(max(strides)) * 0, []
        self._held += [*x, *w, *delta, zeros]

        def add(sizes: tuple[int, int, int], *places: np.ndarray | int) -> None:
            """Of rows, columns and depth; places are matrices and their steps."""
            made = [_at(p) if isinstance(p, np.ndarray) else _whole(p) for p in places]
            calls.append([*map(_whole, sizes), *made, _at(self._panel), *chosen])

        for n, (i, o) in enumerate(zip(sizes, sizes[1:], strict=False)):
            row = strides[n + 1]
            add((BATCH, o, i), x[n], strides[n], 1, w[n], row, zeros, 0, x[n + 1], row)
        for n in reversed(range(len(w))):
            i, o, row = sizes[n], sizes[n + 1], strides[n + 1]
            if n:
                one = (w[n], row, 1, delta[n + 1], across)
                add((i, BATCH, o), *one, zeros, 0, delta[n], across)
            one = (x[n], 1, strides[n], x[n + 1], row)
            add((i, o, BATCH), *one, w[n], row, w[n], row)

        def make() -> None:
            for call in calls:
                self._library.product(*call)

        return make

    def _ask(self, name: str, size: int) -> int:
        return int(getattr(self._library, name)(ctypes.c_int64(size)))

    @staticmethod
    def _room(size: int) -> np.ndarray:
        return np.full(size + 64, 1e-6, np.float32)


def _at(values: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p((values.ctypes.data + 63) // 64 * 64)


def _whole(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def count_operations(width: int) -> int:
    """Those of the products of a step."""
    first, rest = SIZES[0] * width, width**2 + width * SIZES[1]
    return (4 * first + 6 * rest) * BATCH


def time_each(work: Callable[[], object], operations: float) -> float:
    """Seconds of the processor of one call."""
    count = max(1, int(OPERATIONS / operations))
    started = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - started) / count


def time_steps(training: Training, operations: float) -> float:
    """Seconds of the processor of one step."""
    count = min(16, max(2, int(OPERATIONS / operations)))
    training.go_to(training.epoch)
    training.advance(1)  # the order of the epoch is drawn for the first
    started = time.process_time()
    training.advance(count)
    return (time.process_time() - started) / count


def time_library(setting: str) -> float:
    """Operations a second of torch's products."""
    a = torch.ones(SIZE, SIZE)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(setting)
    started = time.process_time()
    a @ a
    seconds = time.process_time() - started
    torch.set_float32_matmul_precision(before)
    return 2 * SIZE**3 / seconds


def main() -> None:
    """Print the limits, and a row a width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = torch.zeros(COPIED // 4)
    target, dataset = torch.zeros_like(source), make_dataset(32)
    with tempfile.TemporaryDirectory() as folder:
        products = Products(folder)
        trainings = {width: make_training(width, dataset) for width in WIDTHS}
        makers = {
            width: products.of_step(width, training._path.tuning)
            for width, training in trainings.items()
        }
        rates: dict[str, list[float]] = {}
        alone: dict[int, list[float]] = {width: [] for width in WIDTHS}
        steps: dict[int, list[float]] = {width: [] for width in WIDTHS}
        for _ in range(arguments.rounds):
            rates.setdefault("the tile alone", []).append(products.time_tile())
            for name, setting in (("MKL", "highest"), ("oneDNN", "medium")):
                rates.setdefault(name, []).append(time_library(setting))
            started = time.process_time()
            target.copy_(source)
            seconds = time.process_time() - started
            rates.setdefault("copy", []).append(2 * COPIED / seconds)
            for width in WIDTHS:
                operations = count_operations(width)
                alone[width].append(time_each(makers[width], operations))
                steps[width].append(time_steps(trainings[width], operations))
    print(f"{platform.platform()}, one core, n = {arguments.rounds} rounds\n")
    for name, found in rates.items():
        unit = "GB/s" if name == "copy" else "GFLOP/s"
        middle, most = np.median(found) / 1e9, max(found) / 1e9
        print(f"{name}: {most:.0f} {unit} at most, {middle:.0f} the median")
    tile, copy = max(rates["the tile alone"]), max(rates["copy"])
    best = max(max(rates["MKL"]), max(rates["oneDNN"]))
    print(
        "\n| width | step, ms | of the best library | of the tile | its products, ms | "
        "of the tile | beside products | weights at the rate of a copy, ms |"
    )
    print("|--:" * 8 + "|")
    for width in WIDTHS:
        step, made = min(steps[width]), min(alone[width])
        rate = count_operations(width) / step
        weights = SIZES[0] * width + width**2 + width * SIZES[1]
        print(
            f"| {width} | {1e3 * step:.3f} | {rate / best:.0%} | {rate / tile:.0%} "
            f"| {1e3 * made:.3f} | {count_operations(width) / made / tile:.0%} "
            f"| {1 - made / step:.0%} | {1e3 * 16 * weights / copy:.3f} |"
        )


if __name__ == "__main__":
    main()
