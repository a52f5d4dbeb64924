"""Arrays by name in safetensors files, with facts in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import load

from birthmark.shapes import Array
from birthmark.store.checksums import BLANK
from birthmark.store.files import (
    check_owner,
    owner,
    read_bytes,
    reading,
    sealing,
)


def write_arrays(
    path: Path, arrays: Mapping[str, Array], facts: Mapping[str, Any]
) -> None:
    """Replace a safetensors file; equal arrays and facts make equal bytes.

    The facts go into its header, as JSON.
    """
    with sealing(path) as temporary, temporary.open("wb") as file:
        metadata = {"": BLANK, **facts, **owner(path)}
        _write_safetensors(file, arrays, json.dumps(metadata))


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The NumPy arrays and the facts of a safetensors file."""
    content = read_bytes(path)
    with reading(path):
        arrays = load(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size]).get("__metadata__", {})
        if "birthmark" not in header:  # before there were checksums: one by one
            return arrays, {name: json.loads(text) for name, text in header.items()}
        facts = json.loads(header["birthmark"])
        del facts[""]
        return arrays, check_owner(path, facts)


def map_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file, read from the disk where they are used.

    What is written into them stays in memory. No checksum is compared: that would read
    the whole file.
    """
    kinds = {name: kind for kind, name in _DTYPES.items()}
    with reading(path), path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        metadata = header.pop("__metadata__", {})
        check_owner(path, json.loads(metadata.get("birthmark", "{}")))
        whole = np.memmap(path, np.uint8, "c", offset=8 + size)
        arrays = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            flat = whole[begin:end].view(kinds[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"])
        return arrays


# as safetensors names them
_DTYPES = {
    **{np.dtype(f"float{bits}"): f"F{bits}" for bits in (16, 32, 64)},
    **{np.dtype(f"int{bits}"): f"I{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"uint{bits}"): f"U{bits}" for bits in (8, 16, 32, 64)},
    np.dtype(bool): "BOOL",
}


def _write_safetensors(
    file: BinaryIO, arrays: Mapping[str, Array], metadata: str
) -> None:
    """Array after array, so that no second copy of all is made in memory.

    The library's own writer orders metadata by chance and makes files of mode 0600.
    """
    # the widest numbers first, so that each array is aligned
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"birthmark": metadata}}
    end = 0
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _DTYPES[array.dtype],
            "shape": array.shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        # as it lies in memory, a strided view would be scrambled
        file.write(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
