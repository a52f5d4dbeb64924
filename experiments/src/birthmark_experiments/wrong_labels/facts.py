"""What becomes of networks that never see the examples abandoned first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.analysis import running_median
from birthmark.shapes import Array
from birthmark.statistics import ALPHA, interval
from ..frame import Facts, each
from ..paper.moments_of_training import PLATEAUS, stays_above

ALL, WITHOUT = "all examples", "without them"
WINDOW = 20  # epochs of the running median by which rise and collapse are dated
RISE = 2.0  # times the minimum: the rise has begun
COLLAPSED = PLATEAUS[-1]  # of the plateau: everything is lost
NOT_NEEDED, NEEDED, NOT_SAID = "not needed", "needed", "cannot be said"


@dataclass(frozen=True)
class Verdict:
    """Whether the collapse needs the examples that were left out."""

    verdict: str
    num_all: int  # networks that collapsed with all examples
    n_all: int
    num_without: int
    n_without: int
    p: float  # Fisher's, two-sided, of the two numbers
    least_p: float  # if all of one and none of the other collapsed


@dataclass(frozen=True)
class WrongLabelsFacts(Facts):
    """By arm what the networks did, and the paired differences of their dates."""

    protocol: str
    num_examples: int
    num_left_out: int
    num_epochs: int
    early: int
    arms: Mapping[str, Mapping[str, Sequence[float]]]  # a number a network
    verdict: Verdict
    later: Mapping[str, Mapping[str, float]]  # epochs later without them, paired
    shares: Sequence[Mapping[str, Any]]  # abandoned visits by epoch and arm
    rise: float = RISE
    collapsed: float = COLLAPSED
    window: int = WINDOW


def summarize(results: xr.Dataset) -> WrongLabelsFacts:
    """By arm what the networks did, and the paired differences of their dates."""
    plateau = float(results.attrs["plateau"])
    arms = {n: _describe(one, plateau) for n, one in each(results, "examples").items()}
    # of the same replicas: those of the run come first
    count = len(arms[WITHOUT]["rise_epoch"])
    dates = ("rise_epoch", "collapse_epoch")
    both = {n: (arms[WITHOUT][n], arms[ALL][n][:count]) for n in dates}
    seen = {n: pair for n, pair in both.items() if np.isfinite(pair).all()}
    return WrongLabelsFacts.read(
        results,
        arms=arms,
        verdict=weigh(*(arms[n]["collapse_epoch"] for n in (ALL, WITHOUT))),
        later={n: interval(np.subtract(*pair)) for n, pair in seen.items()},
        shares=_describe_shares(results),
    )


def weigh(all_R: Sequence[float], without_R: Sequence[float]) -> Verdict:
    """Whether networks collapse without the examples as well.

    One that does shows that the collapse needs none of them. That it needs them takes
    more than none that does: Fisher's exact test of the two numbers.

    Args:
        all_R: Epochs of the collapse with all examples; NaN: none.
        without_R: The same without them.
    """
    (k, n), (j, m) = ((int(np.isfinite(x).sum()), len(x)) for x in (all_R, without_R))
    p = float(stats.fisher_exact([[k, n - k], [j, m - j]]).pvalue)
    verdict = NOT_NEEDED if j else NEEDED if p <= ALPHA else NOT_SAID
    least = float(stats.fisher_exact([[n, 0], [0, m]]).pvalue)
    return Verdict(verdict, k, n, j, m, p, least)


def _describe(one: xr.Dataset, plateau: float) -> dict[str, list[float]]:
    """Minima and dates of each network of an arm."""
    one = one.dropna("replica", how="all")
    epochs = one["epoch"].to_numpy().astype(float)
    train_TR, test_TR = (
        one[name].transpose("epoch", "replica").to_numpy()
        for name in ("train_loss", "test_loss")
    )
    smooth_TR = running_median(train_TR, WINDOW)
    level_R = np.full(train_TR.shape[1], COLLAPSED * plateau)
    found: dict[str, Array] = {
        "min_train": train_TR.min(axis=0),
        "min_train_epoch": epochs[train_TR.argmin(axis=0)],
        "min_test": test_TR.min(axis=0),
        "rise_epoch": stays_above(epochs, smooth_TR, RISE * smooth_TR.min(axis=0)),
        "collapse_epoch": stays_above(epochs, smooth_TR, level_R),
        "last_train": train_TR[-1],
    }
    return {name: values.astype(float).tolist() for name, values in found.items()}


def _describe_shares(results: xr.Dataset) -> list[dict[str, Any]]:
    """Share of the visits that were abandoned, a mean over replicas, on the way."""
    num = results.attrs["num_examples"]
    left_out = {ALL: 0, WITHOUT: results.attrs["num_left_out"]}
    last = int(results["epoch"][-1])
    shown = sorted({int(results.attrs["early"]), *range(100, last, 100), last})
    rows = []
    for epoch in (one for one in shown if one <= last):
        now = results["abandoned"].sel(epoch=epoch).mean("replica")
        share = {n: float(now.sel(examples=n)) / (num - k) for n, k in left_out.items()}
        rows.append({"epoch": epoch, **share})
    return rows


def say_epochs(values: Sequence[float]) -> str:
    """Epochs of the networks; a dash where it did not come."""
    return ", ".join("–" if math.isnan(x) else f"{x:.0f}" for x in values)
