"""Under which protocol initializations were compared, in words."""

from __future__ import annotations

import math

from birthmark.analysis.comparisons import Comparison
from birthmark.analysis.outcomes import Candidate
from birthmark.spec import TrainingSpec


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
