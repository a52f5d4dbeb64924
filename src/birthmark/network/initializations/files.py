"""Tensors from files of something trained: safetensors, torch's state_dict, npz."""

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from birthmark.errors import SpecError
from birthmark.foreign_files import (
    parse_npy,
    read_entry,
    read_npy_header,
    refuse_bomb,
)
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
        SpecError: No such file, tensor or shape, the file has changed, or what it
            holds are no finite numbers.
    """
    tensors = _open(file, sha256)
    stem, _, last = target.name.rpartition(".")
    names = [key] if key else [target.name]
    names += [] if key else [f"{stem}.{other}" for other in _SUFFIXES.get(last, ())]
    name = next((name for name in names if name in tensors), None)
    if name is None:
        known = ", ".join(sorted(tensors)[:8])
        raise SpecError(f"{file} has no tensor {names[0]!r}: name one by key ({known})")
    transposed = layout == "OI" or (layout == "auto" and name.endswith("weight"))
    # what does not fit is not unpacked: it may be far larger than its file
    shape = tensors[name].shape
    if transposed and len(shape) > 1:
        shape = (*shape[2:], shape[1], shape[0])
    has_replicas = len(shape) == len(target.shape) + 1 and target.replica < shape[0]
    if shape[has_replicas:] != target.shape:
        raise SpecError(
            f"{file}: {name} has the shape {shape} as [*kernel, in, out], and "
            f"replica {target.replica} of {target.name} wants {target.shape}"
        )
    try:
        tensor = from_layout(tensors[name].load(), "OI" if transposed else "IO")
    except Exception as error:
        raise _unreadable(file, error) from error
    tensor = tensor[target.replica] if has_replicas else tensor
    if count := np.count_nonzero(~np.isfinite(tensor)):
        raise SpecError(
            f"{file}: {count} of {tensor.size} numbers of {name} are NaN or infinite, "
            "and nothing can be trained from there"
        )
    return tensor


@dataclass(frozen=True)
class _Stored:
    """A tensor that is read when it is asked for, as float64, once."""

    shape: tuple[int, ...]
    load: Callable[[], Array]


@lru_cache(maxsize=4)
def _open(file: str, sha256: str) -> Mapping[str, _Stored]:
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
        return _parse(file, content)
    except SpecError:
        raise
    except Exception as error:  # three libraries, each with errors of its own
        raise _unreadable(file, error) from error


def _unreadable(file: str, error: Exception) -> SpecError:
    """One line; not what torch says, which is how to run what was refused."""
    if isinstance(error, pickle.UnpicklingError):
        reason = "it holds more than tensors, whose loading could run code"
    else:
        reason = str(error).partition("\n")[0] or type(error).__name__
    return SpecError(f"file {file!r} holds no tensors that can be read: {reason}")


def _parse(file: str, content: bytes) -> Mapping[str, _Stored]:
    suffix = Path(file).suffix
    if suffix == ".npz":
        archive = zipfile.ZipFile(BytesIO(content))
        entries = [e for e in archive.infolist() if e.filename.endswith(".npy")]
        return {e.filename.removesuffix(".npy"): _entry(archive, e) for e in entries}
    state: object
    if suffix == ".safetensors":
        state = safetensors.torch.load(content)
    else:
        if content.startswith(b"PK"):  # torch unpacks all of it at once
            entries = zipfile.ZipFile(BytesIO(content)).infolist()
            unpacked = sum(entry.file_size for entry in entries)
            refuse_bomb(file, len(content), unpacked, SpecError)
        # weights_only: a pickle that holds more than tensors is refused, not run
        state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        if isinstance(state, Mapping):
            state = state.get("state_dict", state)
    if not isinstance(state, Mapping):
        raise TypeError(f"{type(state).__name__} is no table of tensors")
    tensors = {str(n): t for n, t in state.items() if torch.is_tensor(t)}
    return {
        name: _Stored(tuple(tensor.shape), cache(partial(_from_torch, tensor)))
        for name, tensor in tensors.items()
    }


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> _Stored:
    with archive.open(entry) as opened:
        shape, _, dtype = read_npy_header(opened)

    def load() -> Array:
        if dtype.kind not in "fiu":
            raise TypeError(f"{entry.filename} is of {dtype}, and weights are numbers")
        return parse_npy(read_entry(archive, entry)).astype(np.float64)

    return _Stored(shape, cache(load))


def _from_torch(tensor: Tensor) -> Array:
    is_plain = tensor.layout is torch.strided and not tensor.is_quantized
    if tensor.is_meta or not is_plain:
        raise TypeError("sparse, quantized or without numbers")
    if tensor.is_complex() or tensor.dtype is torch.bool:
        raise TypeError(f"it is of {tensor.dtype}, and weights are numbers")
    return np.asarray(tensor.detach().double().numpy())
