"""What the trials with other details of the protocol say."""

import csv
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import (
    FIGURE_1B,
    FIGURE_2,
    Published,
    Thresholds,
    divergence_level,
)
from birthmark.shapes import Array
from birthmark.store import open_shipped
from ..frame import Facts, each
from ..paper.moments_of_training import DATED_OVER, date_rise
from ..statistics import ExactTrend, exact_trend

REFERENCE = "as reproduced"
FROM_LOGITS = "buffer of 1,000, loss from logits"
NEIGHBOURS = (  # what keeps an example's neighbours, its place, or both
    "same neighbours, same place",
    "same neighbours, new place",
    "same place, new neighbours",
)
NUM_TRAIN = 151_241  # examples of HASYv2, fold 1


@dataclass(frozen=True)
class ProtocolDetailsFacts(Facts):
    """By arm: minima, and when it got past the least train loss that was published."""

    protocol: str
    arms: Sequence[Mapping[str, Any]]
    widths: Sequence[int]
    buffers: Sequence[int]
    fitting: Sequence[int]
    figure_1b: Mapping[str, float]
    fork: int
    level: float
    published: Mapping[int, Mapping[str, float]]
    followed: Sequence[Mapping[str, Any]]  # with a buffer, to the last epoch, by width
    trend: ExactTrend  # of getting through the fork, over all buffers
    neighbours: Mapping[str, Mapping[str, Any]]  # arms that keep them, by name
    company: ExactTrend  # of getting through, neighbours kept (0) or new (1)
    sorted_files: Mapping[int, float]  # train loss of the trial with them, by epoch
    window: int = DATED_OVER
    plateau_share: float = Thresholds().divergence
    from_logits: str = FROM_LOGITS


def summarize(results: xr.Dataset) -> ProtocolDetailsFacts:
    """By arm: minima, and when it got past the least train loss that was published."""
    published = {one.width: one for one in FIGURE_2}
    fork = int(results.attrs["fork"])
    level = published[fork].min_train_loss / 2 if fork in published else math.nan
    arms = [_describe(one, level, published) for one in each(results, "arm").values()]
    widths = sorted({one["width"] for one in arms})
    buffers = sorted({one["buffer"] for one in arms} - {0})
    return ProtocolDetailsFacts.read(
        results,
        arms=sorted(arms, key=lambda one: not one["is_reference"]),
        widths=widths,
        buffers=buffers,
        fitting=_find_fitting(arms, fork, widths[-1]),
        figure_1b=FIGURE_1B,
        fork=fork,
        level=level,
        published={w: vars(published[w]) for w in widths if w in published},
        followed=_follow(level, published),
        trend=_find_trend(arms, fork),
        neighbours={one["name"]: one for one in arms if one["name"] in NEIGHBOURS},
        company=_weigh_company(arms, fork),
        sorted_files=_read_sorted(),
    )


def _find_trend(arms: list[dict[str, Any]], fork: int) -> ExactTrend:
    """Networks that get through the fork against the size of the buffer.

    A new random order is a buffer that holds all examples.
    """
    all_here = [one for one in arms if one["width"] == fork]
    orders = [one for one in all_here if one["buffer"] or one["is_reference"]]
    here = [one for one in orders if one["name"] != FROM_LOGITS]
    return exact_trend(
        [math.log(one["buffer"] or NUM_TRAIN) for one in here],
        [one["num_passed"] for one in here],
        [one["replicas"] for one in here],
    )


def _weigh_company(arms: list[dict[str, Any]], fork: int) -> ExactTrend:
    """Networks that get through the fork with neighbours kept, and with new ones.

    New are those of the drift and of a new random order. What comes after the epochs
    of the shortest arm does not count.
    """
    kept, new = NEIGHBOURS[:2], (*NEIGHBOURS[2:], REFERENCE)
    groups = [
        [one for one in arms if one["width"] == fork and one["name"] in names]
        for names in (kept, new)
    ]
    until = min((one["epochs"] for group in groups for one in group), default=0)
    passed = [[e <= until for one in group for e in one["passed"]] for group in groups]
    return exact_trend([0, 1], [*map(sum, passed)], [*map(len, passed)])


