"""How far weights go in an epoch, early and late: whether they run away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.analysis import Run
from birthmark_experiments.paper.evidence import Arm

SPANS = ((100, 200), (300, 400), (900, 1000))  # epochs


@dataclass(frozen=True)
class Moves:
    """Path of the matrix between the hidden layers, by epoch, mean over replicas."""

    loss: str  # in plain words
    width: int
    path: tuple[float, ...]  # an epoch, in each of SPANS
    test_loss: tuple[float, ...]  # at the end of each of SPANS


def find_moves(arms: list[Arm]) -> list[Moves]:
    """Of the widths that were run with every loss."""
    widths = [{column.width for column in arm.columns} for arm in arms]
    both = set.intersection(*widths) if widths else set()
    return [
        _describe(arm.name, run)
        for arm in arms
        for column in arm.columns
        if column.width in both
        for run in column.runs
    ]


def _describe(loss: str, run: Run) -> Moves:
    path_TR = run.values("path_length", run.layer)
    known = np.isfinite(path_TR).all(axis=1)
    mean = path_TR[known].mean(axis=1)
    ends = [np.interp(span, run.epochs[known], mean) for span in SPANS]
    test = run.values("test_loss").mean(axis=1)
    return Moves(
        loss,
        run.width,
        tuple(
            float(b - a) / (last - first)
            for (first, last), (a, b) in zip(SPANS, ends, strict=True)
        ),
        tuple(float(np.interp(last, run.epochs, test)) for _, last in SPANS),
    )
