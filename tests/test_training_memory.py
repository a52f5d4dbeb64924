"""Memory known before a run, and stacks that are split to fit."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import birthmark as bm
from birthmark.cli import main
from birthmark.errors import HardwareError
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import folder
from birthmark.sweeps import pipeline
from birthmark.training import Training, available_memory, choose_num_parts, memory
from birthmark.training.examples import Examples
from doors import put
from test_training_equality import digits, make_spec

TOLERANCE = 0.1  # of the peak that is measured


def stack(replicas=7, activation="tanh", **training):
    """A spec for a path of torch: relu and plain SGD are for the compiled one."""
    return make_spec(activation=activation, replicas=replicas, **training)


def needed(spec, num_parts):
    return bm.estimate_memory(spec, num_parts=num_parts).total


def train(spec, num_parts, num_epochs=2):
    training = Training.from_spec(spec, digits(), num_parts=num_parts)
    metrics = [training.run_epoch() for _ in range(num_epochs)]
    return training, metrics


def assert_same(one, other):
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_parts", [2, 3, 7])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_order": "shared"},
        {"momentum": 0.9, "lr": 0.01},
        {"optimizer": "adam", "lr": 0.01},
    ],
    ids=["fast", "shared order", "momentum", "adam"],
)
def test_a_split_stack_is_the_stack(settings, num_parts):
    spec = stack(**settings).with_settings({"run.dtype": "float64"})
    whole, whole_metrics = train(spec, 1)
    split, split_metrics = train(spec, num_parts)
    assert split.num_parts == num_parts and split.path_name == whole.path_name
    assert_same(whole.state_dict()[0], split.state_dict()[0])
    for one, other in zip(whole_metrics, split_metrics, strict=True):
        assert_same(vars(one), vars(other))


def test_a_part_that_fails_does_not_disturb_the_others():
    spec = stack(replicas=4).with_settings({"run.dtype": "float64"})
    trainings = [
        Training.from_spec(spec, digits(), num_parts=parts) for parts in (1, 2)
    ]
    for training in trainings:
        put(training, "hidden1.w", slice(2), torch.nan)
        training.run_epoch()
    whole, split = (training.state_dict()[0] for training in trainings)
    assert (split["nonfinite_step"] == [0, 0, -1, -1]).all()
    assert_same(whole, split)


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adam"}], ids=["sgd", "adam"])
def test_a_split_stack_goes_on_where_it_was_stopped(settings):
    spec = stack(**settings)
    through, _ = train(spec, 3)
    stopped = Training.from_spec(spec, digits(), num_parts=3)
    stopped.run_epoch()
    stopped.advance(2)
    resumed = Training.from_spec(spec, digits(), num_parts=3)
    resumed.load_state_dict(*stopped.state_dict())
    resumed.run_epoch()
    for name, value in through.state_dict()[0].items():
        assert (resumed.state_dict()[0][name] == value).all(), name


def test_adam_counts_its_steps_on_when_a_whole_part_has_failed():
    spec = stack(replicas=2, optimizer="adam", lr=0.01)
    training = Training.from_spec(spec, digits(), num_parts=2)
    put(training, "output.b", 0, torch.inf)
    training.advance(4)
    assert training.state_dict()[0]["optimizer.steps"] == 4


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.5}], ids=["fast", "general"])
def test_as_few_parts_as_fit_are_taken(settings):
    spec = stack(replicas=8, batch_size=512, **settings).with_settings(
        {"run.replicas": 1000}
    )
    amounts = {parts: needed(spec, parts) for parts in (1, 2, 4, 8, 1000)}
    assert sorted(amounts.values(), reverse=True) == list(amounts.values())
    for parts in (1, 2, 4, 8):
        assert choose_num_parts(spec, available=amounts[parts]) == parts
    assert choose_num_parts(spec, available=amounts[4] - 1) == 8
    with pytest.raises(HardwareError, match=r"needs about .* GB .* fewer replicas"):
        choose_num_parts(spec, available=amounts[1000] - 1)


def test_the_engine_splits_a_stack_when_memory_is_short(monkeypatch):
    spec = stack(replicas=6, batch_size=64)
    room = bm.estimate_memory(spec, dataset=digits(), num_parts=2).total
    assert room < bm.estimate_memory(spec, dataset=digits()).total
    monkeypatch.setattr(
        "birthmark.training.memory.available_memory", lambda device: room
    )
    assert Training.from_spec(spec, digits()).num_parts == 2


def test_the_compiled_path_is_never_split():
    spec = make_spec(activation="relu")
    if Training.from_spec(spec, digits()).path_name != "compiled":
        pytest.skip("there is no C compiler")
    assert needed(spec, 1) == needed(spec, 3)
    with pytest.raises(HardwareError):
        choose_num_parts(spec, available=needed(spec, 1) - 1)


def test_a_run_that_cannot_fit_is_refused_before_anything_is_written(tmp_path):
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [30_000, 30_000]},
        run={"replicas": 1000, "device": "cpu"},
    )
    for refuse in (
        lambda: bm.run(spec, tmp_path / "runs"),
        lambda: bm.run_grid([spec], tmp_path / "runs"),
        lambda: next(bm.train(spec)),
    ):
        with pytest.raises(HardwareError, match="fewer replicas"):
            refuse()
    assert not (tmp_path / "runs" / spec.run_key).exists()


def test_the_command_line_says_how_much_memory_it_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def command(*options):
        monkeypatch.setattr(sys, "argv", ["birthmark", "run", "run.toml", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    (tmp_path / "run.toml").write_text(
        'data = {name = "digits"}\nnetwork = {widths = [4]}\n'
        'training = {epochs = 1}\nrun = {replicas = 2, device = "cpu"}\n'
    )
    status, said = command()
    about = 0.7 if torch.version.cuda else 0.4  # one built for CUDA takes more
    assert status == 0, said
    assert f"This run needs about {about} GB of memory." in said, said
    status, said = command()
    assert (status, "memory" in said) == (0, False), said
    status, said = command("--set", "run.replicas=100000000")
    assert status == 2
    assert said.count("\n") == 1 and "of memory, and" in said


def test_available_memory_is_between_what_is_held_and_what_the_machine_has():
    if sys.platform != "linux":
        pytest.skip("read from /proc")
    room = available_memory("cpu")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 50e6 < room <= pages


def test_the_data_set_is_not_copied_on_a_cpu():
    x, y = np.ones((5, 4), np.uint8), np.arange(5)
    x.flags.writeable = y.flags.writeable = False
    dataset = Dataset("digits", x, y, x, y, 5, (2, 2), 16)
    examples = Examples(dataset, x, y, dtype=torch.float32, device="cpu")
    assert examples.pixels_NI.data_ptr() == x.ctypes.data
    assert examples.classes_N.data_ptr() == y.ctypes.data


RUN = """
from pathlib import Path
import birthmark as bm

