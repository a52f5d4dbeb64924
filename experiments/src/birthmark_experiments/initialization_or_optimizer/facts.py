"""What eight starts under three optimizers say: shares of variance, and who leads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import Outcome, rank
from ..frame import Facts, each
from ..frame.curves import stack_interval, take
from ..statistics import PARTS, correlate_ranks, share_variance


@dataclass(frozen=True)
class InitializationOrOptimizerFacts(Facts):
    """Shares for each outcome, how firm they are, and the steps of each cell."""

    protocol: str
    budget: int
    levels: Sequence[float]
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
    early, low = results.isel(level=0), results.isel(level=-1)
    logs_ABR = np.log(_ordered(low["steps"]))
    censored_ABR = _ordered(low["is_censored"])
    optimizers = each(low, "optimizer")
    cells = {name: _tabulate(one) for name, one in optimizers.items()}
    shares = {
        "steps_early": _shares(np.log(_ordered(early["steps"]))),
        "steps": _shares(logs_ABR),
        "test_accuracy": _shares(_ordered(results["test_accuracy"])),
    }
    return InitializationOrOptimizerFacts.read(
        results,
        levels=results["level"].to_numpy().tolist(),
        names=results["initialization"].to_numpy().tolist(),
        optimizers=list(optimizers),
        lrs={name: float(one["lr"]) for name, one in optimizers.items()},
        search={name: _list_search(one) for name, one in optimizers.items()},
        shares=shares,
        num_censored=int(censored_ABR.sum()),
        num_runs=int(censored_ABR.size),
        doubled=_shares(logs_ABR + np.log(2) * censored_ABR),
        without_one=_leave_out(results, logs_ABR),
        cells={
            name: {optimizer: cell[name] for optimizer, cell in cells.items()}
            for name in results["initialization"].to_numpy().tolist()
        },
        factors=_ranges(results, logs_ABR),
    )


def _shares(values_ABR: Array) -> dict[str, dict[str, float]]:
    if not np.ptp(values_ABR):
        return {}
    shares = share_variance(values_ABR)
    return {part: vars(shares[part]) for part in PARTS}


def _ordered(values: xr.DataArray) -> Array:
    dims = ("initialization", "optimizer", "replica")
    return np.asarray(values.transpose(*dims).to_numpy(), dtype=float)


def _leave_out(results: xr.Dataset, logs_ABR: Array) -> dict[str, Any]:
    """How the shares move when one start is not among the eight."""
    names = results["initialization"].to_numpy().tolist()
    if len(names) < 3:
        return {}
    rows: list[dict[str, Any]] = []
    for row, name in enumerate(names):
        shares = share_variance(np.delete(logs_ABR, row, axis=0))
        rows.append({"name": name} | {p: one.omega2 for p, one in shares.items()})
    rows.sort(key=lambda row: row["first"])
    return {"lowest": rows[0], "highest": rows[-1]}


def _ranges(results: xr.Dataset, logs_ABR: Array) -> dict[str, Any]:
    """How many times slower the slowest level of each factor is than the quickest."""
    optimizers = results["optimizer"].to_numpy().tolist()
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
        "orders": orders,
        "within": dict(zip(optimizers, map(float, within_B), strict=True)),
    }


def _tabulate(one: xr.Dataset) -> dict[str, dict[str, Any]]:
    """By start, of an optimizer: geometric mean of the steps, interval, letters."""
    names = one["initialization"].to_numpy().tolist()
    arrays = take(one, ("steps", "is_censored"), "initialization", "replica")
    values_AR, censored_AR = np.log(arrays["steps"]), arrays["is_censored"] > 0
    outcome = Outcome(
        "steps", "log of the steps", "1", "low", values_AR, censored_AR, how=""
    )
    letters = {one.name: one.letters for one in rank(names, outcome).standings}
    mean_3A = stack_interval(arrays["steps"], "log")
    return {
        name: {
            **dict(zip(("mean", "low", "high"), mean_3A[:, row].tolist(), strict=True)),
            "num_censored": int(censored_AR[row].sum()),
            "letters": letters[name],
            "accuracy": float(start["test_accuracy"].mean()),
        }
        for row, (name, start) in enumerate(each(one, "initialization").items())
    }


def _list_search(one: xr.Dataset) -> list[dict[str, float]]:
    pairs = zip(one["searched_lr"].values, one["search"].values, strict=True)
    return [
        {"lr": float(lr), "steps": float(steps)}
        for lr, steps in pairs
        if np.isfinite(lr)
    ]
