"""What records say about the paper, as facts for its pages."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from birthmark.analysis.agreement import (
    Agreement,
    compare_divergences,
    compare_with_paper,
)
from birthmark.analysis.claims import Claim
from birthmark.analysis.claims_of_training import (
    claim_bounds,
    claim_coincidence,
    claim_untrainability,
)
from birthmark.analysis.claims_of_weights import (
    claim_growth,
    claim_mark,
    claim_memory,
    claim_nearness,
    claim_width,
)
from birthmark.analysis.columns import Column, read_columns
from birthmark.analysis.evidence import LOSSES, Arm
from birthmark.analysis.minima import find_minima
from birthmark.analysis.published import FIGURE_2, follows_paper
from birthmark.analysis.studies import Run, Study, read_study, split_by_protocol
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.words import say_interval, say_number

if TYPE_CHECKING:
    from birthmark.store import Store

DATA = ("hasyv2", "mnist", "fashion_mnist")  # of the paper
WITHIN = 0.25  # of a published epoch that counts as the same
_CLIPPED = "clipped_cross_entropy"


def find_arms(study: Study, thresholds: Thresholds | None = None) -> list[Arm]:
    """The replicas of the paper's protocol on HASYv2, by loss; the paper's first.

    Of several protocols that differ in the mark alone the one with most runs is taken.
    """
    arms: dict[str, Arm] = {}
    for one in split_by_protocol(study):
        loss = one.runs[0].spec.training.loss
        if (
            loss in LOSSES
            and loss not in arms
            and _is_papers_but_for_the_loss(one.runs[0])
        ):
            arms[loss] = Arm(loss, read_columns(one, thresholds or Thresholds()))
    return [arms[loss] for loss in LOSSES if loss in arms]


def find_claims(store: Store, thresholds: Thresholds | None = None) -> list[Claim]:
    """The claims (a) to (f) of the paper, tested on the runs of its protocol.

    Raises:
        StoreError: A run cannot be read, or a fact about its data is missing.
    """
    arms = find_arms(read_study(store), thresholds)
    return [
        claim_nearness(arms, DATA[0]),
        claim_memory(arms, DATA[0]),
        claim_coincidence(arms, DATA[0]),
        claim_width(arms, DATA[0]),
        claim_growth(arms, DATA[0], store.records),
        claim_untrainability(arms, DATA[0]),
        claim_bounds(arms, DATA[0]),
        claim_mark(arms, DATA[0]),
    ]


def describe_paper(store: Store) -> dict[str, Any]:
    """All numbers of the pages about the paper, from records alone.

    Returns:
        Plain numbers, texts, lists and tables; and the functions that say numbers in
        the way of the reports (`say`, `say_interval`).
    """
    study = read_study(store)
    arms = find_arms(study)
    clipped = [arm for arm in arms if arm.loss == _CLIPPED]
    columns = clipped[0].columns if clipped else []
    return {
        "say": say_number,
        "say_interval": say_interval,
        "runs": [_describe_run(store, run) for run in study],
        "missing": _find_missing(study),
        "figure_2": [_flat(one) for one in compare_with_paper(columns)],
        "divergences": _describe_divergences(columns),
        "minima": [_describe_minima(column) for column in columns],
        "replicas": [row for arm in arms for row in _describe_replicas(arm)],
        "arms": [_describe_arm(arm) for arm in arms],
        "claims": [asdict(claim) for claim in find_claims(store)],
    }


def _is_papers_but_for_the_loss(run: Run) -> bool:
    return follows_paper(run.spec.with_settings({"training.loss": _CLIPPED}))


def _describe_run(store: Store, run: Run) -> dict[str, Any]:
    manifest = store.manifest(run.run_key)
    folder = store.path / run.run_key
    return {
        "key": run.run_key,
        "data": run.spec.data.name,
        "width": run.width,
        "loss": LOSSES.get(run.spec.training.loss, run.spec.training.loss),
        "precision": run.spec.run.precision,
        "replicas": run.records.sizes["replica"],
        "seed": run.spec.run.seed,
        "epochs": int(run.records["epoch"][-1]),
        "core_minutes": manifest.get("wall_time_s", float("nan")) / 60,
        "megabytes": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
    }


def _find_missing(study: Study) -> list[dict[str, Any]]:
    """By data set of the paper, the widths of its Figure 2 without a run."""
    published = [one.width for one in FIGURE_2] + [1000]
    missing = []
    for name in DATA:
        here = {run.width for run in study if run.spec.data.name == name}
        lacking = [width for width in published if width not in here]
        missing.append({"data": name, "widths": lacking, "run": sorted(here)})
    return missing


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
            "agree": sum(one.is_within(WITHIN) for one in found),
            "known": sum(math.isfinite(one.published) for one in found),
        }
        for name, found in rows.items()
    ]


def _describe_minima(column: Column) -> dict[str, Any]:
    published = {one.width: one for one in FIGURE_2}.get(column.width)
    losses = {
        name: asdict(find_minima(column.runs[0], f"{name}_loss"))
        for name in ("train", "test")
    }
    beside = {
        f"published_{name}": getattr(published, f"min_{name}_loss", float("nan"))
        for name in ("train", "test")
    }
    return {"width": column.width, **losses, **beside}


def _describe_arm(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "widths": [column.width for column in arm.columns],
        "replicas": arm.num_replicas,
        "plateau_level": arm.columns[0].transitions[0].divergence_level,
        "chance_loss": arm.columns[0].transitions[0].chance_loss,
    }


def _describe_replicas(arm: Arm) -> list[dict[str, Any]]:
    """One row a replica: what became of it, and when."""
    rows = []
    for column in arm.columns:
        place = 0
        for run, found in zip(column.runs, column.transitions, strict=True):
            for replica in range(len(found.min_train_loss)):
                pick = partial(_pick, run, replica)
                rows.append(
                    {
                        "loss": arm.name,
                        "width": column.width,
                        "replica": replica,
                        "learner": str(column.learners[place]),
                        **{
                            name: float(getattr(found, name)[replica])
                            for name in _TIMES
                        },
                        **{word: pick(name) for word, name in _AT_END.items()},
                    }
                )
                place += 1
    return rows


_TIMES = (
    "min_train_epoch",
    "min_test_epoch",
    "divergence_epoch",
    "loss_jump_epoch",
    "deviation_jump_epoch",
    "lag",
    "min_train_loss",
    "min_test_loss",
    "final_train_loss",
)
_AT_END = {
    "correlation": "correlation",
    "relative_distance": "relative_distance",
    "retention": "mark_auc",
}


def _pick(run: Run, replica: int, name: str) -> float:
    """The last recorded value of a replica, in the matrix between the hidden layers."""
    values = run.values(name, run.layer)[:, replica]
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")
