"""The check-up of healthy model families: every finding, and the time it took.

    python benchmarks/zoo/run.py --seeds 0 --out zoo.jsonl [--only NAME ...]
    python benchmarks/zoo/run.py --seeds 2 3 4 --every 3 --out seeds.jsonl

One line of JSON a family and seed; `tables.py` makes the table of the docs from them.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
_LIMIT = 600  # seconds for one family


def without_compiled_operations() -> None:
    """Let torchvision be imported where its extension is for another build of torch."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [one for one in sys.modules if one.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        boxes = "Tensor dets, Tensor scores, float iou_threshold"
        for name in ("nms", "qnms"):
            library.define(f"{name}({boxes}) -> Tensor")
        import torchvision  # noqa: F401

        without_compiled_operations.library = library  # kept alive


def examine(make: Any, seed: int, keep: Path | None) -> dict[str, Any]:
    """One check-up of one family, as plain values; all its readings into `keep`."""
    from birthmark.checkup import check

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    model, batch = make()
    start = time.process_time()
    checkup = check(model, batch)
    if keep is not None:
        keep.write_bytes(pickle.dumps(checkup))
    return {
        "parameters": checkup.num_parameters,
        "layers": len(checkup.layers),
        "loss": checkup.outcome and checkup.outcome.loss,
        "loss_name": checkup.outcome and checkup.outcome.loss_name,
        "seconds": round(time.process_time() - start, 2),
        "unread": list(checkup.unread),
        "roles": sum(t.role != "other" for t in checkup.tensors) / len(checkup.tensors),
        "findings": [
            {"level": f.level, "name": f.name, "what": f.what, "where": f.where[:6]}
            for f in checkup.findings
        ],
    }


def main() -> None:
    """Check the families that were asked for, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("zoo.jsonl"))
    parser.add_argument("--readings", type=Path, help="folder for all readings")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument(
        "--every", type=int, default=1, help="each so many families, by sorted name"
    )
    given = parser.parse_args()
    without_compiled_operations()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    from families import FAMILIES

    from birthmark.sweeps import describe_software

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"more than {_LIMIT} s")

    chosen = set(sorted(FAMILIES)[:: given.every])
    commit = describe_software()["commit"]
    done = set()
    if given.out.exists():  # what was found goes on
        lines = given.out.read_text(encoding="utf-8").splitlines()
        done = {(one["family"], one["seed"]) for one in map(json.loads, lines)}
    signal.signal(signal.SIGALRM, too_long)
    with given.out.open("a", encoding="utf-8") as file:
        for seed in given.seeds:
            for name, make in FAMILIES.items():
                if given.only and not any(word in name for word in given.only):
                    continue
                if name not in chosen or (name, seed) in done:
                    continue
                keep = given.readings and given.readings / f"{name} {seed}.pickle"
                signal.alarm(_LIMIT)
                try:
                    found = examine(make, seed, keep)
                except Exception as error:
                    found = {"error": f"{type(error).__name__}: {error}"[:400]}
                    found["trace"] = traceback.format_exc()[-1500:]
                signal.alarm(0)
                row = {"family": name, "seed": seed, "commit": commit, **found}
                file.write(json.dumps(row) + "\n")
                file.flush()
                levels = [
                    f"{f['level']}:{f['name']}" for f in found.get("findings", ())
                ]
                print(name, seed, found.get("error", ""), found.get("seconds"), levels)


if __name__ == "__main__":
    main()
