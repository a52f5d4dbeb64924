"""The passport of a start: for each tensor its law, its numbers and its fingerprint.

Written before the first step, and held against the model after a resume, on another
rank or after loading: it tells which tensors are not what they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.checkup.readings import TensorReading
from birthmark.checkup.second_moments import as_float
from birthmark.checkup.tensors import read_tensors
from birthmark.errors import StoreError
from birthmark.foreign_files import open_regular
from birthmark.measurements import clean_name, fingerprint, unwrap

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One tensor; numbers are None on the meta device."""

    shape: tuple[int, ...]
    dtype: str
    role: str
    law: str  # in words, with its parameters
    rules: tuple[str, ...]
    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    fan_in: int | None
    fan_out: int | None
    trainable: bool
    fingerprint: str | None  # of these numbers; of a shard, of the local part
    shard: str = ""  # how it is spread over ranks, and the shape of the local part


@dataclass(frozen=True)
class Change:
    """One tensor that is not what it was."""

    name: str
    what: str  # missing, new, shape, dtype, numbers, materialized or emptied
    words: str


Passport = dict[str, Entry]


def make_passport(
    model: nn.Module, readings: tuple[TensorReading, ...] | None = None
) -> Passport:
    """Read all parameters of a model, whether or not they have numbers yet.

    Args:
        model: Only read. Of sharded parameters the local part is taken: no rank waits
            for another.
        readings: Of a check-up, whose roles come from the forward pass.
    """
    own = unwrap(model)
    local: dict[str, tuple[Tensor, str]] = {
        clean_name(name): _localize(value) for name, value in own.named_parameters()
    }
    known = {reading.name: reading for reading in readings or ()}
    if not known:
        known = {r.name: r for r in read_tensors(_shell(own, local), None)}
    return {
        name: _enter(value, shard, known.get(name))
        for name, (value, shard) in local.items()
    }


def _localize(value: Tensor) -> tuple[Tensor, str]:
    if not hasattr(value, "to_local"):
        return value, ""
    sharded: Any = value  # a DTensor, whose module need not be imported
    local = sharded.to_local()
    return local, f"{sharded.placements}, local {tuple(local.shape)}"


def _shell(model: nn.Module, local: Mapping[str, tuple[Tensor, str]]) -> nn.Module:
    """The model, where it holds plain numbers; else modules around those that do."""
    plain = all(not shard and not value.is_meta for value, shard in local.values())
    if plain:
        return model
    shell = nn.Module()
    for name, (value, _) in local.items():
        if value.is_meta or not value.numel():
            continue
        *path, last = name.split(".")
        at = shell
        for part in path:
            if part not in at._modules:
                at.add_module(part, nn.Module())
            at = at._modules[part]  # type: ignore[assignment]
        at.register_parameter(last, nn.Parameter(value, value.is_floating_point()))
    return shell


@torch.no_grad()
def _enter(value: Tensor, shard: str, reading: TensorReading | None) -> Entry:
    empty = value.is_meta or not value.numel()
    dense = value.detach()
    if not empty and dense.layout is not torch.strided:
        dense = dense.to_dense()
    numbers = as_float(dense) if not empty and dense.is_floating_point() else None
    law = "no numbers yet (meta device)" if value.is_meta else "no numbers"
    return Entry(
        shape=tuple(value.shape),
        dtype=str(value.dtype).removeprefix("torch."),
        role=reading.role if reading else "other",
        law=reading.law if reading else law,
        rules=reading.rules if reading else (),
        mean=None if numbers is None else float(numbers.mean()),
        std=None if numbers is None else float(numbers.std(correction=0)),
        low=None if numbers is None else float(numbers.min()),
        high=None if numbers is None else float(numbers.max()),
        fan_in=reading.fan_in if reading else None,
        fan_out=reading.fan_out if reading else None,
        trainable=value.requires_grad,
        fingerprint=None if empty else fingerprint(dense),
        shard=shard,
    )


def write_passport(passport: Passport, path: str | Path) -> Path:
    """Write a passport as JSON.

    Raises:
        StoreError: The file cannot be written.
    """
    target = Path(path)
    table: dict[str, Any] = {"birthmark_passport": FORMAT, "tensors": {}}
    tensors = {name: asdict(entry) for name, entry in passport.items()}
    table["tensors"] = tensors
    try:
        target.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from error
    return target


def read_passport(path: str | Path) -> Passport:
    """Read what `write_passport` wrote.

    Raises:
        StoreError: There is no such file, or it is no passport.
    """
    try:
        with open_regular(path) as file:
            table: Any = json.load(file)
        if table["birthmark_passport"] != FORMAT:
            raise ValueError(f"format {table['birthmark_passport']}")
        return {
            name: Entry(
                **{
                    **entry,
                    "shape": tuple(entry["shape"]),
                    "rules": tuple(entry["rules"]),
                }
            )
            for name, entry in table["tensors"].items()
        }
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} is no passport of birthmark: write one with check --passport"
        ) from error


def compare_passports(before: Passport, after: Passport) -> tuple[Change, ...]:
    """The tensors that are not what they were, in the order of the first passport."""
    changes = [
        Change(name, "missing", "is not there any more")
        for name in before
        if name not in after
    ]
    for name, now in after.items():
        then = before.get(name)
        if then is None:
            changes.append(Change(name, "new", f"was not there: {now.law}"))
        else:
            changes += _compare(name, then, now)
    return tuple(changes)


def _compare(name: str, then: Entry, now: Entry) -> list[Change]:
    if then.shape != now.shape or then.shard != now.shard:
        old, new = (f"{one.shape} {one.shard}".strip() for one in (then, now))
        return [Change(name, "shape", f"was {old}, is {new}")]
    if then.dtype != now.dtype:
        return [Change(name, "dtype", f"was {then.dtype}, is {now.dtype}")]
    if then.fingerprint == now.fingerprint:
        return []
    if then.fingerprint is None:
        return [Change(name, "materialized", f"had no numbers, and is {now.law}")]
    if now.fingerprint is None:
        return [Change(name, "emptied", f"was {then.law}, and has no numbers")]
    same_law = then.law == now.law or (then.rules and then.rules == now.rules)
    if same_law:
        return [Change(name, "numbers", f"other numbers of the same law: {now.law}")]
    return [Change(name, "numbers", f"was {then.law}, is {now.law}")]
