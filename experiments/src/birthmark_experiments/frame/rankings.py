"""Rankings of a recorded comparison, and what a page says of them."""

from typing import Any, Literal

import xarray as xr

from birthmark.statistics import Outcome, Ranking, rank

# of netCDF no text is empty
BETTER: dict[str, Literal["low", "high", ""]] = {"low": "low", "high": "high", "-": ""}


def read_rankings(results: xr.Dataset) -> dict[str, Ranking]:
    """The rankings of a recorded comparison, by the name of their outcome."""
    names = [str(name) for name in results["initialization"].to_numpy()]
    rankings = {}
    for name in results["outcome"].to_numpy():
        one = results.sel(outcome=name)
        outcome = Outcome(
            name=str(name),
            title=str(one["title"].item()),
            unit=str(one["unit"].item()),
            better=BETTER[str(one["better"].item())],
            values_AR=one["result"].to_numpy(),
            censored_AR=one["is_censored"].to_numpy().astype(bool),
            how="",
            is_tested=bool(one["is_tested"].item()),
        )
        rankings[outcome.name] = rank(names, outcome)
    return rankings


def tabulate(ranking: Ranking) -> dict[str, dict[str, Any]]:
    """Mean, interval, letters and number of censored replicas, by start, best first."""
    kept = ("mean", "low", "high", "letters", "num_censored")
    rows = ranking.standings
    return {one.name: {key: getattr(one, key) for key in kept} for one in rows}


def difference(ranking: Ranking, a: str, b: str) -> dict[str, Any]:
    """The paired difference a - b, its interval for all pairs at once, and p (Holm)."""
    pair = ranking.pair(a, b)
    sign = 1 if pair.a == a else -1
    low, high = sorted((sign * pair.wide_low, sign * pair.wide_high))
    found = {"mean": sign * pair.difference, "low": low, "high": high, "p": pair.p_holm}
    return found | {"is_distinguished": pair.is_distinguished}
