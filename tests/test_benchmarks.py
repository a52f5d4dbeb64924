"""The scripts in benchmarks/ run, count what they say, and compare like with like."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bench_limits  # noqa: E402
import bench_measuring  # noqa: E402
import bench_training  # noqa: E402
import bench_widths  # noqa: E402
from throughput import case as case_module  # noqa: E402
from throughput import check, rates, rounds, table, trainer  # noqa: E402
from throughput.case import Case  # noqa: E402
from throughput.ours import draw_start  # noqa: E402
from throughput.torch_loops import TunedLoop  # noqa: E402

from birthmark.spec import RunSpec  # noqa: E402
from birthmark.training import Training  # noqa: E402
from birthmark.training.compiled.tuning import Tuning  # noqa: E402


def run_script(script: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *options],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """A trainer sets torch for its whole process, which here has other tests."""
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.set_num_threads(before[1])


@pytest.mark.parametrize(
    "script", sorted(BENCHMARKS.glob("bench_*.py")), ids=lambda path: path.stem
)
def test_every_script_says_its_options(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script), run_name="__main__")
    assert "usage" in capsys.readouterr().out


SMALL = {
    "bench_general": "--rounds 1 --steps 1",
    "bench_growth": "--axes width",
    "bench_index": "--runs 200 --times 1",
    "bench_limits": "--rounds 1",
    "bench_measuring": "--widths 8 --replicas 2 --rounds 1 --steps 2",
    "bench_memory": "--widths 8",
    "bench_start": "-n 1",
    "bench_sweep": "--runs 2 --epochs 1 --width 8 --replicas 2 --examples 2",
    "bench_tracker": "--vocabulary 99 --width 16 --layers 1 --length 8 --rounds 1",
    "bench_widths": "--widths 8 16 8 --rounds 1",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_small_work_of_a_script_is_done(name):
    done = run_script(BENCHMARKS / f"{name}.py", *SMALL[name].split())
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_width_is_timed():
    assert bench_widths.time_width(8, bench_widths.make_dataset(4), "compiled") > 0


def test_what_limits_a_step_is_the_c_of_the_engine(tmp_path):
    products = bench_limits.Products(str(tmp_path))
    assert products.time_tile() > 0
    products.of_step(16, Tuning())()


def test_every_part_of_a_recorded_step_is_measured():
    spec = RunSpec(
        data={"name": "hasyv2"},
        network={"widths": [3]},
        run={"replicas": 2, "device": "cpu"},
    )
    training = Training.from_spec(spec, bench_widths.make_dataset(2))
    training.advance(1)
    for measure_part in bench_measuring.list_parts(training).values():
        measure_part()


@pytest.mark.slow
def test_the_smallest_benchmark_checks_times_and_writes_its_page(tmp_path):
    out = tmp_path / "page.md"
    done = run_script(
        BENCHMARKS / "bench_training.py",
        *("--widths", "10", "--rounds", "1", "--steps", "2", "--threads", "1"),
        *("--peers", "torch stack of 4", "--check", "--out", str(out)),
    )
    assert done.returncode == 0, done.stderr
    assert "hasyv2 100: torch stack of 4 agrees" in done.stdout
    page = out.read_text()
    assert "| hasyv2 10 | " in page
    assert "Everybody has 1 threads" in page
    assert f"torch {torch.__version__}" in page


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--widths", "0"], "--widths must be at least 1"),
        (["--rounds", "0"], "must be at least 1"),
        (["--peers", "nobody"], "invalid choice"),
        (["--out", "nowhere/page.md"], "there is no folder nowhere"),
    ],
)
def test_bad_options_are_refused(options, complaint, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_training.py", *options])
    with pytest.raises(SystemExit, match="2"):
        bench_training.parse_arguments()
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("shape, width", [("hasyv2", 10), ("mnist", 50)])
def test_operations_of_a_step_are_those_that_torch_counts(shape, width):
    case = Case(shape, width, 1, 1)
    loop = TunedLoop(case, *case.draw_pixels(), draw_start(case, 0).layers, 1)
    with FlopCounterMode(display=False) as counter:
        loop.train(1)
    assert counter.get_total_flops() == case.operations


def test_a_trainer_of_another_learning_rate_is_found_out(monkeypatch):
    case = Case("hasyv2", 10, 2, 1)
    start = draw_start(case, check.EPOCHS).part(0, 1)

    def train(lr):
        monkeypatch.setattr("throughput.torch_loops.LR", lr)
        pixels = case.draw_pixels()
        loop = TunedLoop(case, *pixels, [(w, b) for w, b in start.layers], 1)
        metrics = [loop.train(3, order_RN) for order_RN in start.orders_ERN]
        return [{"loss": m[0].tolist(), "accuracy": m[1].tolist()} for m in metrics]

    expected = train(case_module.LR)
    assert check.compare("same", case, train(case_module.LR), [expected]) == 0
    with pytest.raises(RuntimeError, match="trains another network than plain torch"):
        check.compare("other", case, train(case_module.LR * 1.03), [expected])


def test_a_share_is_of_the_rate_of_the_same_round_and_the_best_is_float32():
    machine = {
        "rates": {"torch default": 100e9, "torch medium": 900e9, "NumPy": 200e9},
        # what "medium" gives on a processor that multiplies in bfloat16
        "errors": {"torch default": 3e-7, "torch medium": 2e-3, "NumPy": 3e-7},
        "bandwidth": 50e9,
    }
    case = Case("mnist", 100, 16)
    milliseconds = case.operations / 100e9 * 1e3  # as quick as the default product
    timings = rounds.Timings(
        case,
        {"birthmark": [milliseconds], "torch tuned": [3 * milliseconds]},
        [machine],
    )
    assert timings.shares("birthmark", best=False) == pytest.approx([1])
    assert timings.shares("birthmark", best=True) == pytest.approx([0.5])
    assert timings.ratios("torch tuned") == pytest.approx([3])
    assert table.write_row(timings)[2:4] == ["100%", "50%"]


def test_rates_are_measured_in_float32(monkeypatch):
    monkeypatch.setattr(rates, "SIZE", 128)
    monkeypatch.setattr(rates, "COPIED", 2**16)
    measured = rates.measure_rates()
    assert measured["errors"]["torch default"] < rates.FLOAT32_ERROR
    assert min(measured["rates"].values()) > 0 < measured["bandwidth"]


def test_every_trainer_is_named_with_its_way_and_its_package():
    for name, entry in trainer.ENTRIES.items():
        module = BENCHMARKS / "throughput" / f"{entry.source.partition(':')[0]}.py"
        assert f"class {entry.source.partition(':')[2]}" in module.read_text(), name
        assert entry.about and entry.packages
