"""What the tests near the start say where training collapses."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import describe_differences, interval
from ..abandonment.ends import find_collapse
from ..frame import Facts, each
from ..near_the_start.facts import LEARNED, Kept, Trials, find_claims
from ..paper.claims import Claim

LAST = 10  # epochs whose median is the end of an arm
WORDS = {"clipped": "clipped loss", "logits": "loss from logits"}


@dataclass(frozen=True)
class NearTheStartUnstableFacts(Facts):
    """Ends of all arms beside free training, lines, layers put back, and claim (g)."""

    protocol: str
    num_replicas: int
    eps: float
    epochs: int
    every: int
    start_norm: Mapping[str, float]
    longer: float
    free: Mapping[str, Mapping[str, Any]]
    arms: Mapping[str, Mapping[str, Any]]
    against_free: Mapping[str, Mapping[str, Any]]
    line: Mapping[str, Mapping[str, Any]]
    reset: Mapping[str, Mapping[str, Any]]
    claims: Sequence[Claim]
    last: int = LAST


def summarize(results: xr.Dataset) -> NearTheStartUnstableFacts:
    """Ends of all arms beside free training, lines, layers put back, and claim (g)."""
    arms, losses = each(results, "arm"), each(results, "free")
    tips, best_way = each(results, "tip"), losses["clipped"]["best_way"]
    return NearTheStartUnstableFacts.read(
        results,
        start_norm=interval(results["start_norm"]),
        longer=math.hypot(1, float((best_way / results["start_norm"]).mean())),
        free={
            loss: {name: interval(one[name]) for name in ("best_epoch", "best_way")}
            for loss, one in losses.items()
        },
        arms={name: _describe(arm) for name, arm in arms.items()},
        against_free={loss: _compare(arms, loss) for loss in losses},
        line={tip: _describe_line(one) for tip, one in tips.items()},
        reset={
            tip: {
                n: _describe_point(at, "reset") for n, at in each(one, "reset").items()
            }
            for tip, one in tips.items()
        },
        claims=find_claims([_read_trials(arms, loss) for loss in losses]),
    )


def find_lost(arm: xr.Dataset) -> Array:
    """The epoch at which what had been learned was lost, NaN if none, [R]."""
    found_R = find_collapse(_curve(arm, "train_accuracy"))
    return np.where(_has_learned(arm), found_R, np.nan)


def _has_learned(arm: xr.Dataset) -> Array:
    return np.asarray(_curve(arm, "train_accuracy").max(axis=0) >= LEARNED)


def _curve(arm: xr.Dataset, name: str) -> Array:
    return np.asarray(arm[name].transpose("epoch", "replica").to_numpy(), dtype=float)


def _read_end(arm: xr.Dataset, name: str) -> Array:
    return np.asarray(np.median(_curve(arm, name)[-LAST:], axis=0))


def _describe(arm: xr.Dataset) -> dict[str, Any]:
    lost_R, loss_TR = find_lost(arm), _curve(arm, "train_loss")
    epoch_R = arm["epoch"].to_numpy()[loss_TR.argmin(axis=0)]
    return {
        "loss": str(arm["loss"].item()),
        "kind": str(arm["kind"].item()),
        "size": float(arm["size"]),
        "num_learned": int(_has_learned(arm).sum()),
        "num_lost": int(np.isfinite(lost_R).sum()),
        "lost": interval(lost_R[np.isfinite(lost_R)]),
        "lowest_loss": interval(loss_TR.min(axis=0)),
        "lowest_epoch": interval(epoch_R),
        "first_below_percent": interval(100 * _curve(arm, "below_eps")[0]),
        "accuracy": interval(_read_end(arm, "train_accuracy")),
        "loss_at_end": interval(_read_end(arm, "train_loss")),
        "below_percent": interval(100 * _read_end(arm, "below_eps")),
        "way": interval(arm["way"].isel(kept_epoch=-1)),
        "began": interval(arm["from_start"].isel(kept_epoch=0)),
    }


def _compare(arms: dict[str, xr.Dataset], loss: str) -> dict[str, Any]:
    """Each arm of a loss minus free training, and the ratio of lowest train losses."""
    free = arms[f"{loss} free"]
    mine = {n: arm for n, arm in arms.items() if arm["loss"].item() == loss}
    others = {n: arm for n, arm in mine.items() if arm["kind"].item() != "free"}
    reads: dict[str, Callable[[xr.Dataset], Array]] = {
        "accuracy": lambda arm: _read_end(arm, "train_accuracy"),
        "lost": find_lost,
        "ratio": lambda arm: np.log(_curve(arm, "train_loss").min(axis=0)),
    }
    found = {}
    for what, read in reads.items():
        values = {name: read(arm) for name, arm in others.items()}
        found[what] = describe_differences(values, read(free))
    for one in found["ratio"].values():
        one |= {key: math.exp(one[key]) for key in ("mean", "low", "high")}
    return found


def _describe_point(at: xr.Dataset, prefix: str) -> dict[str, Any]:
    return {
        "train_loss": interval(at[f"{prefix}_train_loss"]),
        "train_accuracy": interval(at[f"{prefix}_train_accuracy"]),
        "below_percent": interval(100 * at[f"{prefix}_below_eps"]),
    }


def _describe_line(tip: xr.Dataset) -> dict[str, Any]:
    alphas = tip["alpha"].to_numpy()
    loss_AR = tip["line_train_loss"].transpose("alpha", "replica").to_numpy()
    accuracy_AR = tip["line_train_accuracy"].transpose("alpha", "replica").to_numpy()
    best_R = loss_AR.argmin(axis=0)
    inside = (alphas >= 0) & (alphas <= 1)
    return {
        "best_alpha": interval(alphas[best_R]),
        "lowest": interval(loss_AR.min(axis=0)),
        "best_accuracy": interval(accuracy_AR[best_R, np.arange(len(best_R))]),
        "largest_rise": float(np.diff(loss_AR[inside], axis=0).max()),
        "table": {a: _describe_point(x, "line") for a, x in each(tip, "alpha").items()},
    }


def _read_trials(arms: dict[str, xr.Dataset], loss: str) -> Trials:
    free = arms[f"{loss} free"]

    def keep(kind: str, name: str) -> Kept:
        arm = arms[f"{loss} {kind} 1"]
        ends = [_read_end(one, "train_accuracy") for one in (arm, free)]
        return Kept(name, ends[0] - ends[1], np.isfinite(find_lost(arm)))

    return Trials(
        WORDS[loss],
        np.isfinite(find_lost(free)),
        keep("ball", "in the ball around the start"),
        keep("norm", "in the ball around zero") if f"{loss} norm 1" in arms else None,
    )
