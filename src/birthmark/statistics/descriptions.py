"""Means and paired differences with their intervals, as plain numbers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from birthmark.statistics.intervals import summarize
from birthmark.statistics.paired import PairedDifference, compare_pairs, holm

Key = TypeVar("Key")


def interval(values: npt.ArrayLike) -> dict[str, float]:
    """Mean over replicas with Student's 95 % interval; NaN is left out."""
    found = summarize(np.ravel(np.asarray(values)))
    return {"mean": found.mean, "low": found.low, "high": found.high}


def interval_and_count(values: npt.ArrayLike) -> dict[str, float]:
    """The `interval`, and n: over how many replicas that have a value."""
    return {**interval(values), "n": int(np.isfinite(values).sum())}


def describe_differences(
    values: Mapping[Key, npt.ArrayLike], reference: npt.ArrayLike
) -> dict[Key, dict[str, float]]:
    """Of each from a reference, paired by replica; p by Holm over all of them."""
    pairs = [
        compare_pairs(["a", "b"], np.stack([np.asarray(one), np.asarray(reference)]))[0]
        for one in values.values()
    ]
    adjusted = holm([pair.p for pair in pairs])
    return {
        key: describe_pair(pair, p)
        for key, pair, p in zip(values, pairs, adjusted, strict=True)
    }


def describe_pair(pair: PairedDifference, p: float | None = None) -> dict[str, float]:
    """The difference a - b of a pair, its own interval, and p: adjusted where given."""
    return {
        "mean": float(pair.difference),
        "low": float(pair.low),
        "high": float(pair.high),
        "p": float(pair.p if p is None else p),
    }
