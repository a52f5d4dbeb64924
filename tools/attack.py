"""Attack what reads, what stores and what trains; count what comes of it.

    python tools/attack.py --seconds 600

Random settings, grids and pictures, flipped bits and cut files of every kind, and kills
at random moments. Each try may end in what is right, or in one line that refuses it; a
wrong number or a traceback is a defect, is printed, and makes the exit status 1.
"""

import argparse
import os
import random
import shutil
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import birthmark as bm  # noqa: E402
import kills  # noqa: E402
import store_writer as writer  # noqa: E402
from birthmark.errors import BirthmarkError  # noqa: E402
from birthmark.network import draw_mark  # noqa: E402
from birthmark.spec import MarkSpec, RunSpec  # noqa: E402
from birthmark.spec.files import parse_setting  # noqa: E402
from birthmark.store import open_store, verify_store  # noqa: E402
from test_faults import SPECS, sweep  # noqa: E402
from test_spec_fuzz import FIELDS  # noqa: E402
from test_store_damage import SPEC, read_all  # noqa: E402

Try = Callable[[], bool]  # whether what came is right
KINDS = ("right", "refused in one line", "wrong", "traceback")
VALUES = ["1e300", "-1", "0", "nan", "true", "[]", "{}", "1979-05-27", "9" * 400]
VALUES += ["2", "0.1", "[8, 8]", '"adam"', "false", '"mnist"', "3"]
VALUES += ['"every"', "[[1]]", '"\\u0000"', "[0, 1e12]", '"../.."', "inf", '"relu"']


def settings(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A spec with some fields set to what they were not made for."""

    def attempt() -> bool:
        given = (
            f"{draw.choice(FIELDS)}={draw.choice(VALUES)}"
            for _ in range(draw.randint(1, 3))
        )
        spec = RunSpec(data={"name": "digits"})
        spec = spec.with_settings(dict(map(parse_setting, given)))
        return len(spec.run_key) == 16

    while True:
        yield attempt


def grids(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A file of a grid whose tables, keys and expressions are shuffled or mangled."""
    path = folder / "grid.toml"
    good = ["[spec.data]", 'name = "digits"', "[spec.training]", "epochs = 5"]
    good += [
        "[grid.product]",
        '"run.seed" = { seeds = 3 }',
        '"training.momentum" = [0.5, 0.9]',
    ]
    good += ["[grid.zip]", '"network.widths" = [[8, 8], [9, 9]]', "[[grid.list]]"]
    good += ["[grid.derive]", '"training.lr" = "3.2 / widths[0]"']
    bad = ['where = "lr ** 9 ** 9 < 1"', '"training.lr" = "__import__(1)"', "[grid]"]
    bad += ['"run.seed" = { seeds = 1e9 }', '"network.widths" = [[8, 8], 3]']

    def attempt() -> bool:
        lines = [line for line in good if draw.random() < 0.95]
        if draw.random() < 0.3:
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(bad))
        text = "\n".join(lines)
        if draw.random() < 0.5:
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(string.printable) + text[at + 1 :]
        path.write_text(text)
        return all(len(spec.run_key) == 16 for spec in bm.Grid.from_toml(path))

    while True:
        yield attempt


def pictures(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A picture of a mark with flipped bits, or cut short."""
    path = folder / "mark.png"
    Image.effect_noise((32, 32), 64).save(path, compress_level=0)
    whole = path.read_bytes()

    def attempt() -> bool:
        path.write_bytes(harm(whole, draw))
        mark = draw_mark(MarkSpec(image=str(path)), 16, 16)
        return mark.mask_IO.shape == (16, 16)

    while True:
        yield attempt


def checkpoints(draw: random.Random, folder: Path) -> Iterator[Try]:
    """One of two checkpoints with flipped bits, or cut short."""
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(9, 7), torch.nn.Linear(7, 3))
    tensors = {name: x.detach() for name, x in state.named_parameters()}
    save_file(tensors, folder / "a.safetensors")
    torch.save(tensors, folder / "a.pt")
    np.savez(folder / "a.npz", **{name: x.numpy() for name, x in tensors.items()})
    wholes = {path.suffix: path.read_bytes() for path in folder.glob("a.*")}

    def attempt() -> bool:
        suffix = draw.choice(sorted(wholes))
        harmed = folder / f"b{suffix}"
        harmed.write_bytes(harm(wholes[suffix], draw))
        # there is no checksum in these formats: another number is what the file says
        return bool(bm.diff(folder / f"a{suffix}", harmed).text())

    while True:
        yield attempt


def stores(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A file of a run with flipped bits, or cut short, and all of the run read."""
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


def harm(whole: bytes, draw: random.Random) -> bytes:
    """The content with a bit flipped, or cut short."""
    if draw.random() < 0.3:
        return whole[: draw.randrange(len(whole))]
    flipped = bytearray(whole)
    flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


ATTACKS = (settings, grids, pictures, checkpoints, stores, killed_sweeps)


def outcome(attempt: Try) -> tuple[str, str]:
    """Of which kind it is, and what was said."""
    try:
        return ("right", "") if attempt() else ("wrong", "another result")
    except BirthmarkError as error:
        said = str(error)
        return ("refused in one line" if "\n" not in said else "traceback"), said
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"


def main() -> int:
    """Carry out all attacks, print a row for each; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    options = parser.parse_args()
    print(f"| attack | tries | {' | '.join(KINDS)} |\n|---|{'--:|' * (len(KINDS) + 1)}")
    bad = 0
    for attack in ATTACKS:
        counts: Counter[str] = Counter()
        ends = time.monotonic() + options.seconds / len(ATTACKS)
        with tempfile.TemporaryDirectory() as folder:
            attempts = attack(random.Random(options.seed), Path(folder))
            while time.monotonic() < ends:
                kind, said = outcome(next(attempts))
                counts[kind] += 1
                if kind in KINDS[2:]:
                    print(f"{attack.__name__}: {kind}: {said[:300]}", file=sys.stderr)
        bad += sum(counts[kind] for kind in KINDS[2:])
        cells = " | ".join(str(counts[kind]) for kind in KINDS)
        what = attack.__doc__.splitlines()[0].rstrip(".")
        print(f"| {what} | {counts.total()} | {cells} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
