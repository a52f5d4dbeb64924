"""What records say about the paper, as facts for its pages."""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from birthmark.analysis import (
    FIGURE_2,
    Column,
    Run,
    Study,
    Thresholds,
    follows_paper,
    read_columns,
    read_study,
    split_by_protocol,
)
from birthmark.shapes import Array
from birthmark.store import Store
from ..statistics import estimate_survival
from .agreement import describe_agreement
from .claims import CLIPPED, LOSSES, Arm, Claim
from .claims_of_marks import Read, claim_loss_of_mark, claim_mark, read_marks
from .claims_of_training import (
    RISE,
    claim_bounds,
    claim_clip,
    claim_coincidence,
    claim_untrainability,
)
from .claims_of_weights import (
    claim_best_nearness,
    claim_growth,
    claim_memory,
    claim_nearness,
    claim_width,
)
from .figure_facts import describe_conditionals, find_moves
from .moments_of_training import find_divergences
from .still_rows import compare_without
from .words import SAYINGS

DATA = ("hasyv2", "mnist", "fashion_mnist")  # of the paper


def find_arms(study: Study, *, data: str = DATA[0]) -> list[Arm]:
    """The replicas of the paper's protocol on a data set, by loss; the paper's first.

    Of several protocols that differ in the mark alone the one with most runs is taken.
    """
    arms: dict[str, Arm] = {}
    for one in split_by_protocol(study, "network.widths"):
        spec = one.runs[0].spec
        loss = spec.training.loss
        papers = {"data.name": DATA[0], "training.loss": CLIPPED}
        is_new = loss in LOSSES and loss not in arms and spec.data.name == data
        if is_new and follows_paper(spec.with_settings(papers)):
            arms[loss] = Arm(loss, read_columns(one, Thresholds()))
    return [arms[loss] for loss in LOSSES if loss in arms]


def kept_epochs(store: Store, run: Run) -> list[int]:
    """Epochs at which the matrix under the mark was kept, the start first."""
    if run.spec.mark is None or run.spec.mark.layer != run.layer:
        return []
    return list(store.weights_epochs(run.run_key))


def weights_of(store: Store, run: Run, epoch: int) -> Array:
    """The matrix between the hidden layers at a kept epoch, [R, I, O]."""
    return np.asarray(store.weights(run.run_key, epoch)[run.layer].w)


def judge(arms: list[Arm], store: Store, reads: list[Read]) -> list[Claim]:
    """All claims but (g), in the order of the registry."""
    return [
        claim_nearness(arms),
        claim_memory(arms),
        claim_best_nearness(arms),
        claim_coincidence(arms),
        claim_width(arms),
        claim_growth(arms, store.records),
        claim_untrainability(arms),
        claim_bounds(arms),
        claim_clip(arms),
        claim_mark(arms, reads),
        claim_loss_of_mark(arms, reads),
    ]


def describe_paper(store: Store) -> dict[str, Any]:
    """All numbers of the pages about the paper, from records alone.

    Returns:
        Plain numbers, texts, lists and tables; and the functions that say numbers as
        the pages do (`say`, `say_mean`, ...).
    """
    study = read_study(store)
    everywhere = {name: find_arms(study, data=name) for name in DATA}
    arms = everywhere[DATA[0]]
    clipped = [arm for arm in arms if arm.loss == CLIPPED]
    columns = clipped[0].columns if clipped else []
    kept, weights = partial(kept_epochs, store), partial(weights_of, store)
    reads = read_marks(arms, kept, weights)
    runs = [(arm, run) for arm in arms for column in arm.columns for run in column.runs]
    return {
        **SAYINGS,
        "data": _describe_data(columns),
        "runs": [_describe_run(store, run) for run in study],
        "missing": _find_missing(study),
        **describe_agreement(columns),
        "by_width": [_describe_width(column) for column in columns],
        "replicas": [row for arm in arms for row in _describe_replicas(arm)],
        "conditionals": describe_conditionals(arms, store.records),
        "moves": find_moves(arms),
        "reads": [_describe_read(one) for one in reads],
        "without": [
            asdict(one)
            for arm, run in runs
            if kept(run)
            for one in compare_without(arm.name, run, kept(run), weights)
        ],
        "tests": {
            name: judge(found, store, reads if name == DATA[0] else [])
            for name, found in everywhere.items()
            if found
        },
    }


