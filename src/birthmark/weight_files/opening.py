"""Which format is it? Files by their first bytes, folders by their indexes."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from birthmark.errors import WeightsError
from birthmark.foreign_files import damage_named, open_regular, refuse_bomb
from birthmark.shapes import Tensor
from birthmark.weight_files.keras_files import (
    WEIGHTS_IN_ARCHIVE,
    read_h5,
    read_keras_archive,
)
from birthmark.weight_files.numpy_files import read_npy, read_npz
from birthmark.weight_files.safetensors_files import read_safetensors
from birthmark.weight_files.stored import (
    StoredTensor,
    WeightFile,
    in_memory,
)
from birthmark.weight_files.torch_files import read_torch

FORMATS = "safetensors, torch (.pt, .pth, .bin, .ckpt), .keras, .h5, .npz, .npy"
_SUFFIXES = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".th", ".keras"),
    *(".h5", ".hdf5", ".npz", ".npy"),
)
_NUMBERED = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})$")
# one file a rank of tensor parallelism, each with its part of every tensor
_RANKED = re.compile(r"^(consolidated\.|mp_rank_|model_part-|rank)(?P<rank>\d+)$")


def open_weights(source: Any) -> WeightFile:
    """The tensors of a checkpoint, by name, without reading their numbers.

    Args:
        source: A file, a folder, an index of shards, a torch module, or a mapping of
            names to tensors or arrays.

    Raises:
        WeightsError: There is no such file, no format of ours, nothing in it, or to
            open it would run code.
    """
    if isinstance(source, WeightFile):
        return source
    if not isinstance(source, str | Path):
        return _from_memory(source)
    path = Path(source)
    with damage_named(path, WeightsError):
        if not path.exists():
            raise WeightsError(f"there is no file or folder {path}")
        weights = _open_folder(path) if path.is_dir() else _open_file(path)
    if not weights.tensors and not weights.shards:
        why = f" ({'; '.join(weights.notes)})" if weights.notes else ""
        raise WeightsError(f"{path} holds no tensors{why}")
    return replace(
        weights,
        tensors={name: one.of_file(path) for name, one in weights.tensors.items()},
        shards={
            name: tuple(part.of_file(path) for part in parts)
            for name, parts in weights.shards.items()
        },
    )


def _from_memory(source: Any) -> WeightFile:
    import torch

    label = type(source).__name__ if hasattr(source, "state_dict") else "weights"
    named = source.state_dict() if hasattr(source, "state_dict") else source
    if not isinstance(named, Mapping):
        raise WeightsError(
            "weights are a path, a torch module, or a mapping of names to tensors, not "
            f"{type(source).__name__}"
        )
    tensors: dict[str, Tensor] = {}
    for name, value in named.items():
        if isinstance(value, torch.Tensor):
            tensors[str(name)] = value.detach().cpu()
        elif hasattr(value, "__array__"):
            tensors[str(name)] = torch.as_tensor(value.__array__())
    if not tensors:
        raise WeightsError("there are no tensors among the weights given")
    stored = {name: in_memory(name, tensor) for name, tensor in tensors.items()}
    return WeightFile(label, "model", stored)


def _open_file(path: Path) -> WeightFile:
    with open_regular(path) as opened:
        head = opened.read(64)
    if path.suffix == ".json":
        return _open_index(path)
    weights = _open_format(path, head)
    refuse_bomb(path, path.stat().st_size, weights.num_bytes, WeightsError)
    return weights


def _open_format(path: Path, head: bytes) -> WeightFile:
    if head[:6] == b"\x93NUMPY":
        return read_npy(path)
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return read_h5(path)
    if head[:4] == b"PK\x03\x04":
        return _open_zip(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return read_safetensors(path)
    if head[:1] == b"\x80":
        return read_torch(path, mapped=False)
    what = "a GGUF file of quantized blocks" if head[:4] == b"GGUF" else "of no format"
    raise WeightsError(f"{path} is {what} that is read here: give {FORMATS}")


def _open_zip(path: Path) -> WeightFile:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    refuse_bomb(path, path.stat().st_size, unpacked, WeightsError)
    names = [entry.filename for entry in entries]
    if any(name.endswith("data.pkl") for name in names):
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        return read_torch(path, mapped=stored)
    if WEIGHTS_IN_ARCHIVE in names:
        return read_keras_archive(path)
    if any(name.endswith(".npy") for name in names):
        return read_npz(path)
    raise WeightsError(f"{path} is a zip without weights: give {FORMATS}")


def _open_folder(path: Path) -> WeightFile:
    indexes = sorted(
        path.glob("*.index.json"), key=lambda p: "safetensors" not in p.name
    )
    if indexes:
        return _open_index(indexes[0])
    files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
    if not files:
        if any(path.glob("*.distcp")):
            raise WeightsError(
                f"{path} is a distributed checkpoint of torch: make one file of it by "
                "python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
                f"{path} all.pt"
            )
        raise WeightsError(f"{path} has no weights in it: give {FORMATS}")
    # a folder of the hub may hold the same weights in two formats
    kind = files[0].suffix
    for suffix in _SUFFIXES:
        if any(file.suffix == suffix for file in files):
            kind = suffix
            break
    files = [file for file in files if file.suffix == kind]
    if all(_NUMBERED.match(file.stem) for file in files):
        return _join(path.name, files)
    if len(files) == 1:
        return _labelled(_open_file(files[0]), path.name)
    if all(_RANKED.match(file.stem) for file in files):
        return _join_ranks(path.name, files)
    listed = ", ".join(file.name for file in files[:5])
    raise WeightsError(f"{path} has several files of weights ({listed}): name one")


def _open_index(path: Path) -> WeightFile:
    """The files that an index of shards names, as `transformers` and Keras write it."""
    try:
        named = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path} is no index of shards: it has no weight_map") from (
            error
        )
    flat = {n for one in named for n in (one if isinstance(one, list) else [one])}
    files = [path.parent / name for name in sorted(flat)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise WeightsError(
            f"{path} names {len(files)} files, of which {len(missing)} are missing "
            f"({', '.join(missing[:3])}): fetch them"
        )
    return _join(path.parent.name or path.name, files)


def _join(label: str, files: Iterable[Path]) -> WeightFile:
    """Files that each hold other tensors, as one."""
    files = list(files)
    total = _NUMBERED.match(files[0].stem)
    if total and int(total["total"]) != len(files):
        raise WeightsError(
            f"{files[0].parent} has {len(files)} of {int(total['total'])} shards: "
            "fetch the others"
        )
    tensors: dict[str, StoredTensor] = {}
    notes: list[str] = []
    for file in files:
        opened = _open_file(file)
        tensors |= opened.tensors
        notes += [f"{file.name}: {note}" for note in opened.notes]
        kind = opened.kind
    return WeightFile(label, f"{kind} in {len(files)} files", tensors, tuple(notes))


def _join_ranks(label: str, files: list[Path]) -> WeightFile:
    """Files of ranks, which hold parts of the same tensors."""
    opened = [_open_file(file) for file in files]
    shards = {
        name: tuple(one.tensors[name] for one in opened if name in one.tensors)
        for name in opened[0].tensors
    }
    notes = tuple(note for one in opened for note in one.notes)
    kind = f"{opened[0].kind} of {len(files)} ranks"
    return WeightFile(label, kind, {}, notes, shards)


def _labelled(weights: WeightFile, label: str) -> WeightFile:
    return WeightFile(label, weights.kind, weights.tensors, weights.notes)
