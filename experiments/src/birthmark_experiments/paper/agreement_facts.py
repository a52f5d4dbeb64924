"""Facts about our numbers beside the published ones: minima, divergence, Figure 2."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from birthmark.analysis import FIGURE_1B, FIGURE_2, Column
from birthmark_experiments.paper.agreement import (
    Agreement,
    compare_divergences,
    compare_with_paper,
)
from birthmark_experiments.paper.minima import compare_evaluated, find_minima

SAME_EPOCH = 0.25  # of a published epoch within which ours counts as the same
SAME_LOSS = 0.10  # likewise of a published loss
_BY_WIDTH = {one.width: one for one in FIGURE_2}


def describe_agreement(columns: list[Column]) -> dict[str, Any]:
    """Facts about the replicas trained with the clipped loss, beside the paper's.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    figure_2 = compare_with_paper(columns)
    minima = [_describe_minima(column) for column in columns]
    test = [one for one in figure_2 if one.name == "minimum test loss"]
    train = [one for one in figure_2 if one.name == "minimum train loss"]
    lower = [one.width for one in train if one.ratio < 1 - SAME_LOSS]
    divergences = _describe_divergences(columns)
    widths = [one.width for one in test]
    return {
        "figure_2": [_flat(one) for one in figure_2],
        "near": {"test": [one.width for one in test if one.is_within(SAME_LOSS)]},
        "far": {"test": [one.width for one in test if not one.is_within(SAME_LOSS)]},
        "minima": minima,
        "lower_train": lower,
        "noise_explains": all(
            one["train"]["of_smooth"] >= (1 - SAME_LOSS) * one["published_train"]
            for one in minima
            if one["width"] in lower
        ),
        "divergences": divergences,
        "divergence_widths": widths,
        "published_divergence": {n: _BY_WIDTH[n].divergence_epoch for n in widths},
        "best_definitions": _find_best(divergences),
        "nearest_definition": _find_nearest(divergences),
        "figure_1b": FIGURE_1B,
        "published_250": f"{_BY_WIDTH[250].divergence_epoch:.0f}",
    }


def _find_best(divergences: list[dict[str, Any]]) -> list[str]:
    """The definitions that agree at the most widths, if at any."""
    most = max((row["agree"] for row in divergences), default=0)
    return [row["name"] for row in divergences if row["agree"] == most and most]


def _find_nearest(divergences: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The definition whose epochs are nearest, in ratio, over the most widths."""
    best = [row for row in divergences if row["name"] in _find_best(divergences)]

    def off(row: dict[str, Any]) -> float:
        ratios = [one["ratio"] for one in row["by_width"]]
        return sum(abs(math.log(x)) for x in ratios if math.isfinite(x) and x > 0)

    return min(best, key=off, default=None)


def _flat(one: Agreement) -> dict[str, Any]:
    derived = ("ratio", "difference", "in_errors")
    return asdict(one) | {name: getattr(one, name) for name in derived}


def _describe_divergences(columns: list[Column]) -> list[dict[str, Any]]:
    """A row a definition: its epochs by width, and at how many it agrees."""
    rows: dict[str, list[Agreement]] = {}
    for one in compare_divergences(columns):
        rows.setdefault(one.name, []).append(one)
    return [
        {
            "name": name,
            "by_width": [_flat(one) for one in found],
            "agree": sum(one.is_within(SAME_EPOCH) for one in found),
            "known": sum(math.isfinite(one.published) for one in found),
        }
        for name, found in rows.items()
    ]


def _describe_minima(column: Column) -> dict[str, Any]:
    published = _BY_WIDTH.get(column.width)
    losses = {
        name: asdict(find_minima(column.runs[0], f"{name}_loss"))
        for name in ("train", "test")
    }
    beside = {
        f"published_{name}": getattr(published, f"min_{name}_loss", float("nan"))
        for name in ("train", "test")
    }
    evaluated = compare_evaluated(column.runs[0])
    return {
        "width": column.width,
        **losses,
        **beside,
        "evaluated": None if evaluated is None else asdict(evaluated),
    }
