"""A comparison as plain numbers and texts: protocol, JSON and tables."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from birthmark.analysis.comparisons import METHOD, Comparison
from birthmark.analysis.findings_of_comparisons import find_differences
from birthmark.analysis.outcomes import Candidate
from birthmark.analysis.words import say_number
from birthmark.spec import TrainingSpec
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


def comparison_protocol(comparison: Comparison) -> dict[str, str]:
    """All that the candidates share, by what it is, and each one's learning rate."""
    one = comparison.candidates[0]
    return {
        "model": _model(one),
        "data": _data(one),
        "loss": one.own.get("loss") or _loss(one.spec.training),
        "optimizer": one.own.get("optimizer") or _optimizer(one.spec.training),
        "lr": _lr(comparison),
        "batches": _batches(one),
        "steps": f"{comparison.budget:,} optimizer steps each, "
        f"{one.spec.training.epochs} epochs",
        "seeds": _seeds(comparison),
        "numbers": f"{one.spec.run.dtype}, products in {one.spec.run.precision} "
        "precision",
    }


def _model(one: Candidate) -> str:
    if "model" in one.own:
        return f"{one.own['model']}, replicas trained {one.how}"
    network = one.spec.network
    widths = "-".join(map(str, network.widths))
    bias = one.spec.initialization.bias.name
    return f"{network.kind} {widths}, {network.activation}, biases {bias}"


def _data(one: Candidate) -> str:
    facts, data = one.records.attrs, one.spec.data
    sizes = (
        f"{facts['data.num_train']:,} training and {facts['data.num_test']:,} test "
        "examples"
    )
    if "data" in one.own:
        return f"{one.own['data']}, {sizes}"
    return f"{data.name}, {data.preprocessing} inputs, {sizes}"


def _loss(training: TrainingSpec) -> str:
    clips = training.loss == "clipped_cross_entropy"
    return f"{training.loss} (eps {training.eps:g})" if clips else training.loss


def _optimizer(training: TrainingSpec) -> str:
    given = {
        "momentum": training.momentum,
        "weight decay": training.weight_decay,
    }
    if training.optimizer == "adam":
        given = {
            "beta1": training.betas[0],
            "beta2": training.betas[1],
            "eps": training.adam_eps,
            "weight decay": training.weight_decay,
        }
    said = [f"{name} {value:g}" for name, value in given.items()]
    said += ["Nesterov"] if training.nesterov else []
    return f"{training.optimizer} ({', '.join(said)})"


def _lr(comparison: Comparison) -> str:
    found = {one.name: one.spec.training.lr for one in comparison.candidates}
    schedule = comparison.candidates[0].spec.training.schedule.name
    if comparison.tried_lrs:
        tried = ", ".join(f"{lr:g}" for lr in comparison.tried_lrs)
        chosen = ", ".join(f"{name} {lr:g}" for name, lr in found.items())
        said = f"{chosen}; each chosen among {tried} by the test loss at the end"
    else:
        said = f"{next(iter(found.values())):g}"
    return f"{said}, {schedule}" if schedule != "constant" else said


def _batches(one: Candidate) -> str:
    training = one.spec.training
    number = math.ceil(one.records.attrs["data.num_train"] / training.batch_size)
    order = {
        "independent": "replica r of all has the same order, each r its own",
        "shared": "one order for all replicas",
    }[training.batch_order]
    return f"{training.batch_size} examples, {number:,} an epoch; {order}"


def _seeds(comparison: Comparison) -> str:
    run = comparison.candidates[0].spec.run
    last = comparison.num_replicas - 1
    said = f"seed {run.seed}, replicas 0 to {last}"
    if run.order_seed is not None:
        said += f", orders from seed {run.order_seed}"
    return f"{said}; lr from seed {run.seed + 1}" if comparison.tried_lrs else said
