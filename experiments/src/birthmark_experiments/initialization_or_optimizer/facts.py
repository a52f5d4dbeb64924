"""What eight starts under three optimizers say: shares of variance, and who leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import Outcome, rank, summarize_curves
from birthmark_experiments.frame import Facts
from birthmark_experiments.statistics import PARTS, correlate_ranks, share_variance


@dataclass(frozen=True)
class InitializationOrOptimizerFacts(Facts):
    """Shares for each outcome, how firm they are, and the steps of each cell."""

    protocol: str
    budget: int
    levels: Sequence[float]
    num_replicas: int
    names: Sequence[str]
    optimizers: Sequence[str]
    lrs: Mapping[str, float]
    search: Mapping[str, Sequence[Mapping[str, float]]]
    shares: Mapping[str, Mapping[str, Any]]
    num_censored: int
    num_runs: int
    doubled: Mapping[str, Mapping[str, float]]
    without_one: Mapping[str, Mapping[str, Any]]
    cells: Mapping[str, Mapping[str, Any]]
    factors: Mapping[str, Any]


def summarize(results: xr.Dataset) -> InitializationOrOptimizerFacts:
    """Shares for each outcome, how firm they are, and the steps of each cell."""
    level = results.sizes["level"] - 1  # the lower loss
    logs_ABR = _logs(results, level)
    censored_ABR = _censored(results, level)
    shares = {
        "steps_early": _shares(_logs(results, 0)),
        "steps": _shares(logs_ABR),
        "test_accuracy": _shares(_ordered(results["test_accuracy"])),
    }
    return InitializationOrOptimizerFacts.read(
        results,
        levels=[float(one) for one in results["level"].to_numpy()],
        names=[str(one) for one in results["initialization"].to_numpy()],
        optimizers=[str(one) for one in results["optimizer"].to_numpy()],
        lrs={str(one.optimizer.item()): float(one) for one in results["lr"]},
        search=_tabulate_search(results),
        shares=shares,
        num_censored=int(censored_ABR.sum()),
        num_runs=int(censored_ABR.size),
        doubled=_shares(logs_ABR + np.log(2) * censored_ABR),
        without_one=_leave_out(results, logs_ABR),
        cells=_tabulate(results, level),
        factors=_ranges(results, logs_ABR),
    )


def _shares(values_ABR: Array) -> dict[str, dict[str, float]]:
    if not np.ptp(values_ABR):
        return {}
    shares = share_variance(values_ABR)
    return {
        part: {k: float(v) for k, v in vars(shares[part]).items()} for part in PARTS
    }


def _logs(results: xr.Dataset, level: int) -> Array:
    return np.log(_ordered(results["steps"].isel(level=level)))


def _censored(results: xr.Dataset, level: int) -> Array:
    return _ordered(results["is_censored"].isel(level=level))


def _ordered(values: xr.DataArray) -> Array:
    dims = ("initialization", "optimizer", "replica")
    return np.asarray(values.transpose(*dims).to_numpy(), dtype=float)


def _leave_out(results: xr.Dataset, logs_ABR: Array) -> dict[str, Any]:
    """How the shares move when one start is not among the eight."""
    names = [str(one) for one in results["initialization"].to_numpy()]
    if len(names) < 3:
        return {}
    omega2 = {
        name: {
            part: share.omega2
            for part, share in share_variance(np.delete(logs_ABR, row, axis=0)).items()
        }
        for row, name in enumerate(names)
    }
    lowest = min(omega2, key=lambda name: omega2[name]["first"])
    highest = max(omega2, key=lambda name: omega2[name]["first"])
    return {
        "lowest": {"name": lowest, **omega2[lowest]},
        "highest": {"name": highest, **omega2[highest]},
    }


def _ranges(results: xr.Dataset, logs_ABR: Array) -> dict[str, Any]:
    """How many times slower the slowest level of each factor is than the quickest."""
    optimizers = [str(one) for one in results["optimizer"].to_numpy()]
    mean_AB = logs_ABR.mean(axis=2)
    orders = [
        correlate_ranks(mean_AB[:, i], mean_AB[:, j]).rho
        for i, j in combinations(range(len(optimizers)), 2)
    ]
    within_B = np.exp(np.ptp(mean_AB, axis=0))
    return {
        "initialization": float(np.exp(np.ptp(logs_ABR.mean(axis=(1, 2))))),
        "optimizer": float(np.exp(np.ptp(logs_ABR.mean(axis=(0, 2))))),
        # rank correlations of the starts between two optimizers
        "orders": [float(rho) for rho in orders],
        "within": dict(zip(optimizers, map(float, within_B), strict=True)),
    }


def _tabulate(results: xr.Dataset, level: int) -> dict[str, dict[str, Any]]:
    """By start and optimizer: geometric mean of the steps, interval, letters."""
    names = [str(one) for one in results["initialization"].to_numpy()]
    cells: dict[str, dict[str, Any]] = {name: {} for name in names}
    for optimizer in results["optimizer"].to_numpy():
        one = results.sel(optimizer=optimizer).isel(level=level)
        steps_AR = one["steps"].transpose("initialization", "replica").to_numpy()
        censored_AR = one["is_censored"].transpose("initialization", "replica")
        curve = summarize_curves(steps_AR, "log")
        outcome = Outcome(
            name="steps",
            title="log of the steps",
            unit="1",
            better="low",
            values_AR=np.log(steps_AR),
            censored_AR=censored_AR.to_numpy().astype(bool),
            how="",
        )
        letters = {one.name: one.letters for one in rank(names, outcome).standings}
        accuracy_A = one["test_accuracy"].mean("replica").to_numpy()
        for row, name in enumerate(names):
            cells[name][str(optimizer)] = {
                "mean": float(curve.mean[row]),
                "low": float(curve.low[row]),
                "high": float(curve.high[row]),
                "num_censored": int(outcome.censored_AR[row].sum()),
                "letters": letters[name],
                "accuracy": float(accuracy_A[row]),
            }
    return cells


def _tabulate_search(results: xr.Dataset) -> dict[str, list[dict[str, float]]]:
    return {
        str(one.optimizer.item()): [
            {"lr": float(lr), "steps": float(steps)}
            for lr, steps in zip(
                one["searched_lr"].to_numpy(), one.to_numpy(), strict=True
            )
            if np.isfinite(lr)
        ]
        for one in results["search"].transpose("optimizer", "candidate")
    }
