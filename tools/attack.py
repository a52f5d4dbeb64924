"""Attack what reads, what stores and what trains; count what comes of it.

    python tools/attack.py --seconds 600

Random settings, grids and pictures, flipped bits and cut files of every kind, and kills
at random moments. Each try may end in what is right, or in one line that refuses it; a
wrong number or a traceback is a defect, is printed, and makes the exit status 1.
With `--at COMMIT` the library of that commit is attacked, where the attacks of today
can call it: so what was mended is counted before it was.
"""

import argparse
import io
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
if "--at" in sys.argv:  # before it is imported
    AT = tempfile.TemporaryDirectory()
    commit = sys.argv[sys.argv.index("--at") + 1]
    packed = ["git", "-C", str(ROOT), "archive", commit, "src"]
    content = subprocess.run(packed, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(AT.name, filter="data")
    sys.path.insert(0, str(Path(AT.name) / "src"))

from attacks.draws import Try  # noqa: E402
from attacks.files import checkpoints, data_sets, pictures, results  # noqa: E402
from attacks.numbers import extremes  # noqa: E402
from attacks.runs import callers, killed_sweeps, stores  # noqa: E402
from attacks.settings import grids, settings  # noqa: E402
from attacks.tensors import initializations  # noqa: E402

from birthmark.errors import BirthmarkError  # noqa: E402

KINDS = ("right", "refused in one line", "wrong", "traceback")
Attack = Callable[[random.Random, Path], Iterator[Try]]
ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        *(settings, grids, pictures, checkpoints, initializations, data_sets),
        *(results, extremes, stores, callers, killed_sweeps),
    )
}


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
    parser.add_argument("--at", metavar="COMMIT", help="whose library is attacked")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # a warning is no wrong number
    print(f"| attack | tries | {' | '.join(KINDS)} |\n|---|{'--:|' * (len(KINDS) + 1)}")
    bad = 0
    for attack in map(ATTACKS.__getitem__, options.only):
        counts: Counter[str] = Counter()
        ends = time.monotonic() + options.seconds / len(options.only)
        with tempfile.TemporaryDirectory() as folder:
            attempts = attack(random.Random(options.seed), Path(folder))
            while time.monotonic() < ends:
                try:
                    attempt = next(attempts)
                except (ImportError, AttributeError) as error:
                    print(f"{attack.__name__}: cannot be tried: {error}", flush=True)
                    break
                kind, said = outcome(attempt)
                counts[kind] += 1
                if kind in KINDS[2:]:
                    print(f"{attack.__name__}: {kind}: {said[:300]}", file=sys.stderr)
        if not counts:
            continue
        bad += sum(counts[kind] for kind in KINDS[2:])
        cells = " | ".join(str(counts[kind]) for kind in KINDS)
        what = attack.__doc__.splitlines()[0].rstrip(".")
        print(f"| {what} | {counts.total()} | {cells} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
