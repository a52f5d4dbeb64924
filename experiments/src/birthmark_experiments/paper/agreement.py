"""Our numbers beside the published ones, in units of both errors together.

The train loss of one network fluctuates from epoch to epoch. The mean over replicas of
each one's minimum therefore lies below the minimum of the curve of their mean, and that
again below the minimum of a mean of very many replicas, which the running median over a
window of epochs stands for.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from birthmark.analysis import (
    FIGURE_1B,
    FIGURE_2,
    QUANTITIES,
    Column,
    Published,
    Run,
    Thresholds,
    running_median,
)
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize
from ..statistics import Survival, estimate_survival
from .moments_of_training import find_divergences

SAME_EPOCH = 0.25  # of a published epoch within which ours counts as the same
SAME_LOSS = 0.10  # likewise of a published loss
_BY_WIDTH = {one.width: one for one in FIGURE_2}


@dataclass(frozen=True)
class Agreement:
    """One number of one width, ours and published."""

    width: int
    name: str  # plain words
    ours: Estimate
    error: float  # standard error of ours; NaN for a single replica
    replicas: int  # of the width; `ours.n` of them have a value
    seen: Survival  # of an epoch, the others counted as long as they were watched
    published: float  # inf: beyond the last epoch; NaN: none, or not drawn
    published_error: float

    @property
    def ratio(self) -> float:
        """Ours over the published one; NaN where either was not seen by all."""
        if not math.isfinite(self.published) or self.ours.n < self.replicas:
            return math.nan
        return self.ours.mean / self.published

    @property
    def difference(self) -> float:
        """Ours minus the published one."""
        return self.ours.mean - self.published

    @property
    def in_errors(self) -> float:
        """The difference over the root of the sum of both squared errors."""
        return self.difference / math.hypot(self.error, self.published_error)

    def is_within(self, share: float) -> bool:
        """Whether both are known, and ours is off by at most this share."""
        return math.isfinite(self.ratio) and abs(self.ratio - 1) <= share


def compare_with_paper(columns: list[Column]) -> list[Agreement]:
    """Each number of Figures 2c and 2d at each width that both have."""
    return [
        _agree(column, published, words, name, column.joined(name))
        for column, published in _both(columns)
        for name, words in QUANTITIES.items()
    ]


def compare_divergences(columns: list[Column]) -> list[Agreement]:
    """The published epoch of divergence beside ours, under each definition of it."""
    found = []
    for column, published in _both(columns):
        by_name: dict[str, list[Array]] = {}
        for run in column.runs:
            for one in find_divergences(run.records, run.spec):
                by_name.setdefault(one.name, []).append(one.epoch)
        found += [
            _agree(column, published, words, "divergence_epoch", np.concatenate(epochs))
            for words, epochs in by_name.items()
        ]
    return found


def _both(columns: list[Column]) -> list[tuple[Column, Published]]:
    return [(one, _BY_WIDTH[one.width]) for one in columns if one.width in _BY_WIDTH]


def _agree(
    column: Column, published: Published, words: str, name: str, values: Array
) -> Agreement:
    known = values[np.isfinite(values)]
    n = len(known)
    return Agreement(
        width=column.width,
        name=words,
        ours=summarize(values),
        error=float(known.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
        replicas=column.num_replicas,
        seen=estimate_survival(values, max(x.last_epoch for x in column.transitions)),
        published=float(getattr(published, name)),
        published_error=published.error(name),
    )


@dataclass(frozen=True)
class Minima:
    """Three minima of one loss of the replicas of a run, and where they lie."""

    of_each: Estimate  # mean over replicas of each one's minimum
    of_mean: float  # minimum of the curve of the mean
    of_smooth: float  # minimum of the running median of that curve
    fluctuation: float  # std of the loss about its running median there, over it


@dataclass(frozen=True)
class Evaluated:
    """The train loss after some epochs, beside its running mean over each of them.

    The running mean is taken while the weights move, the evaluated loss with those of
    the last step of the epoch, over the whole training set.
    """

    epochs: tuple[int, ...]
    ratio: Estimate  # over replicas, of each one's mean ratio of the two
    of_mean: float  # least of the means over replicas, at these epochs


def compare_evaluated(run: Run) -> Evaluated | None:
    """Both train losses at the epochs where both are known; None without any."""
    evaluated_TR = run.values("train_loss_evaluated")
    running_TR = run.values("train_loss")
    known = np.isfinite(evaluated_TR).all(axis=1) & np.isfinite(running_TR).all(axis=1)
    if not known.any():
        return None
    ratio_TR = evaluated_TR[known] / running_TR[known]
    return Evaluated(
        epochs=tuple(run.records["epoch"].to_numpy()[known].tolist()),
        ratio=summarize(ratio_TR.mean(axis=0)),
        of_mean=float(evaluated_TR[known].mean(axis=1).min()),
    )


def find_minima(run: Run, name: str = "train_loss") -> Minima:
    """The minima of `train_loss` or `test_loss`; replicas with NaN or Inf left out."""
    loss_TR = run.values(name)[1:]
    loss_TR = loss_TR[:, np.isfinite(loss_TR).all(axis=0)]
    if not loss_TR.size:
        return Minima(summarize([]), *(math.nan,) * 3)
    mean_T = loss_TR.mean(axis=1)
    window = Thresholds().window_epochs(int(run.records["epoch"][-1]))
    smooth_T = running_median(mean_T[:, None], window)[:, 0]
    lowest = int(smooth_T.argmin())
    # scatter of one replica's loss about its running median, relative to it
    near = slice(max(lowest - window, 0), lowest + window + 1)
    scatter_TR = loss_TR[near] / running_median(loss_TR, window)[near] - 1
    return Minima(
        of_each=summarize(loss_TR.min(axis=0)),
        of_mean=float(mean_T.min()),
        of_smooth=float(smooth_T[lowest]),
        fluctuation=float(np.std(scatter_TR)),
    )


def describe_agreement(columns: list[Column]) -> dict[str, Any]:
    """Facts about the replicas trained with the clipped loss, beside the paper's."""
    figure_2 = compare_with_paper(columns)
    minima = [_describe_minima(column) for column in columns]
    test = [one for one in figure_2 if one.name == "minimum test loss"]
    train = [one for one in figure_2 if one.name == "minimum train loss"]
    lower = [one.width for one in train if one.ratio < 1 - SAME_LOSS]
    divergences = _describe_divergences(columns)
    widths = [one.width for one in test]
    # the definitions that agree at the most widths, if at any
    most = max((row["agree"] for row in divergences), default=0)
    best = [row for row in divergences if row["agree"] == most and most]
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
        "best_definitions": [row["name"] for row in best],
        # the one whose epochs are nearest, in ratio
        "nearest_definition": min(best, key=_miss, default=None),
        "figure_1b": FIGURE_1B,
        "published_250": f"{_BY_WIDTH[250].divergence_epoch:.0f}",
    }


def _miss(row: dict[str, Any]) -> float:
    """How far the epochs of a definition are off over all widths, as logarithms."""
    ratios = [one["ratio"] for one in row["by_width"]]
    return sum(abs(math.log(x)) for x in ratios if math.isfinite(x) and x > 0)


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
    published, run = _BY_WIDTH.get(column.width), column.runs[0]
    found: dict[str, Any] = {"width": column.width}
    for name in ("train", "test"):
        loss = f"min_{name}_loss"
        found[name] = asdict(find_minima(run, f"{name}_loss"))
        found[f"published_{name}"] = getattr(published, loss, math.nan)
    evaluated = compare_evaluated(run)
    return found | {"evaluated": evaluated and asdict(evaluated)}
