"""What the records of single examples at the paper's size say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import Thresholds
from birthmark.shapes import Array
from birthmark.statistics import interval_and_count
from ..frame import Facts, each
from ..paper.moments_of_training import date_rise
from .traits import CIRCULAR, RESAMPLES, STAGES, TRAITS, divide_shares

WITH, WITHOUT = "all examples", "without those abandoned early in every replica"


@dataclass(frozen=True)
class WhoIsAbandonedFacts(Facts):
    """Who is below the clip when, against what is known of the examples."""

    protocol: str
    num_examples: int
    budget: int
    steps_per_epoch: int
    num_replicas: int
    eps: float
    clip_loss: float
    early: int
    onset_share: float
    onsets: Sequence[int | None]  # epochs; None: it did not set in
    num_common: int
    num_shown: int
    contradictions: Mapping[str, float]
    stages: Mapping[str, Mapping[str, float]]
    num_never: Mapping[str, float]
    traits: Mapping[str, Mapping[str, Any]]
    stay: Mapping[str, Mapping[str, float]]
    epochs: Sequence[Mapping[str, Any]]
    trained: Mapping[str, Mapping[str, Any]]  # with all, and without the common ones
    num_trained: int  # epochs
    resamples: int = RESAMPLES
    divergence_share: float = Thresholds().divergence


def summarize(results: xr.Dataset) -> WhoIsAbandonedFacts:
    """Who is below the clip when, against what is known of the examples."""
    attrs = results.attrs
    num = attrs["num_examples"]
    # the place of the first kept epoch with so large a share; -1: none
    all_TR = results["num_below"].sel(trait="all").to_numpy()
    begun_TR = all_TR / num >= attrs["onset"]
    onset_R = np.where(begun_TR.any(axis=0), begun_TR.argmax(axis=0), -1)
    epochs, firsts = results["kept_epoch"].to_numpy(), _first(results, "all")
    return WhoIsAbandonedFacts.read(
        results,
        num_examples=int(num),
        budget=int(attrs["epochs"]),
        steps_per_epoch=-(-int(num) // int(attrs["batch_size"])),
        clip_loss=-float(np.log(attrs["eps"])),
        onset_share=float(attrs["onset"]),
        onsets=[int(epochs[t]) if t >= 0 else None for t in onset_R],
        num_shown=int(results.sizes["shown"]),
        contradictions=_describe_contradictions(results),
        stages={s: interval_and_count(n_R) for s, n_R in firsts.items()},
        num_never=interval_and_count(num - sum(firsts.values())),
        traits={
            name: {
                "words": words,
                "share": float(_counts(results, "early", name)[1].sum(1).mean() / num),
                "stages": {s: _describe_ratio(results, s, name) for s in STAGES},
            }
            for name, words in TRAITS.items()
            if name != "all"
        },
        stay={s: _describe_stay(results, s, onset_R) for s in STAGES[:2]},
        epochs=[_describe_epoch(results, int(epoch)) for epoch in epochs],
        trained={
            name: _describe_training(one)
            for name, one in each(results, "trained").items()
        },
        num_trained=int(results.sizes["every_epoch"]),
    )


def _describe_training(one: xr.Dataset) -> dict[str, Any]:
    """Least loss, rise and plateau of each network; NaN where there is none."""
    loss_TR = one["every_train_loss"].transpose("every_epoch", ...).to_numpy()
    epochs, level = one["every_epoch"].to_numpy(), one.attrs["plateau_level"]
    rise_R, plateau_R = date_rise(epochs, loss_TR, level)
    return {
        "least": loss_TR.min(axis=0).tolist(),
        "rise": rise_R.tolist(),
        "plateau": plateau_R.tolist(),
        "num_lost": int(np.isfinite(plateau_R).sum()),
    }


def _describe_ratio(
    results: xr.Dataset, stage: str, trait: str
) -> dict[str, Any] | None:
    """The ratio with two intervals: over classes, and over replicas.

    `replicas` is the geometric mean with Student's interval, of those with such an
    example; `with` and `without` are shares, of all replicas together, and `num` counts
    examples by replica. None where the trait would tell of itself.
    """
    if (trait, stage) in CIRCULAR:
        return None
    counts_2RK = _counts(results, stage, trait)
    rest_2RK = _counts(results, stage, "all") - counts_2RK
    with np.errstate(divide="ignore"):
        logs_R = np.log(divide_shares(counts_2RK.sum(axis=2), rest_2RK.sum(axis=2)))
    over_replicas = interval_and_count(np.where(np.isfinite(logs_R), logs_R, np.nan))
    num_seen = over_replicas.pop("n")
    value, low, high = results["ratio"].sel(stage=stage, trait=trait).to_numpy()
    return {
        "with": _divide(counts_2RK),
        "without": _divide(rest_2RK),
        "ratio": float(value),
        "low": float(low),
        "high": float(high),
        "num": counts_2RK[0].sum(axis=1).astype(int).tolist(),
        "replicas": {k: float(np.exp(x)) for k, x in over_replicas.items()},
        "num_seen": int(num_seen),
    }


def _divide(counts_2RK: Array) -> float:
    first, risk = counts_2RK.sum(axis=(1, 2))
    return float(first / risk) if risk else float("nan")


def _counts(results: xr.Dataset, stage: str, trait: str) -> Array:
    """First below the clip, and at risk, [2, R, K]."""
    found = results.sel(stage=stage, trait=trait)
    return np.stack([found["num_first"].to_numpy(), found["num_risk"].to_numpy()])


def _first(results: xr.Dataset, trait: str) -> dict[str, Array]:
    """By stage, how many are first below the clip, [R]."""
    return {stage: _counts(results, stage, trait)[0].sum(axis=1) for stage in STAGES}


def _describe_contradictions(results: xr.Dataset) -> dict[str, Any]:
    """What equal images with several labels ask of any network."""
    attrs = results.attrs
    lowest = float(results["train_loss"].min("epoch").mean())
    floor = float(attrs["floor"] / attrs["num_examples"])
    counts = ("num_images", "num_outvoted", "num_tied")
    return {
        **{name: int(attrs[name]) for name in counts},
        "num": int(attrs["num_contradictory"]),
        "tied_floor_each": float(attrs["tied_floor"] / max(attrs["num_tied"], 1)),
        "least_share": float(attrs["least_share"]),
        "least_loss": -float(np.log(attrs["least_share"])),
        "floor": floor,
        "floor_each": float(attrs["floor"] / max(attrs["num_contradictory"], 1)),
        "lowest_train_loss": lowest,
        "floor_of_lowest": floor / lowest,
    }


def _describe_stay(results: xr.Dataset, stage: str, onset_R: Array) -> dict[str, Any]:
    """Of those below the clip before the onset, the share that is at the next epoch."""
    found = results.sel(stage=stage)
    places = np.arange(results.sizes["kept_epoch"])[:, None]
    counts = places < np.where(onset_R < 0, len(places) - 1, onset_R)
    still, stay = (
        np.where(counts, found[name].to_numpy(), 0).sum(axis=0)
        for name in ("num_still", "num_stay")
    )
    return interval_and_count(np.where(still > 0, stay / np.maximum(still, 1), np.nan))


def _describe_epoch(results: xr.Dataset, epoch: int) -> dict[str, Any]:
    """Below the clip at a kept epoch, and who, beside loss and deviation."""
    now = results.sel(kept_epoch=epoch, epoch=epoch)
    below, loss = (each(now[name], "trait") for name in ("num_below", "mean_loss"))
    everyone, one = below["all"], below["contradictory"]
    members = _first(results, "all")["early"]
    still = now["num_still"].sel(stage="early").to_numpy()
    found: dict[str, Any] = {
        "below": everyone,
        "contradictory": one,
        "contradictory_share": one / np.maximum(everyone, 1),
        "early_still": still / np.maximum(members, 1),
        "loss": loss["all"],
        **{f"{x}_loss": loss[x] for x in ("contradictory", "tied", "outvoted")},
        "deviation": now["deviation"],
    }
    described = {name: interval_and_count(values) for name, values in found.items()}
    return {"epoch": epoch, **described}
