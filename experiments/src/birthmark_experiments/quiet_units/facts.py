"""What units do, and what the weights of the others are without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.shapes import Array
from birthmark.statistics import ALPHA, holm, interval, summarize_curves
from ..frame import Facts, each

QUIET = 0.05  # share of the images below which a unit is quiet
STILL = 0.5  # of the bound: a row whose rms deviation is at most this is still
SELECTIONS = ("all", "active", "moving")  # units: all, not quiet, not still
WIDTH_OF_BINS, NUM_BINS = 0.05, 40  # of the size of the deviation, of the bound
FLAT = (0.2, 0.4)  # of the bound: where the density is compared with that at zero


@dataclass(frozen=True)
class QuietUnitsFacts(Facts):
    """By background: quiet units, still rows, how they overlap, and the peak."""

    protocol: str
    num_replicas: int
    num_units: int
    last: int  # epoch
    rows: Sequence[Mapping[str, Any]]  # by background and epoch
    ends: Mapping[str, Mapping[str, Any]]  # by background, at the last epoch
    taken: Mapping[str, float]  # share of the white peak that goes with quiet units
    is_left_on_black: bool  # more of a peak than rows that move have on white
    letters: Mapping[str, Any]  # a letter that was never set, at the last epoch
    quiet: float = QUIET
    still: float = STILL


def summarize(results: xr.Dataset) -> QuietUnitsFacts:
    """By background: quiet units, still rows, how they overlap, and the peak."""
    rows = [
        {"background": background, **_describe(now, int(epoch))}
        for background, one in each(results, "background").items()
        for epoch, now in each(one, "kept_epoch").items()
    ]
    last = int(results["kept_epoch"][-1])
    ends = {one["background"]: one for one in rows if one["epoch"] == last}
    # of all networks of both backgrounds together
    tests = holm([p for end in ends.values() for p in end["overlap_p"]])
    for place, end in enumerate(ends.values()):
        n = results.sizes["replica"]
        mine = tests[place * n : (place + 1) * n]
        end["belong"] = bool((np.asarray(mine) <= ALPHA).all())
        end["largest_p"] = float(np.max(mine))
    return QuietUnitsFacts.read(
        results,
        last=last,
        rows=rows,
        ends=ends,
        taken=_find_taken(ends["white"]["peaks"]),
        is_left_on_black=_is_higher(ends["black"], ends["white"]),
        letters=_read_letters(results.sel(kept_epoch=last)),
    )


def _describe(now: xr.Dataset, epoch: int) -> dict[str, Any]:
    """What the units of one background do at one epoch."""
    ordered = now.transpose("replica", ...)
    activity_RU = ordered["activity"].to_numpy()
    quiet_RU = activity_RU < QUIET
    still_RU = ordered["moved"].to_numpy() <= STILL
    peaks = {
        name: _describe_peak(find_peaks(one))
        for name, one in each(ordered["density"], "selection").items()
    }
    return {
        "epoch": epoch,
        "quiet": quiet_RU.sum(axis=1).tolist(),
        "still": still_RU.sum(axis=1).tolist(),
        "both": (quiet_RU & still_RU).sum(axis=1).tolist(),
        "overlap_p": [
            overlap_p(*pair) for pair in zip(quiet_RU, still_RU, strict=True)
        ],
        "peaks": peaks,
        # medians over units of all networks: of still rows, not counting quiet units
        "activity_of_still": _median(activity_RU[still_RU & ~quiet_RU]),
        "activity_of_moving": _median(activity_RU[~still_RU]),
        "train_loss": float(now["train_loss"].mean()),
    }


def _median(values: Array) -> float:
    return float(np.median(values)) if values.size else np.nan


def overlap_p(quiet_U: Array, still_U: Array) -> float:
    """How often as many still rows would belong to quiet units by chance.

    Hypergeometric: the still rows are any of all rows.
    """
    both, num = int((quiet_U & still_U).sum()), len(quiet_U)
    return float(stats.hypergeom.sf(both - 1, num, quiet_U.sum(), still_U.sum()))


def find_peaks(density: xr.DataArray) -> Array:
    """The density of the size of the deviation at zero, over that further out, [R]."""
    ordered = density.transpose("replica", "bin")
    centres = ordered["bin"].to_numpy()
    further = (centres > FLAT[0]) & (centres < FLAT[1])
    values = ordered.to_numpy().astype(float)
    flat_R = values[:, further].mean(axis=1)
    peaks: Array = values[:, 0] / np.where(flat_R > 0, flat_R, np.nan)
    return peaks


def _describe_peak(peak_R: Array) -> dict[str, Any]:
    """Geometric mean with Student's interval of the logarithms; 1 is no peak."""
    found = summarize_curves(peak_R, "log")
    ends = {"mean": float(found.mean), "low": float(found.low)}
    return {**ends, "high": float(found.high), "each": peak_R.tolist()}


def _find_taken(peaks: Mapping[str, Any]) -> dict[str, float]:
    """How much of what is above a flat density goes with the quiet units."""
    above_all, above_active = (
        np.asarray(peaks[name]["each"]) - 1 for name in ("all", "active")
    )
    return interval(1 - above_active / above_all)


def _is_higher(black: Mapping[str, Any], white: Mapping[str, Any]) -> bool:
    """Whether the black peak lies above that of the white rows that are not still."""
    return bool(black["peaks"]["all"]["low"] > white["peaks"]["moving"]["high"])


def _read_letters(now: xr.Dataset) -> dict[str, Any]:
    """How often a letter that was never set is read in trained networks."""
    is_read = (now["letter_rank"] == 1) & (now["letter_p"] <= ALPHA)
    return {
        "n": is_read.size,
        "read": int(is_read.sum()),
        "above_twins": int((now["letter_p"] <= ALPHA).sum()),
        "auc": [float(now["letter_auc"].min()), float(now["letter_auc"].max())],
        "ranks": sorted(now["letter_rank"].to_numpy().astype(int).ravel().tolist()),
    }
