"""What starts without chance reach, and what training keeps, as facts for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from birthmark.statistics import PowerLaw, fit_power_law, interval
from birthmark_experiments.deterministic_start.protocol import (
    DETERMINISTIC,
    MOMENTS,
    MOVES,
    NTK_LRS,
    REFERENCE,
    STANDARD,
)
from birthmark_experiments.frame import Facts
from birthmark_experiments.frame.rankings import difference, read_rankings, tabulate


@dataclass(frozen=True)
class DeterministicStartFacts(Facts):
    """Outcomes by start, what is kept of null spaces and distances, exponents."""

    protocol: str
    num_replicas: int
    starts: Sequence[str]
    deterministic: Sequence[str]
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
    rankings = read_rankings(results)
    starts = [str(name) for name in results["initialization"].to_numpy()]
    return DeterministicStartFacts.read(
        results,
        starts=starts,
        deterministic=[name for name in starts if name in DETERMINISTIC],
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
        same_variance=difference(
            rankings["mean_test_loss"], "signed_constant", "he_normal"
        )
        if "he_normal" in starts
        else None,
        spaces={name: _spaces_of(results, name) for name in starts},
        chance=float(results.attrs["width"] / results.attrs["num_inputs"]),
        few={
            str(name): {
                key: float(results[f"few_{key}"].sel(few_initialization=name).mean())
                for key in ("outside_share", "outside_start", "row_overlap")
            }
            for name in results["few_initialization"].to_numpy()
        },
        class_ratio_of_inputs=float(results["class_ratio_of_inputs"]),
        gates={name: _gates_of(results, name) for name in (STANDARD, *NTK_LRS)},
        ntk_lrs=NTK_LRS,
    )


def _spaces_of(results: xr.Dataset, name: str) -> dict[str, Any]:
    one = results.sel(initialization=name)
    found: dict[str, Any] = {
        key: interval(one[key])
        for key in ("row_overlap", "largest_angle", "row_share", "outside_share")
    }
    for key in ("distortion", "class_ratio"):
        found[key] = {
            f"{layer} {moment}": float(one[key].sel(layer=layer, moment=moment).mean())
            for layer in ("hidden1", "hidden2")
            for moment in MOMENTS
        }
    for key in ("output_change", "changed_share", "move_length"):
        found[key] = {
            f"{move}, {moment}": interval(one[key].sel(move=move, moment=moment))
            for move in MOVES
            for moment in MOMENTS
        }
    return found


def fit_flips(results: xr.Dataset, name: str) -> PowerLaw:
    """The power law of the share of flipped gates in the width."""
    flips = results["flips"].sel(parametrization=name)
    fit = fit_power_law(
        {int(n): flips.sel(width=n).to_numpy() for n in results["width"].to_numpy()}
    )
    assert fit is not None  # there are several widths
    return fit


def _gates_of(results: xr.Dataset, name: str) -> dict[str, Any]:
    fit = fit_flips(results, name)
    one = results.sel(parametrization=name)
    last = fit_flips(results.isel(width=slice(-2, None)), name)
    return {
        "last_exponent": last.exponent,
        "last_low": last.low,
        "last_high": last.high,
        "exponent": fit.exponent,
        "low": fit.low,
        "high": fit.high,
        "r_squared": fit.r_squared,
        "flips": {int(n): interval(one["flips"].sel(width=n)) for n in one["width"]},
        "losses": {
            int(n): interval(one["gate_loss"].sel(width=n)) for n in one["width"]
        },
    }
