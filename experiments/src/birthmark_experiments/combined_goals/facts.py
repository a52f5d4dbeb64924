"""What a start should achieve, who meets which goal, and whether it helps.

The limits of the goals were set before anything was trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from birthmark.shapes import OUTPUT, Array
from birthmark.statistics import compare_pairs, holm, interval
from ..frame import Facts, each
from ..statistics import correlate_ranks

if TYPE_CHECKING:
    from birthmark.checkup import CheckUp


_HALF = math.sqrt(2)  # half, on a log scale, of the 2 that a rectifier costs


@dataclass(frozen=True)
class Goal:
    """A number of a check-up that should lie between two limits."""

    name: str
    title: str
    what: str  # the number, in words
    low: float
    high: float
    read: Callable[[CheckUp], float]  # NaN where there is no such number

    def is_met(self, reading: Array) -> Array:
        """Where the readings lie within the limits, which count as within; NaN: no."""
        return np.asarray((reading >= self.low) & (reading <= self.high))


def read_forward(checkup: CheckUp) -> float:
    """The factor a layer on the signal's second moment, from inputs to last hidden."""
    first, last = checkup.layers[0], checkup.layers[-1]
    depth = len(checkup.layers) - 1
    return _rate(last.input, first.input, depth)


def read_backward(checkup: CheckUp) -> float:
    """The factor a layer on the gradient's second moment, last hidden to first."""
    hidden = [layer for layer in checkup.layers if layer.name != OUTPUT]
    return _rate(hidden[0].backward, hidden[-1].backward, len(hidden) - 1)


def read_distinct(checkup: CheckUp) -> float:
    """Units that differ in weights or gradient, over units, in the worst layer."""
    return min(
        (tensor.distinct_jointly or 0) / tensor.num_units
        for tensor in checkup.tensors
        if tensor.role == "weight" and tensor.num_units and tensor.layer != OUTPUT
    )


def read_dead(checkup: CheckUp) -> float:
    """Share of hidden units that are silent on all examples, in the worst layer."""
    shares = [layer.dead for layer in checkup.layers if layer.name != OUTPUT]
    return max(math.nan if share is None else share for share in shares)


def read_gap(checkup: CheckUp) -> float:
    """1 - the cosine of two inputs' pre-activations in the last hidden layer."""
    correlation = checkup.layers[-2].correlation
    return math.nan if correlation is None else 1 - correlation


def read_loss(checkup: CheckUp) -> float:
    """The loss over that of a guess, ln C."""
    outcome = checkup.outcome
    if outcome is None or outcome.loss is None or outcome.num_classes is None:
        return math.nan
    return outcome.loss / math.log(outcome.num_classes)


def _rate(after: float | None, before: float | None, layers: int) -> float:
    """The geometric mean of the factors of so many layers."""
    if not after or not before or not math.isfinite(after / before):
        return math.nan
    return float((after / before) ** (1 / layers))


_FORWARD = "factor a layer on the second moment of the signal"
_BACKWARD = "factor a layer on the second moment of the gradient"
_DISTINCT = "distinct units over units, in the worst hidden layer"
_SILENT = "share of silent units, in the worst hidden layer"
_GAP = "1 - cosine of two inputs in the last hidden layer"
_KEPT = (1 / _HALF, _HALF)
GOALS = (
    Goal("forward", "keeps forward variance", _FORWARD, *_KEPT, read_forward),
    Goal("backward", "keeps backward variance", _BACKWARD, *_KEPT, read_backward),
    Goal("distinct", "no duplicate units", _DISTINCT, 1.0, 1.0, read_distinct),
    Goal("alive", "no dead units", _SILENT, 0.0, 0.1, read_dead),
    Goal("apart", "keeps inputs apart", _GAP, 0.1, 2.0, read_gap),
    Goal(
        "loss", "starts at the loss of a guess", "loss over ln C", 0.9, 1.1, read_loss
    ),
)

_TOLD = ("name", "title", "what", "low", "high")

# pairs with the same draw in all hidden layers: the second has a small output layer
REPAIRED = (
    ("he_normal", "he_normal, small output"),
    ("orthogonal x 1.41", "orthogonal x 1.41, small output"),
    ("looks_linear", "looks_linear, small output"),
    ("lsuv", "lsuv, small output"),
)


CARRIED = ("none", "variance", "others", "both")
TWINS = (0, 1)  # forward and backward variance: nearly one goal


@dataclass(frozen=True)
class CombinedGoalsFacts(Facts):
    """Goals met, learning by start, correlations with intervals, planned pairs."""

    protocol: str
    num_starts: int
    levels: Sequence[float]
    lrs: Sequence[float]
    budget: int
    goals: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    meets_all: Sequence[str]
    library_meets_all: Sequence[Any]
    never_learn: Sequence[str]
    num_learn: int
    all: Mapping[str, float]
    twins: Mapping[str, float]  # of the two goals of variance alone
    others: Mapping[str, float]  # of the other four alone
    carried: str  # by which goals the speed is: one of `CARRIED`
    agree: float  # share of starts that meet both goals of variance, or neither
    repaired: Sequence[Mapping[str, Any]]
    by_count: Sequence[Mapping[str, float]]
    num_goals: int = len(GOALS)
    chance: float = math.log(10)


