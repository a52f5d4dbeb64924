"""How a table of runs grows: an index of ten thousand, of a million runs.

The runs are empty folders, which the index knows as done; their rows are those of a
real run, with other keys, seeds, widths and learning rates. What is timed looks at when
each folder changed, as `Store.runs` does, and reads the index.

    python benchmarks/bench_index.py --runs 10000 100000 1000000
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import birthmark as bm
from birthmark.shapes import Array
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
    """A store whose index knows so many runs, in folders that have not changed since.

    Raises:
        AssertionError: The index made here is not one that `index.read_rows` keeps.
    """
    real = bm.run(TINY, folder / "real")
    row = index.read_rows(folder / "real", real.store._look_at).to_pylist()[0]
    shutil.rmtree(folder / "real")
    store = open_store(folder, create=True)
    keys = sorted(f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}" for n in range(1, count + 1))
    for key in keys:
        (folder / key).mkdir()
    changed = index._list_folders(folder)
    numbers = np.arange(count)
    varied = {
        "run_key": pa.array(keys),
        "folder_changed": pa.array([changed[key] for key in keys]),
        "network.widths": _texts(WIDTHS, numbers % 8),
        "training.lr": _texts(RATES, numbers // 8 % 10),
        "run.seed": _texts(range(count // 80 + 1), numbers // 80),
    }
    kinds = index._to_table([row]).schema
    columns = {
        name: varied.get(
            name, pa.repeat(pa.scalar(row[name], kinds.field(name).type), count)
        )
        for name in kinds.names
    }
    index._save(folder / "index.parquet", pa.table(columns, kinds))

    def look(key: str) -> dict[str, Any]:
        raise AssertionError(f"run {key} is looked at, though it has not changed")

    began = time.perf_counter()
    assert len(index.read_rows(folder, look)) == count
    print(f"  folders listed and index read in {time.perf_counter() - began:.1f} s")
    return store


def _texts(values: Sequence[Any], places: Array) -> pa.Array:
    """As the index has them: JSON."""
    return pa.array([json.dumps(value) for value in values]).take(pa.array(places))


def timed(call: Callable[[], Any], times: int) -> str:
    """Median and extremes of wall and of processor time; the first call is left out."""
    call()
    walls, spent = [], []
    for _ in range(times):
        began, before = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - began)
        spent.append(time.process_time() - before)
    wall, processor = (
        f"{statistics.median(found):.3f} [{min(found):.3f}, {max(found):.3f}] s"
        for found in (walls, spent)
    )
    return f"{wall}, of processor time {processor}"


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
