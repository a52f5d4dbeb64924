"""What a pre-trained start is worth, as facts for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from birthmark_experiments.frame import Facts
from birthmark_experiments.frame.rankings import difference, read_rankings, tabulate
from birthmark_experiments.pretrained_start.protocol import (
    FRESH_HEAD,
    PRETRAINED,
    RANDOM,
    SHUFFLED,
    STATISTICS,
)


@dataclass(frozen=True)
class PretrainedStartFacts(Facts):
    """Tables of outcomes by task, and the paired differences that matter."""

    protocol: str
    num_replicas: int
    starts: Sequence[str]
    tasks: Sequence[Mapping[str, Any]]


def summarize(results: xr.Dataset) -> PretrainedStartFacts:
    """Tables of outcomes by task, and the paired differences that matter."""
    tasks = []
    for name in results["task"].to_numpy():
        one = results.sel(task=name)
        rankings = read_rankings(one)
        against = {
            "pre-trained against random": (FRESH_HEAD, RANDOM),
            "head kept against fresh": (PRETRAINED, FRESH_HEAD),
            "statistics against random": (STATISTICS, RANDOM),
            "shuffled against random": (SHUFFLED, RANDOM),
            "pre-trained against statistics": (FRESH_HEAD, STATISTICS),
            "pre-trained against shuffled": (FRESH_HEAD, SHUFFLED),
        }
        tasks.append(
            {
                "name": str(name),
                "budget": int(one["steps_per_epoch"]) * int(one["epoch"][-1]),
                "accuracy_before": float(one["accuracy_before"].mean()),
                "titles": {k: r.outcome.title for k, r in rankings.items()},
                "outcomes": {k: tabulate(r) for k, r in rankings.items()},
                "start_norm": {
                    str(start): float(
                        one["start_norm"].sel(initialization=start).mean()
                    )
                    for start in one["initialization"].to_numpy()
                },
                "differences": {
                    outcome: {
                        words: difference(rankings[outcome], *pair)
                        for words, pair in against.items()
                    }
                    for outcome in ("steps_1", "steps_2", "test_accuracy", "distance")
                },
            }
        )
    return PretrainedStartFacts.read(
        results,
        starts=[str(name) for name in results["initialization"].to_numpy()],
        tasks=tasks,
    )
