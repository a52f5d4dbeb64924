"""What a pre-trained start is worth, as facts for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from ..frame import Facts, each
from ..frame.rankings import difference, read_rankings, tabulate
from .protocol import FRESH_HEAD, PRETRAINED, RANDOM, SHUFFLED, STATISTICS

_AGAINST = {
    "pre-trained against random": (FRESH_HEAD, RANDOM),
    "head kept against fresh": (PRETRAINED, FRESH_HEAD),
    "statistics against random": (STATISTICS, RANDOM),
    "shuffled against random": (SHUFFLED, RANDOM),
    "pre-trained against statistics": (FRESH_HEAD, STATISTICS),
    "pre-trained against shuffled": (FRESH_HEAD, SHUFFLED),
}


@dataclass(frozen=True)
class PretrainedStartFacts(Facts):
    """Tables of outcomes by task, and the paired differences that matter."""

    protocol: str
    num_replicas: int
    starts: Sequence[str]
    tasks: Sequence[Mapping[str, Any]]


def summarize(results: xr.Dataset) -> PretrainedStartFacts:
    """Tables of outcomes by task, and the paired differences that matter."""
    return PretrainedStartFacts.read(
        results,
        starts=results["initialization"].to_numpy().tolist(),
        tasks=[_describe(name, one) for name, one in each(results, "task").items()],
    )


def _describe(name: str, one: xr.Dataset) -> dict[str, Any]:
    rankings, starts = read_rankings(one), each(one, "initialization")
    return {
        "name": name,
        "budget": int(one["steps_per_epoch"]) * int(one["epoch"][-1]),
        "accuracy_before": float(one["accuracy_before"].mean()),
        "titles": {k: r.outcome.title for k, r in rankings.items()},
        "outcomes": {k: tabulate(r) for k, r in rankings.items()},
        "start_norm": {n: float(x["start_norm"].mean()) for n, x in starts.items()},
        "differences": {
            outcome: {
                words: difference(rankings[outcome], *pair)
                for words, pair in _AGAINST.items()
            }
            for outcome in ("steps_1", "steps_2", "test_accuracy", "distance")
        },
    }
