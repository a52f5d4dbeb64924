"""Stores with damaged files, sweeps that are killed, and callers of every kind."""

import asyncio
import random
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

import birthmark as bm
import kills
import store_writer as writer
from attacks.draws import Try, harm
from birthmark.spec import RunSpec
from birthmark.store import RunFolder, open_store
from store_writer import make_spec, read_all

SPEC = make_spec()


def stores(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A file of a run with flipped bits, or cut short, and all of the run read."""
    if not hasattr(RunFolder, "close"):  # of before there were claims
        RunFolder.close = lambda run: None
    writer.write_run(folder, SPEC)
    expected = read_all(open_store(folder), SPEC.run_key)
    paths = [folder / "birthmark-store.json", *(folder / SPEC.run_key).iterdir()]
    wholes = {path: path.read_bytes() for path in paths if path.stat().st_size}

    def attempt() -> bool:
        path = draw.choice(sorted(wholes))
        path.write_bytes(harm(wholes[path], draw))
        try:
            return read_all(open_store(folder), SPEC.run_key) == expected
        finally:
            path.write_bytes(wholes[path])

    while True:
        yield attempt


def killed_sweeps(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A sweep that is killed at random moments, and started until it is done."""
    from birthmark.store import verify_store
    from test_faults import SPECS, sweep

    sweep(folder / "whole")
    whole = open_store(folder / "whole")

    def attempt() -> bool:
        path = folder / "killed"
        shutil.rmtree(path, ignore_errors=True)
        for _ in range(3):
            process = kills.start(sweep, path)
            process.join(draw.uniform(0, 2))
            process.kill()
            process.join()
        sweep(path)
        store = open_store(path)
        keys = [spec.run_key for spec in SPECS]
        same = all(store.records(key).equals(whole.records(key)) for key in keys)
        return same and verify_store(store) == []

    while True:
        yield attempt


def callers(draw: random.Random, folder: Path) -> Iterator[Try]:
    """Four calls at once, from threads or from a running event loop."""
    writer.write_run(folder / "store", SPEC)
    spec = RunSpec(
        data={"name": "digits"}, network={"widths": [5]}, training={"epochs": 1}
    )
    torch.manual_seed(0)
    a, b = torch.randn(2, 40, 30).unbind()
    model = torch.nn.Linear(30, 4)
    calls: list[Callable[[], object]] = [
        lambda: read_all(open_store(folder / "store"), SPEC.run_key),
        lambda: [s.train_loss.tobytes() for s in bm.train(spec)],
        lambda: bm.diff({"w": a}, {"w": b})["w"].readings["cosine"].value,
        lambda: re.sub(r"[\d.]+ s\.", "", bm.check(model, a).text()),
        lambda: bm.load_dataset("digits").checksum,
        lambda: RunSpec(data={"name": "digits"}).run_key,
    ]
    alone = [call() for call in calls]

    async def from_a_loop(chosen: list[int]) -> list[object]:
        waiting = [asyncio.to_thread(calls[number]) for number in chosen[1:]]
        gathered = asyncio.gather(*waiting)
        here = calls[chosen[0]]()
        return [here, *await gathered]

    def attempt() -> bool:
        chosen = [draw.randrange(len(calls)) for _ in range(4)]
        if draw.random() < 0.5:
            found = asyncio.run(from_a_loop(chosen))
        else:
            with ThreadPoolExecutor(4) as pool:
                found = list(pool.map(lambda number: calls[number](), chosen))
        return found == [alone[number] for number in chosen]

    while True:
        yield attempt
