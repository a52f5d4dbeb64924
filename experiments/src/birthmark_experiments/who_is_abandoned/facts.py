"""What the records of single examples at the paper's size say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import Thresholds
from birthmark.shapes import Array
from birthmark.statistics import interval_and_count
from birthmark_experiments.frame import Facts
from birthmark_experiments.who_is_abandoned.traits import (
    CIRCULAR,
    RESAMPLES,
    STAGES,
    TRAITS,
    divide_shares,
)


@dataclass(frozen=True)
class WhoIsAbandonedFacts(Facts):
    """Who is below the clip when, against what is known of the examples."""

    protocol: str
    num_examples: int
    num_classes: int
    budget: int
    steps_per_epoch: int
    num_replicas: int
    eps: float
    clip_loss: float
    early: int
    onset_share: float
    divergence_share: float
    onsets: Sequence[int | None]  # epochs; None: it did not set in
    num_common: int
    num_shown: int
    resamples: int
    contradictions: Mapping[str, float]
    stages: Mapping[str, Mapping[str, float]]
    num_never: Mapping[str, float]
    traits: Mapping[str, Mapping[str, Any]]
    stay: Mapping[str, Mapping[str, float]]
    epochs: Sequence[Mapping[str, Any]]


def summarize(results: xr.Dataset) -> WhoIsAbandonedFacts:
    """Who is below the clip when, against what is known of the examples."""
    attrs = results.attrs
    num = attrs["num_examples"]
    all_TR = results["num_below"].sel(trait="all").to_numpy()
    onset_R = _find_onset(all_TR / num, attrs["onset"])
    epochs = results["kept_epoch"].to_numpy()
    return WhoIsAbandonedFacts.read(
        results,
        num_examples=int(num),
        budget=int(attrs["epochs"]),
        steps_per_epoch=-(-int(num) // int(attrs["batch_size"])),
        clip_loss=-float(np.log(attrs["eps"])),
        onset_share=float(attrs["onset"]),
        divergence_share=Thresholds().divergence,
        onsets=[int(epochs[t]) if t >= 0 else None for t in onset_R],
        num_shown=int(results.sizes["shown"]),
        resamples=RESAMPLES,
        contradictions=_describe_contradictions(results),
        stages={s: interval_and_count(_first(results, s, "all")) for s in STAGES},
        num_never=interval_and_count(
            num - sum(_first(results, s, "all") for s in STAGES)
        ),
        traits={
            name: {
                "words": words,
                "share": _share(results, name),
                "stages": {s: _describe_ratio(results, s, name) for s in STAGES},
            }
            for name, words in TRAITS.items()
            if name != "all"
        },
        stay={s: _describe_stay(results, s, onset_R) for s in STAGES[:2]},
        epochs=[_describe_epoch(results, int(epoch)) for epoch in epochs],
    )


def _describe_ratio(
    results: xr.Dataset, stage: str, trait: str
) -> dict[str, Any] | None:
    """The ratio with two intervals: over classes, and over replicas.

    Returns:
        `with`, `without`: shares, of all replicas together. `ratio`, and `low`, `high`:
        over classes. `replicas`: geometric mean with Student's interval, of those with
        such an example. `num`: of examples, by replica. None where the trait would
        tell of itself.
    """
    if (trait, stage) in CIRCULAR:
        return None
    counts_2RK = _counts(results, stage, trait)
    rest_2RK = _counts(results, stage, "all") - counts_2RK
    with np.errstate(divide="ignore"):
        logs_R = np.log(divide_shares(counts_2RK.sum(axis=2), rest_2RK.sum(axis=2)))
    over_replicas = interval_and_count(np.where(np.isfinite(logs_R), logs_R, np.nan))
    value, low, high = results["ratio"].sel(stage=stage, trait=trait).to_numpy()
    return {
        "with": _divide(counts_2RK),
        "without": _divide(rest_2RK),
        "ratio": float(value),
        "low": float(low),
        "high": float(high),
        "num": counts_2RK[0].sum(axis=1).astype(int).tolist(),
        "replicas": {
            k: float(np.exp(over_replicas[k])) for k in ("mean", "low", "high")
        },
        "num_seen": int(over_replicas["n"]),
    }


def _divide(counts_2RK: Array) -> float:
    first, risk = counts_2RK.sum(axis=(1, 2))
    return float(first / risk) if risk else float("nan")


def _counts(results: xr.Dataset, stage: str, trait: str) -> Array:
    """First below the clip, and at risk, [2, R, K]."""
    found = results.sel(stage=stage, trait=trait)
    return np.stack([found["num_first"].to_numpy(), found["num_risk"].to_numpy()])


def _first(results: xr.Dataset, stage: str, trait: str) -> Array:
    """How many are first below the clip in a stage, [R]."""
    return np.asarray(_counts(results, stage, trait)[0].sum(axis=1))


def _share(results: xr.Dataset, trait: str) -> float:
    """Of the examples, those that have the trait."""
    num = _counts(results, "early", trait)[1].sum(axis=1).mean()
    return float(num / results.attrs["num_examples"])


def _find_onset(share_TR: Array, onset: float) -> Array:
    """Place of the first kept epoch with so large a share, [R]; -1: none."""
    begun_TR = share_TR >= onset
    return np.where(begun_TR.any(axis=0), begun_TR.argmax(axis=0), -1)


def _describe_contradictions(results: xr.Dataset) -> dict[str, Any]:
    """What equal images with several labels ask of any network."""
    attrs = results.attrs
    lowest = float(results["train_loss"].min("epoch").mean())
    floor = float(attrs["floor"] / attrs["num_examples"])
    return {
        "num_images": int(attrs["num_images"]),
        "num": int(attrs["num_contradictory"]),
        "num_outvoted": int(attrs["num_outvoted"]),
        "num_tied": int(attrs["num_tied"]),
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
    now = results.sel(kept_epoch=epoch)
    below = now["num_below"]
    one = below.sel(trait="contradictory").to_numpy()
    everyone = below.sel(trait="all").to_numpy()
    curves = results.sel(epoch=epoch)
    members = _first(results, "early", "all")
    still = now["num_still"].sel(stage="early").to_numpy()
    return {
        "epoch": epoch,
        "below": interval_and_count(everyone),
        "contradictory": interval_and_count(one),
        "contradictory_share": interval_and_count(one / np.maximum(everyone, 1)),
        "early_still": interval_and_count(still / np.maximum(members, 1)),
        "loss": interval_and_count(now["mean_loss"].sel(trait="all").to_numpy()),
        **{
            f"{trait}_loss": interval_and_count(
                now["mean_loss"].sel(trait=trait).to_numpy()
            )
            for trait in ("contradictory", "tied", "outvoted")
        },
        "deviation": interval_and_count(curves["deviation"].to_numpy()),
    }