def _read_sorted() -> dict[int, float]:
    """One network of width 250, files sorted by class, a buffer of 60,000, in bf16."""
    path = Path(__file__).with_name("sorted_60k.csv")
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    return {int(r["epoch"]): float(r["train_loss"] or "nan") for r in rows}


@functools.cache
def find_divergence_level() -> float:
    """The train loss at which a network of HASYv2 has lost everything.

    By the library's definition, of the runs that ship with this question.
    """
    store = open_shipped("protocol_details")
    key = store.runs()["run_key"][0]
    records = store.records(key, distributions=False)
    return divergence_level(store.spec(key), records, Thresholds())


def _follow(level: float, published: dict[int, Published]) -> list[dict[str, Any]]:
    """The runs that ship with this question, described as the arms are."""
    store, arms = open_shipped("protocol_details"), []
    for key in store.runs()["run_key"]:
        spec, records = store.spec(key), store.records(key)
        kept = records[["train_loss", "test_loss"]].swap_dims(step="epoch")
        one = kept.sel(epoch=kept.epoch > 0).drop_vars("step").reset_coords(drop=True)
        buffer, width = spec.training.shuffle_buffer or 0, spec.network.widths[0]
        one = one.assign_coords(arm="followed", width=width, buffer=buffer)
        arms.append(_describe(one, level, published))
    return sorted(arms, key=lambda arm: arm["width"])


def _describe(
    one: xr.Dataset, level: float, published: dict[int, Published]
) -> dict[str, Any]:
    """What one arm did, a number for each network, and beside what was published."""
    name, width = str(one["arm"].item()), int(one["width"])
    train = one["train_loss"].dropna("replica", how="all").dropna("epoch")
    test = one["test_loss"].sel(epoch=train.epoch, replica=train.replica)
    epochs = train.epoch.to_numpy()
    loss_TR = train.transpose("epoch", "replica").to_numpy()
    rise_R, plateau_R = date_rise(epochs, loss_TR, find_divergence_level())
    passed = [_find_first(epochs, losses_T <= level) for losses_T in loss_TR.T]
    arm = {
        "name": name.partition(", width")[0],
        "is_reference": name.startswith(REFERENCE),
        "width": width,
        "buffer": int(one["buffer"]),
        "replicas": train.sizes["replica"],
        "epochs": int(epochs[-1]),
        "passed": passed,
        "num_passed": sum(map(math.isfinite, passed)),
        "min_train": train.min("epoch").to_numpy().tolist(),
        "min_train_epoch": _epochs_of_minimum(train),
        "rise": rise_R.tolist(),
        "plateau": plateau_R.tolist(),
        "final_train": np.median(loss_TR[-DATED_OVER:], axis=0).tolist(),
        "min_test": test.min("epoch").to_numpy().tolist(),
        "min_test_epoch": _epochs_of_minimum(test),
    }
    return arm | {"over_published": _compare(arm, published.get(width))}


def _compare(arm: dict[str, Any], published: Published | None) -> dict[str, float]:
    """Means over the networks, over the published numbers; NaN where one has none."""
    if published is None:
        return {}
    against = {
        "min_train": published.min_train_loss,
        "min_train_epoch": published.min_train_epoch,
        "rise": published.divergence_epoch,
        "plateau": published.divergence_epoch,
    }
    return {name: float(np.mean(arm[name]) / value) for name, value in against.items()}


def _find_fitting(arms: list[dict[str, Any]], fork: int, wide: int) -> list[int]:
    """Buffers with which no network of the fork gets through and all wider ones do."""
    shares = {
        (one["width"], one["buffer"]): one["num_passed"] / one["replicas"]
        for one in arms
        if one["buffer"] and one["name"] != FROM_LOGITS
    }
    sizes = sorted({size for _, size in shares})
    return [s for s in sizes if not shares[fork, s] and shares.get((wide, s)) == 1]


def _find_first(epochs: Array, flags: Array) -> float:
    """The first epoch at which it is true; NaN: none."""
    return float(epochs[flags.argmax()]) if flags.any() else math.nan


def _epochs_of_minimum(loss: xr.DataArray) -> list[int]:
    epochs: list[int] = loss.idxmin("epoch").to_numpy().astype(int).tolist()
    return epochs
