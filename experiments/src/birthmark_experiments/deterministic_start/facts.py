"""What starts without chance reach, and what training keeps, as facts for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from birthmark.statistics import PowerLaw, fit_power_law, interval
from ..frame import Facts, each
from ..frame.rankings import difference, read_rankings, tabulate
from .protocol import DETERMINISTIC, NTK_LRS, PERMUTED, REFERENCE, STANDARD

_FEW = ("outside_share", "outside_start")


@dataclass(frozen=True)
class DeterministicStartFacts(Facts):
    """Outcomes by start, what is kept of null spaces and distances, exponents."""

    protocol: str
    starts: Sequence[str]
    deterministic: Sequence[str]
    permuted: str
    titles: Mapping[str, str]
    outcomes: Mapping[str, Mapping[str, Any]]
    differences: Mapping[str, Mapping[str, Any]]
    same_variance: Mapping[str, Any] | None
    spaces: Mapping[str, Mapping[str, Any]]
    chance: float
    num_inputs: int
    width: int
    span: int
    few_span: int
    few: Mapping[str, Mapping[str, float]]
    class_ratio_of_inputs: float
    gates: Mapping[str, Mapping[str, Any]]
    ntk_lrs: Mapping[str, float]


def summarize(results: xr.Dataset) -> DeterministicStartFacts:
    """Outcomes by start, what is kept of null spaces and distances, exponents."""
    rankings, by_start = read_rankings(results), each(results, "initialization")
    starts, losses = list(by_start), rankings["mean_test_loss"]
    return DeterministicStartFacts.read(
        results,
        starts=starts,
        deterministic=[name for name in starts if name in DETERMINISTIC],
        permuted=PERMUTED,
        titles={k: r.outcome.title for k, r in rankings.items()},
        outcomes={k: tabulate(r) for k, r in rankings.items()},
        differences={
            outcome: {
                name: difference(rankings[outcome], name, REFERENCE)
                for name in starts
                if name != REFERENCE
            }
            for outcome in ("test_accuracy", "mean_test_loss", "steps_2")
        },
        same_variance=difference(losses, "signed_constant", "he_normal")
        if "he_normal" in starts
        else None,
        spaces={name: _spaces_of(one) for name, one in by_start.items()},
        chance=float(results.attrs["width"] / results.attrs["num_inputs"]),
        few={
            name: {key: float(one[f"few_{key}"].mean()) for key in _FEW}
            for name, one in each(results, "few_initialization").items()
        },
        class_ratio_of_inputs=float(results["class_ratio_of_inputs"]),
        gates={name: _gates_of(results, name) for name in (STANDARD, *NTK_LRS)},
        ntk_lrs=NTK_LRS,
    )


def _spaces_of(one: xr.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: interval(one[key])
        for key in ("row_overlap", "largest_angle", "row_share", "outside_share")
    }
    for moment, then in each(one, "moment").items():
        last = then.sel(layer="hidden2")
        for key in ("distortion", "class_ratio"):
            found.setdefault(key, {})[f"hidden2 {moment}"] = float(last[key].mean())
        for move, here in each(then, "move").items():
            for key in ("output_change", "changed_share"):
                found.setdefault(key, {})[f"{move}, {moment}"] = interval(here[key])
    return found


def fit_flips(results: xr.Dataset, name: str) -> PowerLaw:
    """The power law of the share of flipped gates in the width."""
    widths = each(results.sel(parametrization=name), "width")
    fit = fit_power_law({n: one["flips"].to_numpy() for n, one in widths.items()})
    assert fit is not None  # there are several widths
    return fit


def _gates_of(results: xr.Dataset, name: str) -> dict[str, Any]:
    fit = fit_flips(results, name)
    last = fit_flips(results.isel(width=slice(-2, None)), name)
    widths = each(results.sel(parametrization=name), "width")
    return {
        "last_exponent": last.exponent,
        "last_low": last.low,
        "last_high": last.high,
        "exponent": fit.exponent,
        "low": fit.low,
        "high": fit.high,
        "r_squared": fit.r_squared,
        "flips": {n: interval(one["flips"]) for n, one in widths.items()},
        "losses": {n: interval(one["gate_loss"]) for n, one in widths.items()},
    }
