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


def name_of(number, renamed):
    return f"model.block{number}.w" if renamed else f"layers.{number}.weight"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Fourteen matrices of bfloat16 before and after a move, in three dresses."""
    folder = tmp_path_factory.mktemp("large")
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(8192, 8192, generator=generator)
    after = before + 0.1 * torch.randn(before.shape, generator=generator)
    before, after = before.bfloat16(), after.bfloat16()

    def rolled(matrix, renamed=False):
        # other matrices, drawn once: each has its numbers in other places
        return {name_of(i, renamed): matrix.roll(97 * i, 1) for i in range(14)}

    save_file(rolled(before), folder / "a.safetensors")
    save_file(rolled(after), folder / "b.safetensors")
    torch.save(rolled(after, renamed=True), folder / "renamed.pt")
    yield folder
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("last", ["b.safetensors", "renamed.pt"])
def test_two_gigabytes_are_compared_in_300_megabytes(files, last):
    assert (files / last).stat().st_size > 1.8e9
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-c", program, files / "a.safetensors", files / last],
        capture_output=True,
        text=True,
        check=True,
    )
    kind, num_bytes, seconds, peak = done.stdout.split()
    print(f"{int(num_bytes) / 1e9 / float(seconds):.2f} GB/s, {peak} MB")
    assert kind == "trained"
    assert int(num_bytes) == 2 * 14 * 8192**2 * 2
    assert float(peak) < 300
