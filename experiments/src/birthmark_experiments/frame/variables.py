"""Variables of results: values with dims, each with its long name and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from birthmark.shapes import Array

Variable = tuple[Sequence[str] | str, Array, dict[str, str]]


def labelled(long_name: str, units: str) -> dict[str, str]:
    """The attributes that every variable of results carries."""
    return {"long_name": long_name, "units": units}


def variables(
    dims: Sequence[str],
    words: Mapping[str, tuple[str, str]],
    values: Mapping[str, npt.ArrayLike],
    prefix: str = "",
) -> dict[str, Variable]:
    """Variables of equal dims, in single precision.

    Args:
        dims: Of all of them.
        words: By name: long name and units.
        values: By name.
        prefix: Before each name in the results.
    """
    found: dict[str, Any] = {
        f"{prefix}{name}": (dims, np.asarray(values[name], np.float32), labelled(*said))
        for name, said in words.items()
    }
    return found
