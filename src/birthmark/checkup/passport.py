"""The passport of a start: for each tensor its law, its numbers and its fingerprint.

Written before the first step, and held against the model after a resume, on another
rank or after loading: it tells which tensors are not what they were.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from birthmark.checkup.readings import TensorReading
from birthmark.checkup.second_moments import as_float
from birthmark.checkup.tensors import read_tensors
from birthmark.errors import SpecError, StoreError
from birthmark.foreign_files import open_regular
from birthmark.measurements import clean_name, fingerprint, unwrap
from birthmark.whole_files import write_output

FORMAT = 1
BUFFER = "buffer"  # the role of what is no parameter, but saved with them
_HASH = re.compile("[0-9a-f]{64}")
_NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
    shard: str = ""  # how it is spread over ranks, which part, and its shape
    # fingerprints after rounding to fewer bits, as some are saved
    rounded: Mapping[str, str] = field(default_factory=dict)
    fits: tuple[str, ...] = ()  # types of fewer bits that hold these very numbers
    tied: tuple[str, ...] = ()  # other names of the same tensor


Passport = dict[str, Entry]


def make_passport(
    model: nn.Module,
    readings: tuple[TensorReading, ...] | None = None,
    *,
    whole: bool = False,
) -> Passport:
    """Read all parameters and saved buffers, whether or not they have numbers yet.

    Args:
        model: Only read. Of sharded parameters the local part is taken: no rank waits
            for another.
        readings: Of a check-up, whose roles come from the forward pass.
        whole: Gather sharded parameters, one at a time, so that the passport is the
            same on any number of ranks, and without them: every rank must call this.

    Raises:
        SpecError: A parameter has no shape yet.
    """
    own = unwrap(model)
    names: dict[int, list[str]] = {}
    found: dict[str, Tensor] = {}
    for name, value in _named_tensors(own):
        if is_lazy(value):
            raise SpecError(
                f"{clean_name(name)} has no shape yet: run the model once on a batch"
            )
        if id(value) not in names:
            found[clean_name(name)] = value
        names.setdefault(id(value), []).append(clean_name(name))
    known = {reading.name: reading for reading in readings or ()}
    if not known:
        parameters = {n: v for n, v in found.items() if isinstance(v, nn.Parameter)}
        plain = {n: _localize(v, whole=False)[0] for n, v in parameters.items()}
        known = {r.name: r for r in read_tensors(_shell(own, plain), None)}
    passport = {}
    for name, value in found.items():
        numbers, shard = _localize(value, whole=whole)
        reading = known.get(name)
        if reading and whole and hasattr(value, "to_local"):
            (reading,) = read_tensors(_shell(None, {name: numbers}), None)
        entry = _enter(numbers, shard, reading)
        role = entry.role if isinstance(value, nn.Parameter) else BUFFER
        tied = tuple(names[id(value)][1:])
        passport[name] = replace(entry, role=role, tied=tied)
    return passport


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, each under all of its names, and the buffers of the state dict."""
    yield from model.named_parameters(remove_duplicate=False)
    for path, module in model.named_modules():
        for name, value in module._buffers.items():
            if value is not None and name not in module._non_persistent_buffers_set:
                yield f"{path}.{name}" if path else name, value


def _localize(value: Tensor, *, whole: bool) -> tuple[Tensor, str]:
    """The numbers that this process has, and which part of the tensor they are."""
    if not hasattr(value, "to_local"):
        return value, ""
    sharded: Any = value  # a DTensor, whose module need not be imported
    if whole:
        gathered: Tensor = sharded.full_tensor()
        return gathered.detach().requires_grad_(value.requires_grad), ""
    local: Tensor = sharded.to_local()
    mesh = sharded.device_mesh
    place, size = list(mesh.get_coordinate() or ()), list(mesh.shape)
    return local, (
        f"{sharded.placements}, place {place} in a mesh of {size}, local "
        f"{list(local.shape)}"
    )


