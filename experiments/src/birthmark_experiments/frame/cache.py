"""Finished parts of an experiment, kept under the hash of all that they depend on.

A part is found again only if nothing of its protocol has changed; so no cache needs
to be emptied by hand, and none can give the numbers of another protocol.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from pydantic import BaseModel

from birthmark.store import has_results, load_results, save_results


def hash_protocol(protocol: Any) -> str:
    """Sixteen hexadecimal digits that stand for every field of a protocol.

    It may be of frozen dataclasses, specs, mappings (whose order does not count),
    sequences, types, arrays, texts and numbers, nested as one likes; anything else,
    whose text might hide a difference, is a `TypeError`.
    """
    text = json.dumps(_plain(protocol), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recall(
    folder: Path, part: str, protocol: Any, measure: Callable[[], xr.Dataset]
) -> xr.Dataset:
    """A part of the results: read where it is there already, else measured and kept.

    The part is named in words, such as `clipped ball 0.5`; the protocol is all that its
    numbers depend on. Results are written at once or not at all.
    """
    place = folder / "cache" / hash_protocol([part, protocol])
    if not has_results(place):
        save_results(place, measure(), {"part": part})
    return load_results(place)[0]


def _plain(value: Any) -> Any:
    """JSON in which unlike values look unlike."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, type):
        return {"type": f"{value.__module__}.{value.__qualname__}"}
    if isinstance(value, BaseModel):
        return {type(value).__name__: value.model_dump(mode="json")}
    if is_dataclass(value) and not isinstance(value, type):
        content = {x.name: _plain(getattr(value, x.name)) for x in fields(value)}
        return {type(value).__name__: content}
    if isinstance(value, Mapping):
        pairs = [[_plain(key), _plain(each)] for key, each in value.items()]
        return {"mapping": sorted(pairs, key=json.dumps)}
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        return {"array": [str(array.dtype), list(array.shape), digest]}
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    raise TypeError(f"{type(value).__name__} in a protocol has no hash: {value!r}")
