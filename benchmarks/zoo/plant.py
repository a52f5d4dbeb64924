"""The planted defects, one by one: found, by the right cause, and what else is said.

python benchmarks/zoo/plant.py --out planted.jsonl [--only WORD ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))


def judge(defect: Any, seed: int) -> dict[str, Any]:
    """Plant one defect, check, and compare with what should be said."""
    from defects import ARCHITECTURES

    from birthmark.checkup import check

    torch.manual_seed(seed)
    model, batch = defect.spoil(*ARCHITECTURES[defect.architecture]())
    checkup = check(model, batch, **defect.options(model))
    loud = [f for f in checkup.findings if f.level != "note"]
    right = [f for f in loud if f.name in defect.causes]
    named = [f for f in right if not defect.tensors or defect.tensors & {*f.where}]
    return {
        "architecture": defect.architecture,
        "defect": defect.name,
        "found": bool(loud),
        "right_cause": bool(right),
        "named": bool(named),
        "first": loud[0].name if loud else "",
        "others": sorted({f.name for f in loud if f.name not in defect.causes}),
        "notes": sorted({f.name for f in checkup.findings if f.level == "note"}),
    }


def main() -> None:
    """Plant the defects that were asked for, and healthy twins of all architectures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("planted.jsonl"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    from defects import ARCHITECTURES, Defect, all_defects

    healthy = [
        Defect(name, "(healthy)", lambda m, b: (m, b), frozenset())
        for name in ARCHITECTURES
    ]
    with given.out.open("w", encoding="utf-8") as file:
        for defect in [*healthy, *all_defects()]:
            words = f"{defect.architecture} {defect.name}"
            if given.only and not any(one in words for one in given.only):
                continue
            try:
                found = judge(defect, given.seed)
            except Exception as error:
                found = {
                    "architecture": defect.architecture,
                    "defect": defect.name,
                    "error": f"{type(error).__name__}: {error}",
                }
            file.write(json.dumps(found) + "\n")
            file.flush()
            mark = "ok" if found.get("named") else "MISSED"
            print(mark, words, found.get("error", ""), found.get("first"),
                  found.get("others"), found.get("notes"), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
