"""The command line as a user meets it: words, exit status, and what is left behind."""

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import birthmark as bm
from birthmark.cli import waiting
from birthmark.cli.progress import Display
from birthmark.cli.tables import print_runs
from birthmark.spec import RunSpec
from birthmark.store import open_store

SPEC = """
[data]
name = "digits"
examples_per_class = 10
[network]
widths = [16, 16]
[training]
epochs = 3
[run]
replicas = 2
[mark]
text = "a"
[record]
weights = [1]
"""


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(SPEC)
    return path


def contents(folder):
    """Every file of a folder and the hash of what is in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_run_status_figures_and_report_work_in_a_row(birthmark, spec_file, tmp_path):
    store = tmp_path / "runs"
    assert birthmark("run", spec_file, "--store", store)[0] == 0
    status, out, err = birthmark("status", "--store", store)
    assert status == 0
    assert "digits" in out
    assert "done" in out
    assert birthmark("--", "status", "--store", store) == (0, out, err)  # parsed
    status, out, _ = birthmark("figures", store, "--out", tmp_path / "figures")
    assert status == 0
    assert list((tmp_path / "figures").glob("*.pdf"))
    status, out, _ = birthmark("report", store, "--out", tmp_path / "report.html")
    assert (status, out.strip()) == (0, str(tmp_path / "report.html"))
    assert "<html" in (tmp_path / "report.html").read_text()[:500]


def test_run_prints_json_for_programs(birthmark, spec_file, tmp_path):
    arguments = ("run", spec_file, "--store", tmp_path / "runs", "--json")
    for was_done in (False, True):
        status, out, _ = birthmark(*arguments)
        assert status == 0
        [found] = json.loads(out)
        assert found["was_done"] is was_done
        assert found["run_key"] == RunSpec.from_toml(spec_file).run_key
        assert len(found["test_accuracy"]) == 2
    [row] = json.loads(birthmark("status", "--store", tmp_path / "runs", "--json")[1])
    assert (row["state"], row["epoch"]) == ("done", 3)


def test_settings_override_the_file(birthmark, spec_file, tmp_path):
    store = tmp_path / "runs"
    birthmark("run", spec_file, "--store", store, "--set", "training.lr=0.05")
    assert bm.open_store(store).runs()["training.lr"].tolist() == [0.05]


def test_sweep_runs_a_grid_and_skips_what_is_done(birthmark, tmp_path):
    grid = tmp_path / "grid.toml"
    tables = SPEC.replace("[", "[spec.", 1)
    tables = re.sub(r"^\[(?!spec)", "[spec.", tables, flags=re.MULTILINE)
    grid.write_text(tables + '[grid.product]\n"run.seed" = [1, 2]\n')
    for _ in range(2):
        status, out, err = birthmark("sweep", grid, "--store", tmp_path / "runs")
        assert status == 0
    assert "seed 1: was done" in err and "seed 2: was done" in err
    assert sorted(bm.open_store(tmp_path / "runs").runs()["run.seed"]) == [1, 2]


BAD_SETTINGS = [
    ("network.widths=[0]", "network.widths.0: .*got 0"),
    ("initialization.name=glorot_unifrom", "did you mean 'glorot_uniform'"),
    ("training.eps=0", "training.eps"),
    ("run.device=cuda:5", "device 'cuda:5' is not on this machine"),
    ("run.device=abacus", "device 'abacus' is not on this machine"),
    ("training.loss=hinge", "unknown loss 'hinge'"),
    ("data.name=minst", "did you mean 'mnist'"),
    ("training.lrr=1", "did you mean 'lr'"),
]


@pytest.mark.parametrize(("setting", "message"), BAD_SETTINGS)
def test_bad_settings_are_one_line_and_exit_2(
    birthmark, spec_file, tmp_path, setting, message
):
    store = tmp_path / "runs"
    status, out, err = birthmark("run", spec_file, "--store", store, "--set", setting)
    assert (status, out) == (2, "")
    assert re.search(message, err)
    assert err.count("\n") == 1
    assert not store.exists()


def test_a_typo_in_the_file_is_named_with_key_and_line(birthmark, spec_file, tmp_path):
    spec_file.write_text(SPEC.replace("epochs = 3", "epoch = 3"))
    status, _, err = birthmark("run", spec_file, "--store", tmp_path / "runs")
    assert status == 2
    assert f"{spec_file}, line 8: training.epoch: unknown key 'epoch'" in err
    assert err.count("\n") == 1


@pytest.fixture
def mnist_copy(real_data, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "mnist"
    shutil.copytree(real_data / "mnist", folder)
    for file in (folder, *folder.iterdir()):
        file.chmod(0o755)
    monkeypatch.setenv("BIRTHMARK_DATA", str(folder.parent))
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    return folder


def corrupt_gz(folder):
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5000] + b"garbage" * 1000)


def wrong_checksum(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    unpacked = bytearray(gzip.decompress(path.read_bytes()))
    unpacked[100] = (unpacked[100] + 1) % 10
    path.write_bytes(gzip.compress(bytes(unpacked)))


@pytest.mark.parametrize("harm", [corrupt_gz, wrong_checksum])
def test_damaged_data_are_one_line_and_leave_the_store_alone(
    birthmark, spec_file, mnist_copy, tmp_path, harm
):
    store = tmp_path / "runs"
    birthmark("run", spec_file, "--store", store)
    before = contents(store)
    harm(mnist_copy)
    status, _, err = birthmark(
        "run", spec_file, "--store", store, "--set", "data.name=mnist"
    )
    assert status == 2
    assert err.count("\n") == 1
    assert "mnist" in err
    assert contents(store) == before


def test_a_store_of_a_newer_version_is_refused_and_left_alone(
    birthmark, spec_file, tmp_path
):
    store = tmp_path / "runs"
    birthmark("run", spec_file, "--store", store)
    facts_file = store / "birthmark-store.json"
    facts = json.loads(facts_file.read_text())
    newer = {k: v + 1 if isinstance(v, int) else v for k, v in facts.items()}
    facts_file.write_text(json.dumps(newer))
    before = contents(store)
    for command in (
        ("run", spec_file, "--store", store, "--set", "run.seed=9"),
        ("status", "--store", store),
        ("report", store),
        ("figures", store),
    ):
        status, _, err = birthmark(*command)
        assert status == 2
        assert err.count("\n") == 1
    assert contents(store) == before


def test_folders_that_cannot_be_written_are_one_line_and_exit_2(
    birthmark, spec_file, tmp_path
):
    (tmp_path / "file").write_text("no folder")
    for store in (tmp_path / "file", tmp_path / "file" / "below"):
        status, _, err = birthmark("run", spec_file, "--store", store)
        assert status == 2
        assert err.count("\n") == 1
        assert str(store) in err
    status, _, err = birthmark("status", "--store", tmp_path / "nowhere")
    assert status == 2
    assert err.count("\n") == 1


def test_data_list_and_verify_speak_of_the_sets(birthmark, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BIRTHMARK_DATA", "")
    status, out, _ = birthmark("data", "list")
    assert status == 0
    for name in ("digits", "mnist", "fashion_mnist", "hasyv2"):
        assert name in out
    rows = json.loads(birthmark("data", "list", "--json")[1])
    assert {row["name"]: row["here"] for row in rows}["digits"] is True
    assert {row["name"]: row["here"] for row in rows}["mnist"] is False
    assert "1,437 training and 360 test" in birthmark("data", "verify", "digits")[1]
    status, _, err = birthmark("data", "verify", "mnist")
    assert status == 2
    assert "birthmark data import mnist PATH" in err
    assert err.count("\n") == 1


def test_data_import_takes_files_and_refuses_others(
    birthmark, mnist_copy, tmp_path, monkeypatch
):
    monkeypatch.setenv("BIRTHMARK_DATA", "")
    assert birthmark("data", "import", "mnist", mnist_copy)[0] == 0
    status, out, _ = birthmark("data", "verify", "mnist")
    assert (status, "60,000 training" in out) == (0, True)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 not all of it")
    status, _, err = birthmark("data", "import", "hasyv2", tmp_path / "cut.npz")
    assert status == 2
    assert err.count("\n") == 1


def test_every_command_has_an_example_in_its_help(birthmark):
    _, listed = birthmark("--help")[1].split("Commands:\n")
    commands = re.findall(r"^  (\w+) ", listed, flags=re.MULTILINE)
    assert {"run", "sweep", "status", "figures", "report", "data", "reproduce"} <= set(
        commands
    )
    for command in commands:
        if command != "data":
            assert "Example:" in birthmark(command, "--help")[1]
    for command in ("list", "fetch", "import", "verify"):
        assert "Example:" in birthmark("data", command, "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [(["--help"], ["typer"]), (["--version"], []), (["status"], [])],
)
def test_lists_answer_at_once_since_they_load_little(arguments, loaded, tmp_path):
    bm.open_store(tmp_path / "runs", create=True)
    program = (
        "import sys\nfrom birthmark import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'xarray', 'matplotlib', 'scipy', 'sklearn', 'pandas'}\n"
        "heavy |= {'numpy', 'pyarrow', 'pydantic', 'typer', 'rich'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr.split() == loaded


def test_ctrl_c_saves_and_says_how_to_go_on(spec_file, tmp_path):
    store = tmp_path / "runs"
    arguments = ["run", str(spec_file), "--store", str(store)]
    arguments += ["--set", "training.epochs=3000"]
    program = "from birthmark.cli import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, text=True
    )
    spec = RunSpec.from_toml(spec_file, {"training.epochs": 3000})
    deadline = time.monotonic() + 60
    while not (store / spec.run_key / "manifest.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(2)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"To go on: birthmark {' '.join(arguments)}" in err
    [row] = bm.open_store(store).runs().to_dict("records")
    assert row["state"] == "stopped"
    assert 0 <= row["epoch"] < 3000


def test_progress_shows_epoch_losses_speed_and_time_left(tmp_path, monkeypatch):
    from io import StringIO

    from rich.console import Console

    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=160)
    monkeypatch.setattr("birthmark.cli.progress.Console", lambda **_: console)
    spec = RunSpec(data={"name": "digits"}, network={"widths": [8]}).with_settings(
        {"training.epochs": 30, "run.replicas": 1, "record.epochs": []}
    )
    with Display(1, quiet=False) as display:
        result = bm.run(spec, tmp_path, watch=display.show)
        display.finish(result)
    shown = screen.getvalue()
    for word in ("epoch 30/30", "train 0.", "test 0.", "examples/s", "0 s left"):
        assert word in shown
    assert "done in" in shown


def test_ship_copies_what_is_done_compactly(birthmark, spec_file, tmp_path):
    birthmark("run", spec_file, "--store", tmp_path / "runs")
    out = tmp_path / "shipped"
    status, said, _ = birthmark("ship", tmp_path / "runs", "--out", out, "--picture", 1)
    [key] = bm.open_store(out).runs()["run_key"]
    assert (status, said.split(":")[0]) == (0, str(out / key))
    assert bm.open_store(out).weights_epochs(key) == [1]
    assert birthmark("figures", out)[0] == 0
    status, _, err = birthmark("ship", tmp_path / "runs", "--out", out, "--run", "no")
    assert (status, err.count("\n")) == (2, 1)


def test_status_shows_what_runs_of_ones_own_have(tmp_path, capsys):
    model = torch.nn.Linear(3, 2)
    tracker = bm.Tracker(model, store=tmp_path, name="mine", fields={"warmup": 20})
    tracker.step()
    tracker.finish()
    print_runs(open_store(tmp_path).runs().to_dict("records"))
    header, row, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "state", "name", "replica", "step", "warmup"]
    assert row.split()[1:] == ["done", "mine", "0", "1", "20"]


def test_status_shows_the_fields_in_which_runs_differ(tmp_path, capsys):
    spec = RunSpec(data={"name": "digits"})
    for seed in range(2):
        one = spec.with_settings({"run.seed": seed, "record.weights": [seed]})
        open_store(tmp_path, create=True).start_run(one).close()
    print_runs(open_store(tmp_path).runs().to_dict("records"))
    header, *rows = capsys.readouterr().out.splitlines()
    fields = ["data", "widths", "loss", "lr", "replicas", "seed", "of"]
    assert header.split() == ["run", "state", *fields]
    assert {row.split()[-2] for row in rows} == {"0", "1"}


def test_commands_that_read_a_store_take_its_folder_in_one_way(birthmark, tmp_path):
    open_store(tmp_path / "runs", create=True)
    for command in ("status --json", "verify", "repair"):
        alike = birthmark(*command.split(), tmp_path / "runs")
        assert alike[0] == 0
        assert birthmark(*command.split(), "--store", tmp_path / "runs") == alike
    for command in ("figures", "report", "export", "serve", "phase -x lr -y width"):
        options, file = command.split(), ["a.csv"] if command == "export" else []
        alike = birthmark(*options, tmp_path / "none", *file)
        assert alike[0] == 2 and "none does not exist" in alike[2]
        assert birthmark(*options, *file, "--store", tmp_path / "none") == alike
    status, _, error = birthmark("verify", tmp_path, "--store", tmp_path / "runs")
    assert status == 2 and "two stores" in error


def test_work_in_a_pipe_says_now_and_then_that_it_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "EVERY_S", 0.01)
    with waiting.announced("Drawing"):
        time.sleep(0.2)
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "Drawing ..."
    assert second == "Drawing ... 0 s so far"


def start_a_huge_thread():
    threading.stack_size(2**46)
    try:
        threading.Thread(target=print).start()
    finally:
        threading.stack_size(0)


def open_one_too_many():
    resource = pytest.importorskip("resource")  # Windows has none
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        os.pipe()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fork_one_too_many():
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: np.empty(10**15), "not enough memory is free"),
        (lambda: torch.empty(10**15), "not enough memory is free"),
        (start_a_huge_thread, "starts no more threads"),
        (fork_one_too_many, "starts no more threads or processes"),
        (open_one_too_many, "no more files can be opened at once"),
    ],
)
def test_what_a_machine_has_too_little_of_is_said_in_one_line(
    birthmark, monkeypatch, ask, says
):
    monkeypatch.setattr("birthmark.cli.lists.print_experiments", ask)
    status, out, err = birthmark("experiment")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
