"""What `torch.save` wrote, read without running anything that lies in it."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from birthmark.errors import WeightsError
from birthmark.shapes import Tensor
from birthmark.weight_files.stored import StoredTensor, WeightFile, in_memory

# under which name trainers keep the weights, the likeliest first
_WEIGHTS = (
    *("state_dict", "model_state_dict", "model_state", "model", "module"),
    *("network", "net", "weights", "params", "student"),
)


def read_torch(path: Path, *, mapped: bool) -> WeightFile:
    """The tensors of a file of `torch.save`: a state dict, or a checkpoint with one.

    Args:
        path: The file.
        mapped: Whether torch can map its numbers: it is a zip that is not packed.
            Others are read whole.

    Raises:
        WeightsError: It holds objects whose loading would run code, is damaged, or has
            no tensors.
    """
    content = _load(path, mapped=mapped)
    chosen, notes = _choose(content)
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in _flatten(chosen):
        if tensor.is_meta:
            notes.append(f"{name} was saved without its numbers")
        elif tensor.layout is torch.strided and not tensor.is_quantized:
            tensors[name] = in_memory(name, tensor.detach())
        else:
            notes.append(f"{name} is sparse or quantized, which is not read")
    if not mapped:
        notes.append(
            "a torch file that is packed, or from before 2020: read whole into memory"
        )
    return WeightFile(path.name, "torch", tensors, tuple(notes))


def _load(path: Path, *, mapped: bool) -> Any:
    try:
        with warnings.catch_warnings():
            # of other pickles; what is wrong with them is said below
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        # torch's own message says how to load it all the same: that is the danger
        raise WeightsError(
            f"{path} is a pickle that holds more than tensors and plain containers: "
            "to load it could run code of whoever wrote it, so it was not opened; ask "
            "for the state dict alone, or for safetensors"
        ) from error


def _choose(content: Any) -> tuple[Any, list[str]]:
    """The part of a checkpoint that is the model's, and what that leaves out."""
    if isinstance(content, Mapping):
        if any(isinstance(value, torch.Tensor) for value in content.values()):
            return content, []
        for key in _WEIGHTS:
            if isinstance(content.get(key), Mapping) and any(_flatten(content[key])):
                left = ", ".join(str(other) for other in content if other != key)
                note = f"took {key!r} of the checkpoint"
                return content[key], [f"{note}, left out {left}" if left else note]
    return content, []


def _flatten(content: Any, prefix: str = "") -> list[tuple[str, Tensor]]:
    """All tensors of nested containers under dotted names."""
    if isinstance(content, torch.Tensor):
        return [(prefix or "tensor", content)]
    if isinstance(content, Mapping):
        items = list(content.items())
    elif isinstance(content, list | tuple):
        items = list(enumerate(content))
    else:
        return []
    found = []
    for key, value in items:
        found += _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return found