def describe_marked(store: Store) -> dict[str, Any]:
    """The mark in networks of the widths of Figure 1, each with a protocol of its own.

    Returns:
        `published_reads`, as the `reads` of `describe_paper`, with the buffer in which
        the stream of examples was shuffled (None: a new order every epoch).
    """
    found = []
    for group in split_by_protocol(read_study(store), "network.widths"):
        arm = Arm(group.runs[0].spec.training.loss, read_columns(group, Thresholds()))
        # a group may have fields that change together with its axis
        buffers = {run.width: run.spec.training.shuffle_buffer for run in group.runs}
        kept, weights = partial(kept_epochs, store), partial(weights_of, store)
        found += [
            _describe_read(one, buffers[one.width])
            for one in read_marks([arm], kept, weights)
        ]
    return {"published_reads": found}


def _describe_read(read: Read, buffer: int | None = None) -> dict[str, Any]:
    return asdict(read) | {"is_read": read.reading.is_read, "buffer": buffer}


def _describe_data(columns: list[Column]) -> dict[str, float]:
    attrs = columns[0].runs[0].records.attrs
    names = ("data.num_train", "data.num_test", "num_classes")
    return {name.removeprefix("data."): float(attrs[name]) for name in names}


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
        "scalars": int(np.isfinite(run.values("deviation_std", run.layer)[:, 0]).sum()),
        "distributions": run.records.sizes["distribution_step"],
        "on": "core" if str(manifest.get("device", "")).startswith("cpu") else "GPU",
        "minutes": manifest.get("wall_time_s", float("nan")) / 60,
        "megabytes": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
    }


def _describe_width(column: Column) -> dict[str, Any]:
    """A line of the table of Figure 2: means with intervals, epochs by survival."""
    last = float(max(one.last_epoch for one in column.transitions))
    found = [
        one for run in column.runs for one in find_divergences(run.records, run.spec)
    ]
    rises = np.concatenate([one.epoch for one in found if one.name == RISE])
    losses = {name: column.joined(f"min_{name}_loss") for name in ("train", "test")}
    pick: dict[str, Any] = {"mean": np.mean, "least": np.min, "most": np.max}
    return {
        "width": column.width,
        **{n: {k: float(f(x)) for k, f in pick.items()} for n, x in losses.items()},
        "test_epoch": estimate_survival(column.joined("min_test_epoch"), last),
        "rise": estimate_survival(rises, last),
        "published": next((o for o in FIGURE_2 if o.width == column.width), None),
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


def _describe_replicas(arm: Arm) -> list[dict[str, Any]]:
    """One row a replica: what became of it, and when."""
    return [
        {
            "loss": arm.name,
            "width": run.width,
            "replica": replica,
            "learner": str(learner),
            **{name: float(getattr(found, name)[replica]) for name in _TIMES},
            "retention": _pick(run, replica, "mark_auc"),
        }
        for (run, found, replica), learner in zip(
            arm.networks, arm.learners, strict=True
        )
    ]


_TIMES = (
    *("min_train_epoch", "min_test_epoch", "divergence_epoch", "loss_jump_epoch"),
    *("deviation_jump_epoch", "lag", "min_train_loss", "final_train_loss"),
)


def _pick(run: Run, replica: int, name: str) -> float:
    """The last recorded value of a replica, in the matrix between the hidden layers."""
    values = run.values(name, run.layer)[:, replica]
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")
