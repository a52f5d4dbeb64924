"""Checkpoints of two gigabytes, in memory that does not grow with them."""

import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import save_file

PROGRAM = """
    import sys, threading, time
    import birthmark as bm

    def anonymous():
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024

    peak = [0.0]

    def watch():
        while True:
            peak[0] = max(peak[0], anonymous())
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    found = bm.diff(*sys.argv[1:])
    print(found.verdict.kind, found.num_bytes, found.seconds, peak[0])
"""


def write(path, *, moved, renamed=False, blocks=14, width=8192):
    """Fourteen matrices of bfloat16, drawn one at a time, in one file and in shards."""
    tensors = {}
    for i in range(blocks):
        base = torch.randn(width, width, generator=torch.Generator().manual_seed(i))
        if moved:
            base += 0.1 * torch.randn(base.shape)
        name = f"model.block{i}.w" if renamed else f"layers.{i}.weight"
        tensors[name] = base.to(torch.bfloat16)
    if path.suffix == ".pt":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "renamed"), [("b.safetensors", False), ("b.pt", False), ("b.pt", True)]
)
def test_two_gigabytes_are_compared_in_300_megabytes(tmp_path, last, renamed):
    first = write(tmp_path / "a.safetensors", moved=False)
    second = write(tmp_path / last, moved=True, renamed=renamed)
    assert second.stat().st_size > 1.8e9
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-c", program, first, second],
        capture_output=True,
        text=True,
        check=True,
    )
    kind, num_bytes, seconds, peak = done.stdout.split()
    print(f"{int(num_bytes) / 1e9 / float(seconds):.2f} GB/s, {peak} MB")
    assert kind == "trained"
    assert int(num_bytes) == pytest.approx(2 * 14 * 8192**2 * 2)
    assert float(peak) < 300
