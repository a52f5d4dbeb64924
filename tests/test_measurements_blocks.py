"""Blocks and pieces of replicas: the same numbers, in little memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from birthmark.measurements import blocks, extend_path, measure
from birthmark.shapes import Layer, Weights
from weight_stacks import draw_stack, move, one_layer

SIZES = {"hidden1": (300, 250), "output": (250, 30)}


@pytest.mark.parametrize("threads", [1, 2])
def test_replicas_measured_together_are_those_measured_one_by_one(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        w0 = draw_stack(1, dtype=torch.float32, replicas=4, sizes=SIZES)
        w = move(w0, 2)
        found = measure(w0, w, path=extend_path({}, w0, w))
        np.testing.assert_array_equal(found.path_length, found.distance)
        bounds = {
            name: (found.bound[i].item(), found.bias_bound[i].item())
            for i, name in enumerate(w0)
        }
        for replica in range(4):
            alone = measure(only(w0, replica), only(w, replica), bounds=bounds)
            for name, variable in found.items():
                if "replica" in variable.dims:
                    np.testing.assert_allclose(
                        variable[replica], alone[name][0], rtol=1e-10, err_msg=name
                    )
    finally:
        torch.set_num_threads(before)


def only(weights, replica):
    return Weights(
        {
            name: Layer(layer.w[[replica]], layer.b[[replica]])
            for name, layer in weights.items()
        }
    )


def test_sums_over_pieces_of_rows_are_sums_over_rows(monkeypatch):
    monkeypatch.setattr(blocks, "VALUES_IN_PIECE", 7)
    rng = np.random.default_rng(0)
    w0, w = rng.normal(size=(2, 3, 10, 5))
    w[1, 2, 3] = np.nan
    found = measure(one_layer(w0), one_layer(w))
    monkeypatch.undo()
    expected = measure(one_layer(w0), one_layer(w))
    for name, variable in expected.items():
        np.testing.assert_allclose(found[name], variable, rtol=1e-11, atol=1e-14)


WIDE = """
from pathlib import Path
import torch
from birthmark.measurements import extend_path, measure
from birthmark.shapes import Layer, Weights

def draw(width):
    sizes = {"1": (1024, width), "2": (width, width), "3": (width, 369)}
    layers = {n: (torch.randn(3, *size), torch.zeros(3, size[1])) for n, size in
              sizes.items()}
    return Weights({n: Layer(w, b) for n, (w, b) in layers.items()})

def peak():  # not ru_maxrss, which begins with that of the parent
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) for l in lines if l.startswith("VmHWM")) / 1024

small, wide = (draw(3), draw(3)), (draw(1000), draw(1000))
measure(*small)
before = peak()
for _ in range(2):
    measure(*wide, path=extend_path({}, *wide))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.slow
def test_measuring_width_1000_needs_less_than_400_mb_beside_the_weights():
    done = subprocess.run(
        [sys.executable, "-c", WIDE], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 400
