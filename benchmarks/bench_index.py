"""How a table of runs grows: an index of ten thousand, of a million runs.

The runs are folders that hold the mark of completion alone; their rows are those of a
real run, with other keys, seeds and learning rates. What is timed looks at each folder,
as `Store.runs` does, and reads the index.

    python benchmarks/bench_index.py --runs 10000 100000 1000000
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import birthmark as bm
from birthmark.spec import RunSpec
from birthmark.store import Store, index, open_store

TINY = RunSpec(
    data={"name": "digits", "examples_per_class": 5},
    network={"widths": [4, 4]},
    training={"epochs": 1},
    run={"replicas": 1},
)
WIDTHS = [[w, w] for w in (16, 32, 64, 128, 256, 512, 1024, 2048)]
RATES = [0.001 * 2**n for n in range(10)]


def make_store(folder: Path, count: int) -> Store:
    """A store of so many runs that look done."""
    real = bm.run(TINY, folder / "real")
    row = real.store._row(real.run_key)
    shutil.rmtree(folder / "real")
    store = open_store(folder, create=True)
    keys = [f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}" for n in range(1, count + 1)]
    for key in keys:
        (folder / key).mkdir()
        (folder / key / "done").touch()
    numbers = {key: number for number, key in enumerate(keys)}

    def look(key: str) -> dict[str, Any]:
        number = numbers[key]
        return {
            **row,
            "run_key": key,
            "network.widths": WIDTHS[number % 8],
            "training.lr": RATES[number // 8 % 10],
            "run.seed": number // 80,
        }

    began = time.perf_counter()
    index.read_rows(folder, look)
    print(f"  index made from the rows in {time.perf_counter() - began:.1f} s")
    return store


def timed(call: Callable[[], Any], times: int) -> str:
    """Median and extremes, in seconds; the first call is left out."""
    call()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return f"{statistics.median(found):.3f} [{min(found):.3f}, {max(found):.3f}] s"


def measure(count: int, times: int) -> None:
    """Print what each question costs."""
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), count)
        size = (store.path / "index.parquet").stat().st_size
        print(f"{count:,} runs, index of {size / 2**20:.2f} MB, n = {times}")
        print(f"  runs()                 {timed(store.runs, times)}")
        few = {"lr": 0.008, "widths": [64, 64], "seed": 3}
        for asked in ({"lr": 0.008}, few):
            found = store.runs(**asked)
            words = ", ".join(f"{name}={value}" for name, value in asked.items())
            took = timed(lambda asked=asked: store.runs(**asked), times)
            print(f"  runs({words}): {len(found)} rows, {took}")
            assert (found["training.lr"] == 0.008).all()
        assert len(store.runs()) == count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000])
    parser.add_argument("--times", type=int, default=7)
    chosen = parser.parse_args()
    for one in chosen.runs:
        measure(one, chosen.times)
