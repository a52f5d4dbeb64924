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
from birthmark.measurements.moments import in_one_unit
from birthmark.measurements.sums import Sums, merge_scaled
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
        whole = torch.stack([local[name].with_scales() for name in names])
        device = parameters[names[0]].values.device
        for group in groups:
            whole = merge_scaled(_gather(whole, group, device))
        merged |= dict(zip(names, map(Sums.of_scaled, whole), strict=True))
    return merged


def add_squares(
    parameters: Parameters, lengths: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Lengths of whole tensors from those of shards, [R] each, by their squares."""
    found = {name: in_one_unit(length[:, None]) for name, length in lengths.items()}
    added, units = merge_squares(
        parameters,
        {name: rows[0].square() for name, (rows, _) in found.items()},
        {name: unit for name, (_, unit) in found.items()},
    )
    return {
        name: length
        if parameters[name].shard is None
        else added[name][:, 0].sqrt() * units[name]
        for name, length in lengths.items()
    }


def merge_squares(
    parameters: Parameters,
    local: Mapping[str, Tensor],
    units: Mapping[str, Tensor],
    squares: int | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sums of whole tensors from those of shards, each in a unit of its own.

    Args:
        parameters: Of which each process has a part.
        local: By name [R, S], sums of squares and products.
        units: By name [R], the power of two in which factors are; 0 where all are 0.
        squares: How many of the S are that; the others are counts. All unless given.

    Returns:
        The sums of all, in the largest unit of theirs, and that unit.
    """
    added, unit_of = dict(local), dict(units)
    for groups, names in _by_groups(parameters, local).items():
        whole = torch.stack(
            [torch.cat([local[n], units[n][:, None]], dim=1) for n in names]
        )
        device = parameters[names[0]].values.device
        for group in groups:
            everywhere = _gather(whole, group, device)
            sums, unit = everywhere[..., :-1], everywhere[..., -1:]
            largest = unit.amax(0)
            ratio = unit / largest.masked_fill(largest == 0, 1.0)
            sums[..., :squares] *= ratio
            sums[..., :squares] *= ratio
            whole = torch.cat([sums.sum(0), largest], dim=-1)
        added |= dict(zip(names, whole[..., :-1], strict=True))
        unit_of |= dict(zip(names, whole[..., -1], strict=True))
    return added, unit_of


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


def _gather(values: Tensor, group: Any, device: torch.device) -> Tensor:
    """Small tensors of all processes of a group, whose shards lie on a device."""
    sent = values.to(_device_of(group, device)).contiguous()
    parts = [
        torch.empty_like(sent) for _ in range(_distributed().get_world_size(group))
    ]
    _distributed().all_gather(parts, sent, group=group)
    return torch.stack(parts).to(values.device)


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
