"""What the records of sharpness in the paper's own network say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import holm, interval
from ..abandonment.ends import ONSET, find_collapse, find_onset
from ..frame import Facts, each
from ..sharpness.facts import EDGE, find_difference, find_known, scale_by_lr

QUANTITIES = {"sharpness": "lr x sharpness", "batch_sharpness": "lr x batch sharpness"}


@dataclass(frozen=True)
class SharpnessPaperFacts(Facts):
    """What each network shows at each look, and paired differences before the onset."""

    protocol: str
    num_replicas: int
    epochs: int
    onset: Sequence[int | None]  # epochs; None: it did not set in
    collapse: Mapping[str, Any]
    looks: Mapping[str, Mapping[int, Any]]  # by loss, by epoch
    before: Mapping[str, Mapping[str, Any]]
    differences: Sequence[Mapping[str, Any]]
    peak: Mapping[str, float]
    end: Mapping[str, Any]
    edge: float = EDGE
    onset_share: float = ONSET


def summarize(results: xr.Dataset) -> SharpnessPaperFacts:
    """What each network shows at each look, and paired differences before the onset."""
    runs = each(results, "loss")
    # from logits no example is abandoned: nothing sets in
    onsets = {
        "clipped": find_onset(_by_epoch(runs["clipped"], "below_eps")),
        "logits": np.full(results.sizes["replica"], np.nan),
    }
    return SharpnessPaperFacts.read(
        results,
        epochs=int(results["epoch"][-1]),
        onset=_list_epochs(onsets["clipped"]),
        collapse={
            loss: _list_epochs(find_collapse(_by_epoch(run, "train_accuracy")))
            for loss, run in runs.items()
        },
        looks={loss: _describe_looks(run, onsets[loss]) for loss, run in runs.items()},
        before={
            loss: {n: _describe_before(run, n, onsets[loss]) for n in QUANTITIES}
            for loss, run in runs.items()
        },
        differences=_compare(runs, onsets["clipped"]),
        peak=_find_peak(runs["clipped"], onsets["clipped"]),
        end=_describe_end(runs["clipped"]),
    )


def _by_epoch(run: xr.Dataset, name: str) -> Array:
    return np.asarray(run[name].transpose("epoch", "replica"))


def _list_epochs(epoch_R: Array) -> list[int | None]:
    return [int(epoch) if np.isfinite(epoch) else None for epoch in epoch_R]


def _list_looks(run: xr.Dataset) -> Array:
    return run["look"].to_numpy()[find_known(run)]


def _describe_looks(run: xr.Dataset, onset_R: Array) -> dict[int, dict[str, Any]]:
    """By epoch: one value a replica, and how far the onset is."""
    return {
        epoch: {
            "from_onset": _list_epochs(epoch - onset_R),
            "below": one["sample_below"].to_numpy().tolist(),
            "mean_share": one["mean_share"].to_numpy().tolist(),
            "loss": one["sample_loss"].to_numpy().tolist(),
            **{n: scale_by_lr(one, n).to_numpy().tolist() for n in QUANTITIES},
        }
        for epoch, one in each(run.isel(look=find_known(run)), "look").items()
    }


def _describe_before(run: xr.Dataset, name: str, onset_R: Array) -> dict[str, float]:
    """Ends and number of the values before the onset, and how many pass the edge."""
    looks = _list_looks(run)
    is_before_TR = ~(looks[:, None] >= onset_R)
    values_TR = scale_by_lr(run.sel(look=looks), name).transpose("look", "replica")
    values = values_TR.to_numpy()[is_before_TR]
    return {
        "low": float(values.min()),
        "high": float(values.max()),
        "num": len(values),
        "num_above": int((values > EDGE).sum()),
    }


def _compare(runs: dict[str, xr.Dataset], onset_R: Array) -> list[dict[str, Any]]:
    """Clipped minus logits before the first onset, and the rise within each; Holm."""
    first = np.nanmin(np.append(onset_R, np.inf))
    looks = {loss: _list_looks(run) for loss, run in runs.items()}
    looks["clipped"] = looks["clipped"][looks["clipped"] < first]
    common = np.intersect1d(looks["clipped"], looks["logits"])
    sides = [
        (f"clipped minus logits, epoch {epoch}", ("clipped", epoch), ("logits", epoch))
        for epoch in common.tolist()
    ] + [
        (f"{loss}, epoch {at[-1]} minus epoch {at[0]}", (loss, at[-1]), (loss, at[0]))
        for loss, at in looks.items()
    ]
    found: list[dict[str, Any]] = []
    for words, *pair in sides:
        for name, title in QUANTITIES.items():
            ends = [runs[loss].sel(look=epoch) for loss, epoch in pair]
            a_R, b_R = (scale_by_lr(one, name).to_numpy() for one in ends)
            row: dict[str, Any] = {"words": words, "title": title, "of": interval(a_R)}
            found.append(row | find_difference(a_R, b_R))
    for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
        row["p"] = float(p)
    return found


def _find_peak(run: xr.Dataset, onset_R: Array) -> dict[str, Any]:
    """Where lr x sharpness is highest."""
    highest = scale_by_lr(run).argmax(("look", "replica"))
    one = run.isel(highest)
    from_onset = _list_epochs(one["look"].item() - onset_R)
    return {
        "epoch": int(one["look"]),
        "from_onset": from_onset[int(highest["replica"])],
        "below": float(one["sample_below"]),
        **{name: float(scale_by_lr(one, name)) for name in QUANTITIES},
    }


def _describe_end(run: xr.Dataset) -> dict[str, Any]:
    """The last look, and by how much the train loss changes after it, by replica."""
    epoch = int(_list_looks(run)[-1])
    loss_TR = run["train_loss"].sel(epoch=slice(epoch + 1, None))
    one = run.sel(look=epoch)
    return {
        "epoch": epoch,
        "sharpness": one["sharpness"].to_numpy().tolist(),
        "below": interval(one["sample_below"]),
        "change": (loss_TR[-1] - loss_TR[0]).to_numpy().tolist(),
    }
