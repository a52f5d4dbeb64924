"""The two tables of docs/concepts/check-up.md, from what was measured.

    python benchmarks/zoo/tables.py            # writes them into the page
    python benchmarks/zoo/tables.py --check    # fails when the page has other ones

`results/zoo.jsonl` is one line a family and seed (run.py), `results/seeds.jsonl` the
same of further seeds, `results/planted.jsonl` one line a defect (plant.py).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from scipy.stats import beta

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "concepts" / "check-up.md"
# why each kind of note is true of the families that get it
REASONS = {
    "late_start": "the last norm of each residual branch, a gate or the head starts "
    "at zero, so what lies before it gets no gradient in the first step",
    "silent_units": "no norms, or few examples: a unit is on or off for all of them",
    "outside_the_loss": "the model gives more than the logits that the loss takes",
    "unused_parameters": "mask tokens and experts that this batch does not need",
    "inputs_collapse": "eight images become alike behind pooling and many layers",
    "default_biases": "the library draws weights anew and leaves torch's biases",
    "left_at_default": "the library draws some layers anew and leaves others",
    "unusual_inputs": "inputs as the library wants them",
    "stream_explodes": "residual branches add up without a norm on the stream",
    "constant_outputs": "a head of zeros",
    "signal_vanishes": "a plain chain in which the signal shrinks",
    "signal_explodes": "a plain chain in which the signal grows",
    "gradient_vanishes": "a plain chain in which the gradient shrinks",
    "gradient_explodes": "a plain chain in which the gradient grows",
    "copied_units": "units that start as copies, as their paper has it",
    "linear_chain": "two matrices in a row, as the architecture has it",
    "lost_rank": "a matrix of low rank by construction",
    "high_initial_loss": "the head is drawn for 1000 classes; with ten its logits "
    "spread that far, and the loss is as high as it says",
    "frozen_parameters": "tables that the architecture does not train",
    "unknown_laws": "laws of the architecture's own",
    "single_key": "images so small that the last stage attends to one place",
    "outliers": "torch's trunc_normal_ gave a far bound itself",
}


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; the last one of a family and seed counts."""
    found: dict[Any, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        key = (one.get("family", one.get("architecture")),
               one.get("seed"), one.get("defect"))  # fmt: skip
        found[key] = one
    return list(found.values())


def zoo_table(rows: list[dict[str, Any]]) -> str:
    """Families by library, false alarms, and which notes with their reasons."""
    ran = [row for row in rows if "error" not in row]
    lines = [
        "| library | families | check-ups | errors | warnings | notes |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    libraries = sorted({row["family"].split()[0] for row in ran})
    for library in [*libraries, "all"]:
        own = [r for r in ran if library in ("all", r["family"].split()[0])]
        levels = Counter(f["level"] for row in own for f in row["findings"])
        families = len({row["family"] for row in own})
        counts = [levels[level] for level in ("error", "warning", "note")]
        cells = " | ".join(map(str, (families, len(own), *counts)))
        lines.append(f"| {library} | {cells} |")
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in ran:
        for finding in row["findings"]:
            names[finding["level"], finding["name"]].add(row["family"])
    lines += ["", "| finding | level | families | true, since |", "|---|---|--:|---|"]
    for (level, name), families in sorted(names.items(), key=lambda kv: -len(kv[1])):
        shown = sorted(families)
        few = ", ".join(shown[:3]) + (" and others" if len(shown) > 3 else "")
        reason = REASONS.get(name, "see the finding")
        lines.append(f"| `{name}` | {level} | {len(shown)} ({few}) | {reason} |")
    seeds = sorted({row["seed"] for row in ran})
    seconds = sorted(row["seconds"] for row in ran)
    many = Counter(row["seed"] for row in ran)
    lines += [
        "",
        f"Seeds: {', '.join(f'{seed} ({many[seed]} families)' for seed in seeds)}. "
        f"Largest model {max(row['parameters'] for row in ran) / 1e6:.0f} million "
        f"parameters; median time {seconds[len(seconds) // 2]:.1f} s of one core, "
        f"longest {seconds[-1]:.0f} s.",
    ]
    refused = sorted({row["family"] for row in rows if "error" in row} -
                     {row["family"] for row in ran})  # fmt: skip
    if refused:
        lines.append(f"Not run in this configuration: {', '.join(refused)}.")
    return "\n".join(lines)


def seeds_text(rows: list[dict[str, Any]]) -> str:
    """How often further seeds raise an alarm: counts, and what they leave possible."""
    ran = [row for row in rows if "error" not in row]
    families = sorted({row["family"] for row in ran})
    seeds = Counter(row["seed"] for row in ran)
    whole = [seed for seed, count in seeds.items() if count == len(families)]
    said = f"seeds {min(whole)} to {max(whole)}"
    rest = [f"{count} of them at seed {seed}" for seed, count in sorted(seeds.items())
            if count < len(families)]  # fmt: skip
    said += f", and {', '.join(rest)}" if rest else ""
    commits = sorted({str(row["commit"])[:7] for row in ran})
    lines = [
        f"{len(families)} families ({', '.join(families)}) at {said}: {len(ran)} "
        f"check-ups of commit {', '.join(commits)}.",
        "",
        "| level | check-ups with one | of | share | at most (95 %) |",
        "|---|--:|--:|--:|--:|",
    ]
    for level in ("error", "warning"):
        hit = sum(any(f["level"] == level for f in row["findings"]) for row in ran)
        most = beta.ppf(0.95, hit + 1, len(ran) - hit)  # Clopper & Pearson, one-sided
        share = f"{100 * hit / len(ran):.1f} %"
        lines.append(f"| {level} | {hit} | {len(ran)} | {share} | {100 * most:.1f} % |")
    notes = Counter(
        f["name"] for r in ran for f in r["findings"] if f["level"] == "note"
    )
    counts = ", ".join(f"`{name}` {count}" for name, count in notes.most_common())
    lines += ["", f"Notes: {counts}." if counts else "No notes."]
    lines.append(
        "Seeds are new, families are not: each had been looked at with seed 0 or 1 "
        "while the check-up grew, so the share says how draws scatter and nothing of "
        "families that were never tried. Draws of one family are alike, so the bound, "
        "which takes them as independent, is too low."
    )
    return "\n".join(lines)


def planted_table(rows: list[dict[str, Any]]) -> str:
    """Found, right cause, tensor named, by architecture; and what was missed."""
    planted = [row for row in rows if row["defect"] != "(healthy)"]
    healthy = [row for row in rows if row["defect"] == "(healthy)"]
    lines = [
        "| architecture | defects | found | right cause | tensor named | other "
        "warnings | false alarms when healthy |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    architectures = list(dict.fromkeys(row["architecture"] for row in planted))
    for name in [*architectures, "all"]:
        own = [r for r in planted if name in ("all", r["architecture"])]
        sound = [r for r in healthy if name in ("all", r["architecture"])]
        cells = [
            len(own),
            sum(bool(r.get("found")) for r in own),
            sum(bool(r.get("right_cause")) for r in own),
            sum(bool(r.get("named")) for r in own),
            sum(len(r.get("others", ())) for r in own),
            sum(bool(r.get("found")) for r in sound),
        ]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    missed = [r for r in planted if not r.get("named")]
    lines.append("")
    if missed:
        said = "; ".join(
            f"{r['defect']} in {r['architecture']} "
            f"({'said ' + r['first'] if r.get('first') else 'nothing said'})"
            for r in missed
        )
        lines.append(f"Missed or not named: {said}.")
    else:
        lines.append("None was missed.")
    kinds = sorted({row["defect"] for row in planted})
    lines.append(f"Kinds of defects: {', '.join(kinds)}.")
    return "\n".join(lines)


def put(text: str, name: str, table: str) -> str:
    """The page with one table between its marks."""
    marks = (f"<!-- {name}: made by benchmarks/zoo/tables.py -->", f"<!-- /{name} -->")
    pattern = re.compile(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{PAGE} has no place for {name}")
    whole = f"{marks[0]}\n{table}\n{marks[1]}"
    return pattern.sub(lambda _: whole, text)


def main() -> None:
    """Write the tables, or compare them with the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    after = put(before, "zoo", zoo_table(read(HERE / "results" / "zoo.jsonl")))
    further = read(HERE / "results" / "seeds.jsonl")
    after = put(after, "seeds", seeds_text(further))
    planted = read(HERE / "results" / "planted.jsonl")
    after = put(after, "planted", planted_table(planted))
    if given.check and after != before:
        sys.exit(f"{PAGE} has other tables than results/: run tables.py")
    if not given.check:
        PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