spec = bm.RunSpec.from_toml("run.toml")
bm.run(spec, "store")
# not ru_maxrss: a child begins with that of the process it was started from
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(l.split()[1]) for l in lines if l.startswith("VmHWM")) * 1024)
print(bm.estimate_memory(spec).total)
"""


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    ("network", "training", "replicas"),
    [
        ("widths = [16]", "", 2),
        slow("widths = [900, 900]", "batch_size = 512", 12),
        slow('widths = [20, 20]\nactivation = "tanh"', "batch_size = 512", 600),
        ("widths = [600, 600]", 'optimizer = "adam"\nbatch_size = 512', 8),
        slow("widths = [100, 100]", "epochs = 60", 10),
    ],
    ids=["small", "wide", "many", "adam", "recorded often"],
)
def test_the_estimate_is_near_the_peak_of_a_run(tmp_path, network, training, replicas):
    epochs = "" if "epochs" in training else "epochs = 1\n"
    (tmp_path / "run.toml").write_text(
        f'data.name = "digits"\n[network]\n{network}\n[training]\n{training}\n'
        f'{epochs}[run]\nreplicas = {replicas}\ndevice = "cpu"\n'
    )
    done = run_command([sys.executable, "-c", textwrap.dedent(RUN)], tmp_path)
    assert done.returncode == 0, done.stderr
    peak, estimate = map(float, done.stdout.split())
    assert abs(estimate / peak - 1) < TOLERANCE, (estimate / 1e6, peak / 1e6)


def test_what_waits_is_what_store_and_sweeps_let_wait():
    assert memory.MOST_WAITING == folder.MOST_WAITING
    assert memory.WRITTEN_EVERY == pipeline.CHECKPOINT_SECONDS


def run_command(command, folder):
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
