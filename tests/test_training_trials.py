"""What is tried on the processor at first use: real trials, kept, and worth no bit."""

import json
import time

import pytest
import torch

from birthmark.sweeps.provenance import describe_origin
from birthmark.training import Training, trials
from birthmark.training.compiled.library import load_library
from birthmark.training.compiled.tuning import Tuning
from birthmark.training.trials import time_ways, weigh_precision
from test_training_compiled import random_dataset, threads
from test_training_equality import make_spec


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A user's cache that has seen no processor; the C was compiled before."""
    if load_library("float32") is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "birthmark" / "trials"


@pytest.fixture(scope="module")
def wide():
    """Three replicas that see the same batches, large enough to be worth a trial."""
    spec = make_spec("cross_entropy", replicas=3, batch_size=64, batch_order="shared")
    settings = {"run.dtype": "float32", "network.widths": [240, 300]}
    return spec.with_settings(settings), random_dataset(300, 10, num_train=64)


def begin(wide):
    return Training.from_spec(*wide, path="compiled", num_parts=1)


def test_the_first_use_tries_within_two_seconds_and_the_next_takes_what_it_found(
    wide, cache
):
    started = time.process_time()
    first = begin(wide)
    assert time.process_time() - started < 2
    (kept,) = cache.glob("compiled-*")
    chosen = json.loads(kept.read_text())
    assert first.tuning == {"precision_gain": 1.0, **chosen}
    origin = describe_origin(first, wide[1])
    assert origin["tuning"] == first.tuning
    other = {"often": 8 - chosen["often"], "cuts": False, "joins": not chosen["joins"]}
    kept.write_text(json.dumps(other))  # as if another had been quicker there
    assert begin(wide).tuning.items() >= other.items()
    kept.write_text("neither")
    again = begin(wide).tuning
    assert again.items() >= json.loads(kept.read_text()).items()


def test_no_bit_depends_on_what_is_chosen(wide, cache):
    def train(tuning):
        training = begin(wide)
        path = training._path
        path.tuning = tuning
        path._program.take(tuning)
        training.run_epoch()
        training.run_epoch()
        return training.weights

    with threads(2):
        ways = (8, True, True), (8, False, False), (1, True, False), (0, False, True)
        first, *others = [train(Tuning(*way)) for way in ways]
    for other in others:
        for name, layer in first.items():
            torch.testing.assert_close(other[name].w, layer.w, rtol=0, atol=0)
            torch.testing.assert_close(other[name].b, layer.b, rtol=0, atol=0)


def test_float32_is_found_quicker_than_float64_and_what_gains_nothing_is_said(
    wide, cache, caplog, monkeypatch
):
    spec, data = wide
    both = {
        dtype: spec.with_settings({"run.dtype": dtype})
        for dtype in ("float64", "float32")
    }
    found = {
        dtype: Training.from_spec(one, data, path="fast") for dtype, one in both.items()
    }
    examples = found["float32"].train_examples
    seconds = {
        dtype: min(
            time_ways({dtype: (one._path, "highest")}, spec, one.train_examples)[dtype]
            for _ in range(3)
        )
        for dtype, one in found.items()
    }
    assert seconds["float32"] < seconds["float64"]
    # bf16 where it cannot be told from float32: the same path twice, and no gain
    monkeypatch.setattr(trials, "choose_path", lambda *_: found["float32"]._path)
    rounded = spec.with_settings({"run.precision": "bf16"})
    weights = found["float32"].initial
    gain = weigh_precision(rounded, weights, "cpu", examples)
    (kept,) = cache.glob("precision-*")
    assert kept.read_text() == f"{gain:.3f}"
    kept.write_text("0.780")
    assert weigh_precision(rounded, weights, "cpu", examples) == 0.78
    assert caplog.messages[-1].count("\n") == 0
    assert "0.78 times as quick as those of 'full'" in caplog.messages[-1]
    kept.write_text("1.620")
    caplog.clear()
    assert weigh_precision(rounded, weights, "cpu", examples) == 1.62
    assert not caplog.messages
    assert weigh_precision(spec, weights, "cpu", examples) == 1
