"""The committed steps in real Keras agree with closed forms; the table says them."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
[STEPS] = BENCHMARKS.glob("results/*-keras-steps.jsonl")
LINES = [json.loads(line) for line in STEPS.read_text().splitlines()]


def load_script():
    spec = importlib.util.spec_from_file_location(
        "study_keras", BENCHMARKS / "study_keras.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def step_in_torch(clips: bool) -> tuple[float, np.ndarray]:
    """Loss, and the move of the biases, from autograd."""
    b = torch.tensor([0.0, 0.0, -25.0], dtype=torch.float64, requires_grad=True)
    p = torch.softmax(b, dim=0)[2]
    loss = -torch.log(p.clamp(1e-7, 1 - 1e-7) if clips else p)
    loss.backward()
    return float(loss.detach()), -0.1 * b.grad.numpy()


@pytest.mark.parametrize(
    "line", LINES, ids=lambda one: f"{one['keras']}-{one['backend']}"
)
def test_a_step_is_that_of_the_clip_or_that_of_the_logits(line):
    # TensorFlow's backend finds the logits behind a softmax; the others clip
    clips = not line["from_logits"] and line["backend"] != "tensorflow"
    loss, moved = step_in_torch(clips)
    assert line["loss"] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(line["moved"], moved, atol=1e-5)
    if clips:
        assert line["moved"] == [0, 0, 0]
        assert loss == pytest.approx(-math.log(1e-7))
    else:
        assert loss == pytest.approx(math.log(2 + math.exp(-25)) + 25)


def test_the_table_has_each_version_and_backend_once_and_is_the_committed_one():
    table = load_script().tabulate(LINES)
    rows = table.splitlines()[2:]
    pairs = {(one["keras"], one["backend"]) for one in LINES}
    assert len(rows) == len(pairs) == len(LINES) / 2
    assert sum(row.endswith("| yes |") for row in rows) == 12
    [page] = BENCHMARKS.glob("results/*-keras.md")
    assert table in page.read_text()
