"""Files of safetensors, by their published layout: 8 bytes, a JSON header, the numbers.

Read here and not by the package, whose slices are copies: a mapped view costs nothing.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import torch

from birthmark.errors import WeightsError
from birthmark.weight_files.stored import MappedFile, StoredTensor, WeightFile

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
} | {
    name: getattr(torch, attribute)
    for name, attribute in (
        *(("F8_E8M0", "float8_e8m0fnu"), ("U16", "uint16")),
        *(("U32", "uint32"), ("U64", "uint64")),
        *(("F8_E4M3FNUZ", "float8_e4m3fnuz"), ("F8_E5M2FNUZ", "float8_e5m2fnuz")),
    )
    if hasattr(torch, attribute)
}
_LARGEST_HEADER = 100_000_000  # bytes; the package's own limit


def read_safetensors(path: Path) -> WeightFile:
    """The tensors of a file of safetensors.

    Raises:
        WeightsError: The header is damaged, or a dtype is not known.
    """
    mapped = MappedFile(path)
    header, start = _read_header(mapped)
    header.pop("__metadata__", None)
    tensors: dict[str, StoredTensor] = {}
    notes = []
    for name, entry in sorted(header.items(), key=lambda item: _in_order(item[0])):
        dtype, shape, begin, end = _read_entry(path, name, entry)
        if dtype is None:
            notes.append(f"{name} has the dtype {entry['dtype']}, which is not read")
            continue
        if begin < 0 or min(shape, default=0) < 0:
            raise _damaged(path, f"{name} is {list(shape)} from byte {begin} on")
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise _damaged(path, f"{name} has {end - begin} bytes for {list(shape)}")
        tensors[name] = mapped.tensor(name, start + begin, dtype, shape)
    return WeightFile(path.name, "safetensors", tensors, tuple(notes))


def _read_header(mapped: MappedFile) -> tuple[dict[str, dict[str, Any]], int]:
    size = int.from_bytes(mapped.head(0, 8), "little")
    if size > min(len(mapped) - 8, _LARGEST_HEADER):
        raise _damaged(mapped.path, f"its header of {size} bytes is cut short")
    try:
        header = json.loads(mapped.head(8, size))
    except ValueError as error:
        raise _damaged(mapped.path, "its header is no JSON") from error
    if not isinstance(header, dict):
        raise _damaged(mapped.path, "its header is no table of tensors")
    return header, 8 + size


def _read_entry(
    path: Path, name: str, entry: dict[str, Any]
) -> tuple[torch.dtype | None, tuple[int, ...], int, int]:
    try:
        begin, end = entry["data_offsets"]
        shape = tuple(int(side) for side in entry["shape"])
        return _DTYPES.get(str(entry["dtype"])), shape, int(begin), int(end)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the entry of {name} is no tensor") from error


def _in_order(name: str) -> list[tuple[int, str]]:
    """The package writes names by their letters: layer 10 before layer 2."""
    parts = re.split(r"(\d+)", name)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(f"{path} is no intact file of safetensors: {why}")