def _shell(model: nn.Module | None, local: Mapping[str, Tensor]) -> nn.Module:
    """The model, where it holds plain numbers; else modules around those that do."""
    if model is not None:
        held = [p for _, p in model.named_parameters()]
        plain = all(not hasattr(p, "to_local") and not p.is_meta for p in held)
        if plain:
            return model
    shell = nn.Module()
    for name, value in local.items():
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
    if reading is None and not empty:
        law = "not read"
    rounded = {} if numbers is None else _round(dense)
    return Entry(
        shape=tuple(value.shape),
        dtype=str(value.dtype).removeprefix("torch."),
        role=reading.role if reading else "other",
        law=reading.law if reading else law,
        rules=reading.rules if reading else (),
        mean=_finite(numbers, Tensor.mean),
        std=_finite(numbers, lambda x: x.std(correction=0)),
        low=_finite(numbers, Tensor.min),
        high=_finite(numbers, Tensor.max),
        fan_in=reading.fan_in if reading else None,
        fan_out=reading.fan_out if reading else None,
        trainable=value.requires_grad,
        fingerprint=None if empty else fingerprint(dense),
        shard=shard,
        rounded={name: fingerprint(one) for name, one in rounded.items()},
        fits=tuple(
            n for n, one in rounded.items() if torch.equal(one.to(dense), dense)
        ),
    )


def _round(value: Tensor) -> dict[str, Tensor]:
    """In each type of fewer bits."""
    wide = value.element_size() > 2
    return {name: value.to(dtype) for name, dtype in _NARROW.items() if wide}


def _finite(numbers: Tensor | None, reduce: Callable[[Tensor], Tensor]) -> float | None:
    """One number of them; JSON has no NaN."""
    if numbers is None:
        return None
    found = float(reduce(numbers))
    return found if math.isfinite(found) else None


def write_passport(passport: Passport, path: str | Path) -> Path:
    """Write a passport as JSON.

    Raises:
        StoreError: The file cannot be written.
    """
    table: dict[str, Any] = {"birthmark_passport": FORMAT, "tensors": {}}
    tensors = {name: asdict(entry) for name, entry in passport.items()}
    table["tensors"] = tensors
    return write_output(path, json.dumps(table, indent=1, allow_nan=False) + "\n")


def read_passport(path: str | Path) -> Passport:
    """Read what `write_passport` wrote.

    Raises:
        StoreError: There is no such file, or it is no passport.
    """
    try:
        with open_regular(path) as file:
            table: Any = json.load(file)
        version = table["birthmark_passport"]
        if isinstance(version, int) and version > FORMAT:
            raise StoreError(
                f"{path} is a passport of format {version}, and this birthmark reads "
                f"{FORMAT}: read it with the one that wrote it, or a newer one"
            )
        if version != FORMAT:
            raise ValueError(f"format {version}")
        return {name: _read_entry(one) for name, one in table["tensors"].items()}
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{path} is no passport of birthmark, or was changed "
            f"({_first_words(error)}): write one with check --passport"
        ) from error


def _read_entry(given: Mapping[str, Any]) -> Entry:
    lists = {name: tuple(given.get(name, ())) for name in ("fits", "tied")}
    shape, rules = tuple(given["shape"]), tuple(given["rules"])
    entry = Entry(**{**given, "shape": shape, "rules": rules, **lists})
    texts = (entry.dtype, entry.role, entry.law, entry.shard, *rules, *lists["tied"])
    hashes = [one for one in (entry.fingerprint, *entry.rounded.values()) if one]
    if not all(isinstance(one, int) and one >= 0 for one in shape):
        raise ValueError(f"shape {list(shape)}")
    if not all(isinstance(one, str) for one in texts):
        raise ValueError("a text is none")
    if not all(isinstance(one, str) and _HASH.fullmatch(one) for one in hashes):
        raise ValueError("a fingerprint is not 64 digits")
    return entry


def _first_words(error: Exception) -> str:
    said = (str(error).splitlines() or [""])[0][:80]
    return said if isinstance(error, ValueError) else f"{type(error).__name__} {said}"
