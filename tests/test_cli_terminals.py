"""The command line on any terminal, into any pipe: real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "birthmark"]


def call(command, **environment):
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        env=os.environ | {"BM": " ".join(COMMAND)} | environment,
        timeout=120,
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize("command", ["--help", "data list", "check --help"])
def test_every_encoding_of_a_terminal_is_printed_to(encoding, command):
    found = call(f"$BM {command}", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert found.returncode == 0, found.stderr
    assert found.stderr == b""
    assert found.stdout.decode(encoding)


def test_a_reader_that_leaves_is_no_finding():
    # twice the buffer of a pipe, so that the writer notices
    found = call('$BM data list --json | true; echo "${PIPESTATUS[0]}"')
    assert found.stdout.strip() in (b"141", b"0")
    loop = "for i in $(seq 30); do echo data list; done"
    script = f'({loop}) >/dev/null; $BM data list | head -c 1 >/dev/null; echo "$?"'
    assert call(script).returncode == 0
    assert b"Traceback" not in found.stderr


def test_a_pipe_closed_before_anything_is_printed_ends_as_a_closed_pipe():
    script = (
        "import os, subprocess, sys; r, w = os.pipe(); os.close(r); "
        f"print(subprocess.run({COMMAND + ['data', 'list']}, stdout=w).returncode)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert found.stdout.strip() == "141"
    assert found.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_said_in_one_line():
    found = call("$BM data list > /dev/full")
    assert found.returncode == 2
    (line,) = found.stderr.decode().splitlines()
    assert line == "birthmark: output cannot be written: No space left on device"


def test_closed_outputs_are_no_reason_to_fail():
    assert call("$BM data list >&-").returncode == 0
    assert call("$BM data list >&- 2>&-").returncode == 0
    assert call("$BM data verify nothing 2>&-").returncode == 2


def test_settings_of_the_user_do_not_reach_figures(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nlines.linewidth: 9\n")
    script = """
from birthmark.figures.canvas import new_figure
from birthmark.figures.palettes import PALETTES, styled
with styled(next(iter(PALETTES.values()))):
    import matplotlib
    assert not matplotlib.rcParams["text.usetex"]
    assert matplotlib.rcParams["lines.linewidth"] == 1.3
    new_figure(2).savefig("out.png")
assert matplotlib.rcParams["lines.linewidth"] == 9
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "nothing_like_it"},
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "out.png").stat().st_size
