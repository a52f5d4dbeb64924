"""A comparison of starts as results that ship, and its rankings read from them."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from birthmark.analysis import Candidate, Comparison, join_curves, make_comparison
from birthmark.spec import RunSpec
from birthmark.store import Store
from .probes import train_all
from .variables import labelled, variable

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
    records = train_all(specs.values(), store)
    lr = next(iter(specs.values())).training.lr
    candidates = [
        Candidate(name, spec.with_settings({"training.lr": lr}), one, spec.run_key)
        for (name, spec), one in zip(specs.items(), records, strict=True)
    ]
    return record_comparison(make_comparison(candidates, losses))


def record_comparison(comparison: Comparison) -> xr.Dataset:
    """Curves and outcomes; see `run_comparison`."""
    curves = join_curves(comparison).rename(candidate="initialization")
    outcomes = [ranking.outcome for ranking in comparison.rankings]
    dims = ("outcome", "initialization", "replica")
    results = xr.Dataset()
    for name, said in _CURVES.items():
        single = curves[name].astype(np.float32)
        results[name] = single.assign_attrs(labelled(*said))
    values = [o.values_AR for o in outcomes]
    censored = [o.censored_AR for o in outcomes]
    tested = [o.is_tested for o in outcomes]
    results["result"] = variable(dims, values, "outcome of a replica", "see unit")
    words = "whether the budget was spent before"
    results["is_censored"] = variable(dims, np.array(censored, dtype=bool), words)
    words = "whether pairs are told apart by chance"
    results["is_tested"] = variable("outcome", tested, words)
    for name in ("title", "unit", "better"):
        texts = [getattr(o, name) or "-" for o in outcomes]
        results[name] = variable("outcome", texts, f"{name} of the outcome", "text")
    # names that do not depend on the levels of the loss
    steps = [o.name for o in outcomes if o.unit == "steps"]
    names = [
        f"steps_{steps.index(o.name) + 1}" if o.name in steps else o.name
        for o in outcomes
    ]
    return results.assign_coords(outcome=names)
