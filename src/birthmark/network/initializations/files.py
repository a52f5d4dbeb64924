"""Tensors from files of something trained: safetensors, torch's state_dict, npz."""

import hashlib
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch

from birthmark.errors import SpecError
from birthmark.foreign_files import parse_npy, read_entry
from birthmark.network.initializations.target import Target, from_layout
from birthmark.shapes import Array

FileLayout = Literal["auto", "IO", "OI"]
# what others call our `w` and `b`
_SUFFIXES = {"w": ("weight", "kernel"), "b": ("bias",)}


def read_tensor(
    file: str,
    sha256: str,
    target: Target,
    *,
    key: str = "",
    layout: FileLayout = "auto",
) -> Array:
    """The tensor of a target, [*kernel, I, O] or [O], float64.

    Args:
        file: `.safetensors`, `.npz`, or what `torch.save(state_dict)` wrote.
        sha256: Of the content when the rule was made.
        target: Its name is looked up, and its shape must fit. From a file with a
            leading replica axis, as the store writes them, its replica is taken.
        key: Name in the file, where it is not that of the target.
        layout: `OI` for [O, I, *kernel]; `auto` takes names that end in `weight` so.

    Raises:
        SpecError: No such file, tensor or shape, or the file has changed.
    """
    tensors = _read_all(file, sha256)
    stem, _, last = target.name.rpartition(".")
    names = [key] if key else [target.name]
    names += [] if key else [f"{stem}.{other}" for other in _SUFFIXES.get(last, ())]
    name = next((name for name in names if name in tensors), None)
    if name is None:
        known = ", ".join(sorted(tensors)[:8])
        raise SpecError(f"{file} has no tensor {names[0]!r}: name one by key ({known})")
    tensor = tensors[name].astype(np.float64)
    if layout == "OI" or (layout == "auto" and name.endswith("weight")):
        tensor = from_layout(tensor, "OI")
    if tensor.ndim == len(target.shape) + 1 and target.replica < len(tensor):
        tensor = tensor[target.replica]
    if tensor.shape != target.shape:
        raise SpecError(
            f"{file}: {name} has the shape {tensor.shape} as [*kernel, in, out], and "
            f"replica {target.replica} of {target.name} wants {target.shape}"
        )
    return tensor


@lru_cache(maxsize=4)
def _read_all(file: str, sha256: str) -> Mapping[str, Array]:
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise SpecError(f"file {file!r} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SpecError(
            f"file {file!r} is not the one the spec was made with: leave file_sha256 "
            "out to take it as it is now"
        )
    try:
        tensors = _parse(Path(file).suffix, content)
    except Exception as error:  # three libraries, each with errors of its own
        reason = str(error).partition("\n")[0]
        raise SpecError(f"file {file!r} holds no tensors: {reason}") from error
    return {
        name: np.asarray(
            value.detach().double().numpy() if torch.is_tensor(value) else value
        )
        for name, value in tensors.items()
        if torch.is_tensor(value) or isinstance(value, np.ndarray)
    }


def _parse(suffix: str, content: bytes) -> Mapping[str, object]:
    if suffix == ".safetensors":
        return safetensors.torch.load(content)
    if suffix == ".npz":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            entries = [e for e in archive.infolist() if e.filename.endswith(".npy")]
            return {
                entry.filename.removesuffix(".npy"): parse_npy(
                    read_entry(archive, entry)
                )
                for entry in entries
            }
    # weights_only: a pickle that holds more than tensors is refused, not run
    state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    return dict(state.get("state_dict", state))
