"""Whether networks collapse without the hardest examples, and how much later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import (
    ALPHA,
    describe_differences,
    interval,
    interval_and_count,
    share_interval,
)
from ..frame import Facts, each

ALL, HARDEST, RANDOM = "all examples", "without the hardest", "without as many others"
KINDS = (HARDEST, RANDOM)
EVENTS = ("onset", "collapse")
NOT_NEEDED, NEEDED, NOT_SAID = "not needed", "needed", "cannot be said"
# networks of which none must collapse before it is said that the collapse needs them
FEWEST = next(n for n in range(1, 100) if share_interval(0, n)[1] < 0.5)


@dataclass(frozen=True)
class HardestLeftOutFacts(Facts):
    """By arm when it collapses, and the differences of the two kinds, paired."""

    protocol: str
    num_replicas: int
    num_examples: int
    num_epochs: int
    early: int
    eps: float
    fallen: float
    onset_share: float
    arms: Mapping[str, Mapping[str, Any]]
    hardest: Sequence[str]  # arms without the hardest
    later: Sequence[Mapping[str, Any]]  # hardest minus random, by share and event
    verdict: str
    num_collapsed: int  # of the networks without the hardest, any share
    num_hardest: int
    fewest: int = FEWEST


def summarize(results: xr.Dataset) -> HardestLeftOutFacts:
    """By arm when it collapses, and the differences of the two kinds, paired."""
    arms = each(results, "arm")
    left_out = {n: one for n, one in arms.items() if str(n).startswith(HARDEST)}
    collapse = np.concatenate([one["collapse"].to_numpy() for one in left_out.values()])
    num = int(np.isfinite(collapse).sum())
    found = np.isfinite(arms[ALL]["collapse"].to_numpy())
    return HardestLeftOutFacts.read(
        results,
        onset_share=float(results.attrs["onset"]),
        arms={name: _describe(one) for name, one in arms.items()},
        hardest=list(left_out),
        later=compare_kinds(results),
        verdict=weigh(found, np.isfinite(collapse)),
        num_collapsed=num,
        num_hardest=len(collapse),
    )


def weigh(with_all: Array, without: Array) -> str:
    """Whether the collapse needs those examples, from who collapses with and without.

    One network that collapses without them shows that it does not. That it does is
    said where all collapse with them, and the share of those that do without has a
    95 % interval (Clopper and Pearson) below one half.
    """
    if without.any():
        return NOT_NEEDED
    _, high = share_interval(int(without.sum()), len(without))
    return NEEDED if with_all.all() and high < 0.5 else NOT_SAID


def compare_kinds(results: xr.Dataset) -> list[dict[str, Any]]:
    """Epochs by which leaving out the hardest is later than as many others, paired.

    p by Holm over shares and events. Where a network was watched in vain there is no
    difference, only how many were.
    """
    shares = [n.removeprefix(HARDEST) for n in map(str, results["arm"].values)]
    shares = [one for one in shares if one.startswith(",")]
    rows: list[dict[str, Any]] = []
    for share in shares:
        for event in EVENTS:
            pair = [results[event].sel(arm=f"{k}{share}").to_numpy() for k in KINDS]
            rows.append({"share": share.strip(", "), "event": event, "pair": pair})
    seen = {
        i: row["pair"] for i, row in enumerate(rows) if np.isfinite(row["pair"]).all()
    }
    apart = {i: pair[0] - pair[1] for i, pair in seen.items()}
    zero = np.zeros(results.sizes["replica"])
    tested = describe_differences(apart, zero) if apart else {}
    for i, row in enumerate(rows):
        row["difference"] = tested.get(i)
        row["is_later"] = i in tested and tested[i]["p"] <= ALPHA
        row["num_never"] = [int(np.isnan(one).sum()) for one in row.pop("pair")]
    return rows


def _describe(one: xr.Dataset) -> dict[str, Any]:
    """Dates and heights of one arm."""
    dates = {name: interval_and_count(one[name].to_numpy()) for name in EVENTS}
    late = one.isel(epoch=slice(-len(one["epoch"]) // 10, None)).median("epoch")
    return {
        **dates,
        "num_left_out": int(one["num_left_out"]),
        "highest": interval(one["train_accuracy"].max("epoch")),
        "highest_test": interval(one["test_accuracy"].max("epoch")),
        "last": interval(late["train_accuracy"]),
        "last_abandoned": interval(late["abandoned"]),
    }
