"""Tensors that are no weights, and archives that lie, as an initial configuration."""

import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from attacks.draws import Try, harm
from birthmark.network import draw

SHAPE = 6, 4  # [O, I]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
ODD = [torch.complex64, torch.bool, torch.int8, torch.int64]


def _odd(draw: random.Random) -> torch.Tensor:
    """Of any dtype and shape, perhaps with a number that is none."""
    shape = draw.choice(
        [SHAPE, SHAPE, SHAPE, SHAPE[::-1], (), (0,), (2, *SHAPE), (24,)]
    )
    values = torch.tensor(
        np.random.default_rng(draw.randrange(2**32)).normal(size=shape)
    )
    tensor = (values * 10).to(draw.choice(DTYPES + ODD))
    if tensor.numel() and tensor.is_floating_point() and draw.random() < 0.3:
        tensor.view(-1)[0] = draw.choice([float("nan"), float("inf")])
    kind = draw.random()
    if kind < 0.1:
        return tensor.to("meta")
    return tensor.to_sparse() if kind < 0.2 else tensor


def _write(path: Path, tensor: torch.Tensor, draw: random.Random) -> None:
    if path.suffix == ".pt":
        torch.save({"a.weight": tensor, 1: tensor}, path)
    elif path.suffix == ".safetensors":
        save_file({"a.weight": tensor.to_dense().contiguous()}, path)
    else:
        save = draw.choice([np.savez, np.savez_compressed])
        save(path, **{"a.weight": tensor.to_dense().numpy()})


def _lie(path: Path, draw: random.Random) -> None:
    """Let the file state another size: of its header, of an entry, of an array."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".safetensors":
        content[:8] = struct.pack("<Q", draw.choice([0, 7, 2**32, 2**60, 2**64 - 1]))
    else:
        with zipfile.ZipFile(path) as archive:
            at = archive.start_dir
        field = draw.choice([20, 24, 42])  # packed size, size, where it begins
        value = draw.choice([0, 1, 2**31, 2**32 - 2])
        content[at + field : at + field + 4] = struct.pack("<I", value)
    path.write_bytes(content)


def initializations(draw_: random.Random, folder: Path) -> Iterator[Try]:
    """An odd tensor in three formats, or a lying archive, as initial configuration."""

    def attempt() -> bool:
        path = folder / f"a{draw_.choice(['.pt', '.npz', '.safetensors'])}"
        tensor = _odd(draw_)
        try:
            _write(path, tensor, draw_)
        except (NotImplementedError, TypeError, RuntimeError):
            return True  # the format has no such tensor
        is_whole = draw_.random() < 0.5
        if not is_whole and draw_.random() < 0.5:
            _lie(path, draw_)
        elif not is_whole:
            path.write_bytes(harm(path.read_bytes(), draw_))
        rule = {"name": "checkpoint", "file": str(path)}
        found = draw(rule, SHAPE[::-1], tensor="a.w")
        expected = tensor.to_dense().double().float()  # as `draw` gives it
        expected = expected[0] if expected.ndim == 3 else expected
        # safetensors and torch's files say what they hold, flipped bits too
        same = np.array_equal(found, expected.T.numpy()) or not is_whole
        return same and bool(np.isfinite(found).all()) and found.shape == SHAPE[::-1]

    while True:
        yield attempt
