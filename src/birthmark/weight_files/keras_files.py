"""Keras' archives (`.keras`), its weights and older models (`.h5`), and any HDF5."""

from __future__ import annotations

import re
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from birthmark.errors import MissingDependencyError
from birthmark.shapes import Tensor
from birthmark.weight_files.numpy_files import content_of_zip
from birthmark.weight_files.stored import MappedFile, StoredTensor, WeightFile

WEIGHTS_IN_ARCHIVE = "model.weights.h5"
# Keras 3 numbers the variables of a layer; these are the names that they have in it
_VARIABLES = {
    "norm": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer": ("kernel", "bias"),
}


def read_keras_archive(path: Path) -> WeightFile:
    """The weights of a `.keras` file.

    Raises:
        WeightsError: It is damaged.
        MissingDependencyError: h5py is not installed.
    """
    mapped = MappedFile(path)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(WEIGHTS_IN_ARCHIVE)
        stored = entry.compress_type == zipfile.ZIP_STORED
        start = content_of_zip(mapped, entry.header_offset) if stored else None
        with archive.open(entry) as opened:
            tensors, notes = _read_tree(path, opened, mapped, start)
    return WeightFile(path.name, "keras", tensors, tuple(notes))


def read_h5(path: Path) -> WeightFile:
    """The arrays of an HDF5 file, those of Keras' layouts by their layers' names.

    Raises:
        WeightsError: It is damaged.
        MissingDependencyError: h5py is not installed.
    """
    tensors, notes = _read_tree(path, path, MappedFile(path), 0)
    return WeightFile(path.name, "h5", tensors, tuple(notes))


def _read_tree(
    path: Path, source: Path | IO[bytes], mapped: MappedFile, start: int | None
) -> tuple[dict[str, StoredTensor], list[str]]:
    h5py = _import_h5py()
    found: dict[str, Any] = {}
    tensors: dict[str, StoredTensor] = {}
    notes = []
    with h5py.File(source, "r") as root:
        # Keras 2 and 3 keep a whole model's weights in this group
        top = root.get("model_weights", root)
        top.visititems(
            lambda name, node: (
                found.update({name: node}) if hasattr(node, "dtype") else None
            )
        )
        optimizer = [n for n in found if n.startswith("optimizer/")]
        # in the order in which they were written, which is the layers'
        kept = sorted(found.keys() - set(optimizer), key=lambda n: _place(found[n]))
        for name in kept:
            dtype = _dtype(found[name])
            if dtype is None:
                notes.append(f"{name} is of {found[name].dtype}, no number of ours")
                continue
            given = name_variable(top, name)
            tensors[given] = _tensor(given, found[name], dtype, mapped, start, path)
        if optimizer or "optimizer_weights" in root:
            notes.append("left out the optimizer's variables")
    return tensors, notes


def name_variable(top: Any, path: str) -> str:
    """`layers/dense_1/vars/0` as `second/kernel`: the name the layer has in Keras.

    Keras 3 files layers by their class and number; the name stands in an attribute.
    What has no such layout keeps its path. Older models have the layer's name twice,
    `second/sequential/second/kernel`.
    """
    layer = path.partition("/")[0]
    if "weight_names" in top[layer].attrs:
        return f"{layer}/{path.rpartition(f'/{layer}/')[2]}"
    head, marker, last = path.rpartition("/vars/")
    if not marker or not last.isdigit():
        return path
    parts = head.split("/")
    names = []
    for depth, part in enumerate(parts):
        if part in ("layers", "_layers"):
            continue
        group = top.get("/".join([*parts[: depth + 1], "vars"]))
        name = group.attrs.get("name") if group is not None else None
        names.append(name if isinstance(name, str) else part)
    shapes = [top[f"{head}/vars/{i}"].shape for i in range(len(top[f"{head}/vars"]))]
    return "/".join([*names, _variable(int(last), shapes, parts[-1])])


def _place(node: Any) -> int:
    offset = node.id.get_offset()
    return 2**62 if offset is None else int(offset)


def _variable(number: int, shapes: list[tuple[int, ...]], group: str) -> str:
    one_shape = len(set(shapes)) == 1
    if re.match("embedding", group) and number == 0:
        return "embeddings"
    if one_shape and len(shapes[0]) == 1 and len(shapes) in (2, 4):
        return _VARIABLES["norm"][number]
    if len(shapes) <= 2 and len(shapes[0]) >= 2:
        return _VARIABLES["layer"][number]
    return f"vars/{number}"


def _tensor(
    name: str,
    node: Any,
    dtype: torch.dtype,
    mapped: MappedFile,
    start: int | None,
    path: Path,
) -> StoredTensor:
    shape, offset, inner = tuple(node.shape), node.id.get_offset(), node.name
    contiguous = node.chunks is None and offset is not None and node.dtype.isnative
    if contiguous and start is not None:
        return mapped.tensor(name, start + offset, dtype, shape)

    def load() -> Tensor:
        return _read_whole(path, inner, dtype)

    return StoredTensor(name, shape, dtype, load)


def _read_whole(path: Path, inner: str, dtype: torch.dtype) -> Tensor:
    h5py = _import_h5py()
    with ExitStack() as stack:
        source: Path | IO[bytes] = path
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            source = stack.enter_context(archive.open(WEIGHTS_IN_ARCHIVE))
        root = stack.enter_context(h5py.File(source, "r"))
        array = np.asarray(root[inner])
    if dtype is torch.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(dtype)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def _dtype(node: Any) -> torch.dtype | None:
    if node.attrs.get("dtype") == "bfloat16":
        return torch.bfloat16
    try:
        empty = np.empty(0, node.dtype.newbyteorder("="))
        return torch.from_numpy(empty).dtype
    except TypeError:
        return None


def _import_h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Keras' and HDF5 files are read with h5py: pip install 'birthmark[keras]'"
        ) from error
    return h5py
