"""The command line on any terminal, into any pipe: real processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from birthmark.errors import StoreError
from birthmark.store import open_store

COMMAND = [sys.executable, "-m", "birthmark"]


def call(command, **environment):
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        env=os.environ | {"BM": " ".join(COMMAND)} | environment,
        timeout=120,
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize("command", ["data list", "check --help"])
def test_every_encoding_of_a_terminal_is_printed_to(encoding, command):
    found = call(f"$BM {command}", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert found.returncode == 0, found.stderr
    assert found.stderr == b""
    assert found.stdout.decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "shown"), [("cp1252", b"\xe9\\u2192"), ("ascii", b"\\xe9\\u2192")]
)
def test_what_an_encoding_lacks_is_escaped(encoding, shown):
    script = """
from birthmark.cli.terminal import any_terminal
with any_terminal():
    print("\\u00e9\\u2192")
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        timeout=120,
    )
    assert found.stderr == b""
    assert found.stdout.strip() == shown


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


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_file_of_ours_takes_the_place_of_a_stream_that_is_closed(tmp_path):
    """What a library in C says there would be written into it."""
    (tmp_path / "mine.py").write_text(
        "import os, pathlib\n"
        "places = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        f"pathlib.Path({str(tmp_path / 'places')!r}).write_text(' '.join(places))\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    settings = {"PYTHONPATH": path, "BIRTHMARK_EXTENSIONS": "mine"}
    assert call("$BM data list <&- >&- 2>&-", **settings).returncode == 0
    assert (tmp_path / "places").read_text() == " ".join(["/dev/null"] * 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_was_asked_for_is_written_though_nobody_reads(tmp_path):
    """A file is no less wanted where the reader of the text before it has left."""
    script = """
import sys
import time
from pathlib import Path
from birthmark.cli.terminal import any_terminal
with any_terminal():
    print("x" * 100_000, flush=True)
    Path(sys.argv[1]).write_text("whole")
"""
    (tmp_path / "script.py").write_text(script)
    command = f"{sys.executable} {tmp_path}/script.py {tmp_path}"
    found = call(f"{command}/full > /dev/full")
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1)
    found = call(f"({command}/left; echo $? >&2) | head -c 1")
    assert (found.stdout, found.stderr) == (b"x", b"141\n")
    for name in ("full", "left"):
        assert (tmp_path / name).read_text() == "whole"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_that_does_not_block_gets_everything():
    """As those of many terminals' parents; Python gives up where one is full."""
    script = """
import os
from birthmark.cli.terminal import any_terminal
os.set_blocking(1, False)
with any_terminal():
    for _ in range(10_000):
        print("x" * 99)
"""
    program = [sys.executable, "-c", script]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as running:
        time.sleep(0.5)  # until it is full
        assert running.stdout.read() == (b"x" * 99 + b"\n") * 10_000
    assert running.returncode == 0


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_said_on_standard_error_costs_no_run(tmp_path):
    (tmp_path / "run.toml").write_text(
        '[data]\nname = "digits"\n[network]\nwidths = [4]\n'
        "[training]\nepochs = 1\n[run]\nreplicas = 1\n"
    )
    run = f"$BM run {tmp_path}/run.toml --store {tmp_path}/runs"
    assert call(f"{run} 2> /dev/full").returncode == 0
    assert b"was done" in call(run).stderr
    # 1 would read as findings
    assert call("$BM diff none.pt none.pt 2> /dev/full").returncode == 2


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("data import mnist {long}", "xxx: File name too long"),
        ("status --store {long}", "cannot look for xxx"),
        ("figures store", "mend or remove the file matplotlibrc"),
    ],
)
def test_what_the_file_system_refuses_is_said_in_one_line(tmp_path, command, says):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    if command == "figures store":
        spec = 'data.name = "digits"\ntraining.epochs = 1\nnetwork.widths = [8, 8]\n'
        (tmp_path / "one.toml").write_text(spec)
        assert call(f"cd {tmp_path}; $BM run one.toml --store store").returncode == 0
    found = call(f"cd {tmp_path}; $BM {command.format(long='x' * 300)}")
    assert found.returncode == 2, found.stderr
    assert says in found.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in found.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's ulimit -v")
@pytest.mark.parametrize("command", ["check torch.nn:Identity", "data list --json"])
def test_no_memory_for_the_libraries_is_said_in_one_line(command):
    found = call(f"ulimit -v 60000; $BM {command}")
    assert (found.returncode, found.stdout) == (2, b""), found.stderr
    assert b"birthmark: not enough memory is free" in found.stderr.splitlines()[-1]
    assert b"Traceback" not in found.stderr


@pytest.mark.parametrize("name", ["x" * 300, os.fsdecode(b"x\xff")])
def test_a_store_that_cannot_be_named_so_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(StoreError, match="cannot look for|no text in UTF-8"):
        open_store(tmp_path / name, create=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_said_in_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    found = call(f"cd {tmp_path}/gone; rmdir ../gone; $BM data list")
    assert found.returncode == 2
    assert found.stderr.decode().splitlines()[-1].endswith("is gone: go to another")


def test_a_home_that_cannot_be_written_keeps_the_explorer_elsewhere(tmp_path):
    (tmp_path / "home").touch()
    found = call("$BM explore", HOME=str(tmp_path / "home"), BROWSER="true")
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.decode().splitlines()[0]).stat().st_size


@pytest.mark.parametrize(
    ("module", "settings"),
    [("typer", {}), ("mine", {"BIRTHMARK_EXTENSIONS": "mine"})],
)
def test_ctrl_c_while_modules_are_imported_says_nothing(tmp_path, module, settings):
    """What is imported then may make of it what it likes, an error of its own too."""
    (tmp_path / f"{module}.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    raise RuntimeError('half imported') from None\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    found = call("$BM data list", PYTHONPATH=path, **settings)
    assert found.returncode in (130, -2)
    assert (found.stdout, found.stderr) == (b"", b"")


def test_ctrl_c_that_is_ignored_stays_so(tmp_path):
    """As by a script's jobs in the background, which the same keys would end."""
    (tmp_path / "mine.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    settings = {"PYTHONPATH": path, "BIRTHMARK_EXTENSIONS": "mine"}
    found = call("trap '' INT; $BM data list", **settings)
    assert found.returncode == 0, found.stderr
    assert b"digits" in found.stdout
