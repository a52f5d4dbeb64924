"""A comparison of starts as results that ship, and its rankings read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from birthmark.analysis import Candidate, Comparison, join_curves, make_comparison
from birthmark.spec import RunSpec
from birthmark.statistics import Outcome
from birthmark.store import Store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.frame.variables import labelled

_CURVES = {
    "test_loss": ("test loss", "nat"),
    "test_accuracy": ("test accuracy", "1"),
    "distance": ("distance travelled by all weights and biases", "weight"),
}


def run_comparison(
    specs: Mapping[str, RunSpec], store: Store, *, losses: tuple[float, ...] = ()
) -> xr.Dataset:
    """Train starts in pairs, as `bm.compare` does, when each has biases of its own.

    A learning rate that was chosen for a start belongs to it as its biases do; nothing
    else may differ.

    Returns:
        `test_loss`, `test_accuracy`, `distance` (initialization, step, replica), and
        `result` (outcome, initialization, replica) with what `read_rankings` needs.
        Outcomes are `steps_1`, `steps_2`, ... to falling losses, `test_accuracy`, ...
    """
    run_grid(Grid(tuple(specs.values())), store)
    lr = next(iter(specs.values())).training.lr
    candidates = [
        Candidate(
            name,
            spec.with_settings({"training.lr": lr}),
            store.records(spec.run_key, distributions=False),
            spec.run_key,
        )
        for name, spec in specs.items()
    ]
    return record_comparison(make_comparison(candidates, losses))


def record_comparison(comparison: Comparison) -> xr.Dataset:
    """Curves and outcomes; see `run_comparison`."""
    curves = join_curves(comparison).rename(candidate="initialization")
    outcomes = [ranking.outcome for ranking in comparison.rankings]
    dims = ("outcome", "initialization", "replica")
    results = xr.Dataset(
        {
            name: curves[name]
            .astype(np.float32)
            .assign_attrs(long_name=long_name, units=units)
            for name, (long_name, units) in _CURVES.items()
        }
    )
    words = labelled("outcome of a replica", "see unit")
    results["result"] = (dims, np.array([o.values_AR for o in outcomes]), words)
    results["is_censored"] = (
        dims,
        np.array([o.censored_AR for o in outcomes]).astype(np.int8),
        labelled("whether the budget was spent before", "1"),
    )
    results["is_tested"] = (
        "outcome",
        np.array([o.is_tested for o in outcomes]).astype(np.int8),
        labelled("whether pairs are told apart by chance", "1"),
    )
    for name in ("title", "unit", "better"):
        texts = [getattr(o, name) or "-" for o in outcomes]
        words = labelled(f"{name} of the outcome", "text")
        results[name] = ("outcome", texts, words)
    return results.assign_coords(outcome=_name(outcomes))


def _name(outcomes: Sequence[Outcome]) -> list[str]:
    """Names that do not depend on the levels of the loss."""
    steps = [one.name for one in outcomes if one.unit == "steps"]
    return [
        f"steps_{steps.index(one.name) + 1}" if one.name in steps else one.name
        for one in outcomes
    ]
