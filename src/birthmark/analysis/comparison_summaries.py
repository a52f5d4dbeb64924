"""A comparison as plain numbers and texts, for JSON and for tables."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from birthmark.analysis.comparison_protocols import comparison_protocol
from birthmark.analysis.comparisons import METHOD, Comparison
from birthmark.analysis.findings_of_comparisons import find_differences
from birthmark.analysis.words import say_number
from birthmark.statistics import Ranking, Standing


def summarize_comparison(comparison: Comparison) -> dict[str, Any]:
    """Everything but the curves: JSON has no NaN, so what is not known is None."""
    first = comparison.candidates[0]
    summary: dict[str, Any] = _without_nan(
        {
            "method": METHOD,
            "protocol": comparison_protocol(comparison),
            "spec": first.spec.model_dump(mode="json", exclude={"initialization"}),
            "num_replicas": comparison.num_replicas,
            "budget": comparison.budget,
            "loss_of_a_guess": first.chance,
            "entrants": [
                {"name": one.name, "run_key": one.run_key, "trained": one.how}
                for one in comparison.candidates
            ],
            "outcomes": [
                _outcome(comparison, ranking) for ranking in comparison.rankings
            ],
            "failures": [
                {**asdict(one), "guessing_interval": one.guessing_interval}
                for one in comparison.failures
            ],
            "findings": [
                {**asdict(finding), "values": dict(finding.values)}
                for finding in find_differences(comparison)
            ],
        }
    )
    return summary


def comparison_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and one row a candidate; letters as in `Standing.letters`."""
    header = ["initialization"]
    header += [_short(ranking.outcome.name) for ranking in comparison.rankings]
    header.append("failed")
    failed = {one.name: one for one in comparison.failures}
    rows = []
    for name in comparison.names:
        cells = [_cell(_standing(ranking, name)) for ranking in comparison.rankings]
        one = failed[name]
        rows.append([name, *cells, f"{one.num_failed}/{one.n}"])
    return header, rows


def _outcome(comparison: Comparison, ranking: Ranking) -> dict[str, Any]:
    outcome = ranking.outcome
    return {
        "name": outcome.name,
        "title": outcome.title,
        "unit": outcome.unit,
        "better": outcome.better,
        "how": outcome.how,
        "values": dict(zip(comparison.names, outcome.values_AR.tolist(), strict=True)),
        "censored": dict(
            zip(comparison.names, outcome.censored_AR.tolist(), strict=True)
        ),
        "no_difference": ranking.sees_no_difference,
        "standings": [asdict(one) for one in ranking.standings],
        "pairs": [asdict(pair) for pair in ranking.pairs],
    }


def _standing(ranking: Ranking, name: str) -> Standing:
    return next(one for one in ranking.standings if one.name == name)


def _cell(one: Standing) -> str:
    if one.n and one.num_censored == one.n:
        return f"never {one.letters}"
    part = f" ({one.num_censored}/{one.n} never)" if one.num_censored else ""
    return f"{say_number(one.mean)}{part} {one.letters}".strip()


def _short(name: str) -> str:
    return name.replace("_", " ")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
