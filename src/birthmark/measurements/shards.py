"""Tensors that lie in several processes: measured in shards, and never gathered.

Each process sums up what it has; the sums, a few numbers a tensor, are exchanged in one
call and merged in the order of the processes, so that all of them hold the same bits.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from birthmark.errors import WeightsError
from birthmark.measurements.sums import Sums, merge
from birthmark.shapes import Parameters, Shard, Tensor


def to_local(value: Tensor) -> Tensor:
    """What this process has of a tensor; itself where that is all of it."""
    if _is_distributed(value):
        sharded: Any = value.detach()
        local: Tensor = sharded.to_local()
        return local
    return value


def find_shard(value: Any) -> Shard | None:
    """Where it lies in the whole; None for what every process has whole.

    Replicas of shards (HSDP) are summed once: only the axes of the mesh along which the
    tensor is split count.

    Raises:
        WeightsError: The processes hold parts of a sum.
    """
    if not _is_distributed(value):
        return None
    mesh = value.device_mesh
    if any(one.is_partial() for one in value.placements):
        raise WeightsError(
            f"a tensor of {list(value.shape)} is placed as {value.placements}, parts "
            "of a sum: give it as shards or whole"
        )
    groups = tuple(
        mesh.get_group(axis)
        for axis, one in enumerate(value.placements)
        if not one.is_replicate() and mesh.size(axis) > 1
    )
    return Shard(tuple(value.shape), groups) if groups else None


def merge_shards(parameters: Parameters, local: Mapping[str, Sums]) -> dict[str, Sums]:
    """Sums over all shards of each tensor, from those of this process.

    Every process calls it with the same names. Tensors that lie here whole keep theirs.
    """
    merged = dict(local)
    for groups, names in _by_groups(parameters, local).items():
        parts = torch.stack([local[name].in_weights().values_RS for name in names])
        device = parameters[names[0]].values.device
        for group in groups:
            everywhere = _gather(parts.to(_device_of(group, device)), group)
            parts = merge(everywhere.to(parts.device))
        merged |= dict(zip(names, map(Sums, parts), strict=True))
    return merged


def add_squares(
    parameters: Parameters, lengths: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Lengths of whole tensors from those of shards, [R] each, by their squares."""
    squares = {name: length.square() for name, length in lengths.items()}
    added = merge_additive(parameters, squares)
    return {
        name: lengths[name] if parameters[name].shard is None else added[name].sqrt()
        for name in lengths
    }


def merge_additive(
    parameters: Parameters, local: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Sums of whole tensors from those of shards, of one shape each."""
    added = dict(local)
    for groups, names in _by_groups(parameters, local).items():
        values = torch.stack([local[name] for name in names])
        device = parameters[names[0]].values.device
        for group in groups:
            everywhere = _gather(values.to(_device_of(group, device)), group)
            values = everywhere.to(values.device).sum(0)
        added |= dict(zip(names, values, strict=True))
    return added


def merge_texts(shards: Sequence[Shard], text: str) -> str:
    """One hash of the texts of all processes that have a part; itself without shards.

    Every process of them calls it.
    """
    for group in dict.fromkeys(group for shard in shards for group in shard.groups):
        texts: list[Any] = [None] * _distributed().get_world_size(group)
        _distributed().all_gather_object(texts, text, group=group)
        text = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return text


def _by_groups(
    parameters: Parameters, named: Mapping[str, Any]
) -> dict[tuple[Any, ...], list[str]]:
    """Names of the tensors that are split, by the groups over which they are."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for name in named:
        shard = parameters[name].shard
        if shard is not None:
            found.setdefault(shard.groups, []).append(name)
    return found


def _gather(values: Tensor, group: Any) -> Tensor:
    """Small tensors of all processes of a group, in their order."""
    values = values.contiguous()
    parts = [
        torch.empty_like(values) for _ in range(_distributed().get_world_size(group))
    ]
    _distributed().all_gather(parts, values, group=group)
    return torch.stack(parts)


def _device_of(group: Any, device: torch.device) -> torch.device:
    """Where the processes of a group can exchange tensors, the shards' own if so."""
    backend = str(_distributed().get_backend_config(group))
    if f"{device.type}:" in backend:
        return device
    return torch.device(backend.partition(":")[0])


def _distributed() -> Any:
    """torch.distributed, which only who has shards needs."""
    return sys.modules["torch.distributed"]


def _is_distributed(value: Any) -> bool:
    # who has such a tensor has imported its module
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)
