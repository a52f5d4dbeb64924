"""Fingerprints: what tells two configurations of weights apart, to the last bit."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from birthmark.measurements.parameters import Source, to_parameters
from birthmark.measurements.shards import merge_texts

_PIECE = 2**22  # numbers that come to the host at a time


def fingerprint(source: Source | Tensor) -> str:
    """SHA-256 of dtype, shape and bytes, 64 hexadecimal digits.

    Of a tensor by itself, its name left out, so that a renamed one is found again; of
    anything else that `to_parameters` takes over all names with their tensors, in the
    order of the names. A single model and a stack of one have the same. Of sharded
    tensors it is over all shards, so it depends on how they are split as well.
    """
    if isinstance(source, Tensor):
        return _hash_tensor(source)
    total = hashlib.sha256()
    parameters = to_parameters(source)
    for name, one in sorted(parameters.items()):
        for values in one.values:
            total.update(f"{name} {_hash_tensor(values)}\n".encode())
    shards = [one.shard for one in parameters.values() if one.shard is not None]
    return merge_texts(shards, total.hexdigest())


def _hash_tensor(tensor: Tensor) -> str:
    found = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)} ".encode())
    flat = tensor.detach().contiguous().flatten()
    for piece in torch.split(flat, _PIECE):
        # 8 bits wide: NumPy knows neither bfloat16 nor the small floats
        found.update(piece.cpu().view(torch.uint8).numpy().data)
    return found.hexdigest()
