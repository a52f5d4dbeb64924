"""The tables of the page on the check-up are those of the measured files."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ZOO = ROOT / "benchmarks" / "zoo"


def lines_of(name):
    text = (ZOO / "results" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_page_has_the_tables_that_were_measured():
    command = [sys.executable, str(ZOO / "tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_healthy_families_have_no_errors_and_planted_defects_are_found():
    healthy = lines_of("zoo.jsonl")
    assert len({one["family"] for one in healthy}) >= 80
    assert not [f for one in healthy for f in one["findings"] if f["level"] == "error"]
    planted = [d for d in lines_of("planted.jsonl") if d["defect"] != "(healthy)"]
    assert len(planted) >= 60
    assert sum(d["named"] for d in planted) >= 0.9 * len(planted)