def summarize(results: xr.Dataset) -> CombinedGoalsFacts:
    """Goals met, learning by start, correlations with intervals, planned pairs."""
    met_AG = results["is_met"].transpose("initialization", "goal").to_numpy() > 0
    loss_A = mean_loss(results, 0).to_numpy()
    rows = _tabulate(results, met_AG)
    learns_A = ~results["is_censored"].isel(lr=0, level=0).to_numpy().any(axis=1)
    count_A = met_AG.sum(axis=1)
    whole = [row for row in rows if row["num_met"] == len(GOALS)]
    return CombinedGoalsFacts.read(
        results,
        num_starts=len(rows),
        levels=results["level"].to_numpy().tolist(),
        lrs=results["lr"].to_numpy().tolist(),
        budget=int(results["step"].to_numpy()[-1]),
        goals=_describe_goals(results, met_AG, loss_A),
        rows=rows,
        meets_all=[row["name"] for row in whole],
        library_meets_all=[
            row["name"] for row in whole if row["kind"] in ("table", "batch")
        ],
        never_learn=[row["name"] for row in rows if row["num_censored"][0]],
        num_learn=int(learns_A.sum()),
        all=_correlate(count_A, loss_A),
        twins=_correlate(met_AG[:, list(TWINS)].sum(axis=1), loss_A),
        others=_correlate(np.delete(met_AG, list(TWINS), axis=1).sum(axis=1), loss_A),
        carried=tell_carriers(met_AG, loss_A),
        agree=float((met_AG[:, TWINS[0]] == met_AG[:, TWINS[1]]).mean()),
        repaired=compare_repaired(results),
        by_count=_by_count(count_A, loss_A),
    )


def tell_carriers(met_AG: Array, loss_A: Array) -> str:
    """Which goals go along with speed: those of variance, the others, both or none.

    A group does where the bootstrap's interval of its rank correlation lies above 0.
    """
    twins = list(TWINS)
    groups = met_AG[:, twins], np.delete(met_AG, twins, axis=1)
    found = [correlate_ranks(one.sum(axis=1), -loss_A).rho_low > 0 for one in groups]
    return CARRIED[found[0] + 2 * found[1]]


def mean_loss(results: xr.Dataset, place: int) -> xr.DataArray:
    """Mean test loss over the training by start, at one of the learning rates."""
    return results["mean_test_loss"].isel(lr=place).mean("replica")


def compare_repaired(results: xr.Dataset) -> list[dict[str, Any]]:
    """Starts with and without the small output layer, at both learning rates.

    The draw of the hidden layers is the same. Holm over all that is compared here.
    """
    starts, rows = each(results["mean_test_loss"], "initialization"), []
    for before, after in REPAIRED:
        if before in starts and after in starts:
            for lr in results["lr"].to_numpy().tolist():
                both = [starts[name].sel(lr=lr).to_numpy() for name in (after, before)]
                [pair] = compare_pairs([after, before], np.array(both))
                about = {"before": before, "after": after, "lr": lr}
                kept = ("difference", "low", "high", "n", "p")
                rows.append(about | {key: getattr(pair, key) for key in kept})
    adjusted = holm([row.pop("p") for row in rows])
    return [row | {"p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def _tabulate(results: xr.Dataset, met_AG: Array) -> list[dict[str, Any]]:
    """One row a start, the quickest first."""
    rows = []
    for place, (name, one) in enumerate(each(results, "initialization").items()):
        also, high, low = str(one["also"].item()), one.isel(lr=0), one.isel(lr=1)
        rows.append(
            {
                "name": name,
                "kind": str(one["kind"].item()),
                "also": [] if also == "-" else also.split(", "),
                "met": met_AG[place].tolist(),
                "num_met": int(met_AG[place].sum()),
                **interval(high["mean_test_loss"]),
                "low_lr": float(low["mean_test_loss"].mean()),
                "steps": high["steps"].mean("replica").values.tolist(),
                "num_censored": [int(n) for n in high["is_censored"].sum("replica")],
                "accuracy": float(high["test_accuracy"].mean()),
            }
        )
    return sorted(rows, key=lambda row: row["mean"])


def _describe_goals(
    results: xr.Dataset, met_AG: Array, loss_A: Array
) -> list[dict[str, Any]]:
    """Each goal on its own; the intervals hold for all of them together."""
    confidence = 1 - 0.05 / len(GOALS)
    return [
        {
            **{key: getattr(goal, key) for key in _TOLD},
            "num_met": int(met_AG[:, place].sum()),
            "loss_met": interval(loss_A[met_AG[:, place]])["mean"],
            "loss_missed": interval(loss_A[~met_AG[:, place]])["mean"],
            **_correlate(met_AG[:, place], loss_A, confidence),
        }
        for place, goal in enumerate(GOALS)
    ]


def _correlate(x: Array, loss: Array, confidence: float = 0.95) -> dict[str, float]:
    """Of goals and learning: positive where more goals go with a lower loss."""
    found = correlate_ranks(x, -loss, confidence=confidence)
    return {**vars(found), "sign": found.sign}


def _by_count(count_A: Array, loss_A: Array) -> list[dict[str, float]]:
    """Starts and their median loss by the number of goals met."""
    counts = np.unique(count_A)
    losses = [float(np.median(loss_A[count_A == count])) for count in counts]
    return [{"met": int(n), "loss": x} for n, x in zip(counts, losses, strict=True)]
