"""Is the untrainability regime the edge of stability of a white background?

White pixels give every input the same large part, the mean image, along which the loss
is steep. The same networks see their pixels in three ways, at several learning rates;
the sharpness is held against 2 / lr on the way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.experiments.curvatures import (
    Parameters,
    find_top,
    make_loss,
    read_batch_sharpness,
    take_parameters,
)
from birthmark.experiments.experiment import Experiment, labelled
from birthmark.experiments.probes import as_inputs
from birthmark.experiments.sharpness_facts import summarize
from birthmark.experiments.sharpness_runs import (
    LOSSES,
    PROTOCOLS,
    Arm,
    Protocol,
    find_looks,
    list_arms,
    spec_of,
)
from birthmark.seeds import batch_order, stream
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.store import Store, has_results, load_results, open_store, save_results
from birthmark.sweeps import Grid, run_grid

_LAYER = "hidden2"
_READINGS = {
    "sharpness": ("largest eigenvalue of the Hessian of the arm's loss", "nat"),
    "batch_sharpness": ("mean of g'Hg / g'g over batches", "nat"),
    "mean_share": ("share of the top eigenvector that reads the mean image", "1"),
    "first_share": ("share of the top eigenvector in the first layer", "1"),
    "sample_loss": ("loss of the sample", "nat"),
    "sample_below": ("share of the sample below the clip", "1"),
    "unclipped_sharpness": ("largest eigenvalue without the clip", "nat"),
    "whole_sharpness": ("largest eigenvalue over the whole training set", "nat"),
}
_CURVES = {
    "train_loss": ("train loss, mean over an epoch as it was visited", "nat"),
    "train_accuracy": ("train accuracy, likewise", "1"),
    "below_eps": ("share of visits with a true class below the clip", "1"),
}
_MOMENTS = {
    "square_norm": ("mean squared norm of an input", "1"),
    "mean_square_norm": ("squared norm of the mean input", "1"),
    "top_moment": ("largest eigenvalue of the second moments of the inputs", "1"),
}


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Train all arms; curvature at their looks, curves, and moments of the inputs."""
    protocol = PROTOCOLS[scale]
    store = open_store(folder / "store", create=True)
    arms = list_arms(protocol)
    specs = [spec_of(protocol, arm) for arm in arms]
    run_grid(Grid(tuple(specs)), store)
    by_arm = []
    for arm, spec in zip(arms, specs, strict=True):
        # kept one by one: the curvature takes as long as the training
        place = folder / "curvatures" / spec.run_key
        if not has_results(place):
            save_results(place, read_arm(protocol, arm, store), {"arm": arm.name})
        by_arm.append(load_results(place)[0])
    results = xr.concat(by_arm, "arm", join="outer", combine_attrs="drop_conflicts")
    results = results.assign_coords(arm=[arm.name for arm in arms])
    for field in ("pixels", "loss"):
        texts = [str(getattr(arm, field)) for arm in arms]
        results[field] = ("arm", texts, labelled(f"{field} of the arm", "text"))
    results["lr"] = ("arm", [arm.lr for arm in arms], labelled("learning rate", "1"))
    moments = {}
    for pixels, preprocessing in protocol.inputs.items():
        data = specs[0].with_settings({"data.preprocessing": preprocessing}).data
        moments[pixels] = read_moments(as_inputs(load_dataset(data), "train")[0])
    for name, words in _MOMENTS.items():
        values = [moments[pixels][name] for pixels in moments]
        results[name] = ("input", values, labelled(*words))
    results = results.assign_coords(input=list(moments))
    dataset = load_dataset(specs[0].data)
    results.attrs = {
        "protocol": _describe(protocol, len(dataset.y_train)),
        "num_classes": dataset.num_classes,
        "eps": protocol.eps,
        "focus": f"{protocol.focus[0]} {protocol.focus[1]:g}",
        "sample": protocol.sample,
        "batches": protocol.batches,
    }
    return results


def read_arm(protocol: Protocol, arm: Arm, store: Store) -> xr.Dataset:
    """Curvature at the looks of an arm, and its curves."""
    spec = spec_of(protocol, arm)
    return read_run(
        spec,
        store,
        as_inputs(load_dataset(spec.data), "train"),
        find_looks(protocol, arm),
        sample=protocol.sample,
        batches=protocol.batches,
        is_focus=(arm.pixels, arm.lr) == protocol.focus and arm.loss == "clipped",
    )


def read_run(
    spec: RunSpec,
    store: Store,
    examples: tuple[Tensor, Tensor],
    looks: tuple[int, ...],
    *,
    sample: int,
    batches: int,
    is_focus: bool,
) -> xr.Dataset:
    """Curvature at epochs of a run of which the weights are kept, and its curves.

    Args:
        spec: Of the run.
        store: That has it.
        examples: The training set as the network sees it, and its classes.
        looks: The epochs.
        sample: How many examples the sharpness is of.
        batches: How many of the next batches the batch sharpness is of.
        is_focus: Whether to look without the clip as well, and once at all examples.
    """
    x_NI, y_N = examples
    shape = (len(looks), spec.run.replicas)
    values = {name: np.full(shape, np.nan, dtype=np.float32) for name in _READINGS}
    for t, epoch in enumerate(looks):
        weights = store.weights(spec.run_key, epoch)
        for r in range(spec.run.replicas):
            found = read_curvature(
                take_parameters(weights, r),
                spec,
                x_NI,
                y_N,
                sample=sample,
                batches=list_batches(spec, len(y_N), r, epoch)[:batches],
                is_focus=is_focus,
                is_whole=is_focus and r == 0,
            )
            for name, value in found.items():
                values[name][t, r] = value
    records = store.records(spec.run_key, distributions=False)
    results = xr.Dataset(
        {n: (("look", "replica"), values[n], labelled(*_READINGS[n])) for n in values}
    )
    deviation = records["deviation_std"].sel(layer=_LAYER).to_numpy()[list(looks)]
    results["deviation"] = (
        ("look", "replica"),
        np.float32(deviation),
        labelled(
            "standard deviation of the deviation, between hidden layers", "weight"
        ),
    )
    for name, words in _CURVES.items():
        curve = records[name].to_numpy()[1:]
        curve = curve / (len(y_N) if name == "below_eps" else 1)
        results[name] = (("epoch", "replica"), np.float32(curve), labelled(*words))
    return results.assign_coords(
        look=np.array(looks, dtype=np.int32),
        epoch=np.arange(1, spec.training.epochs + 1, dtype=np.int32),
        replica=np.arange(spec.run.replicas, dtype=np.int32),
    )


def list_batches(
    spec: RunSpec, num_examples: int, replica: int, epoch: int
) -> list[Array]:
    """The batches of the epoch that follows, in order."""
    order = batch_order(spec.run.seed, replica, epoch, num_examples)
    cuts = range(spec.training.batch_size, num_examples, spec.training.batch_size)
    return np.split(order, list(cuts))


def read_curvature(
    parameters: Parameters,
    spec: RunSpec,
    x_NI: Tensor,
    y_N: Tensor,
    *,
    sample: int,
    batches: list[Array],
    is_focus: bool,
    is_whole: bool = False,
) -> dict[str, float]:
    """The curvature of the loss at these parameters; nothing where they overflowed.

    Args:
        parameters: Of one network.
        spec: Its run.
        x_NI: The training set, as the network sees it.
        y_N: Its classes.
        sample: How many training examples, the same each time, the sharpness is of.
        batches: Of the batch sharpness, as indices of examples.
        is_focus: Whether to look without the clip as well.
        is_whole: Whether to look at all examples as well.
    """
    if not all(bool(torch.isfinite(p).all()) for p in parameters):
        return {}
    name, eps = spec.training.loss, spec.training.eps
    some = choose_sample(spec, len(y_N), sample)
    loss = make_loss(name, eps, x_NI[some], y_N[some])
    top = find_top(loss, parameters)
    bare = make_loss(LOSSES["logits"], eps, x_NI[some], y_N[some], each=True)
    with torch.no_grad():
        losses_N = bare(parameters)
    mean_I = x_NI.mean(dim=0).double()
    parts = torch.stack([v.square().sum() for v in top.vector])
    reads_mean = (mean_I @ top.vector[0]).square().sum() / mean_I.square().sum()
    found = {
        "sharpness": top.value,
        "batch_sharpness": read_batch_sharpness(
            [make_loss(name, eps, x_NI[one], y_N[one]) for one in batches], parameters
        ),
        # of a flat loss 0 / 0: it has no direction
        "mean_share": float(reads_mean / parts.sum()),
        "first_share": float(parts[:2].sum() / parts.sum()),
        "sample_loss": float(loss(parameters)),
        "sample_below": float((losses_N > -np.log(eps)).double().mean()),
    }
    if is_focus:
        unclipped = make_loss(LOSSES["logits"], eps, x_NI[some], y_N[some])
        found["unclipped_sharpness"] = find_top(unclipped, parameters).value
    if is_whole:
        whole = make_loss(name, eps, x_NI, y_N)
        found["whole_sharpness"] = find_top(whole, parameters).value
    return found


def choose_sample(spec: RunSpec, num_examples: int, count: int) -> Array:
    """The examples that the sharpness is of: the same for all replicas and epochs."""
    draws = stream(spec.run.seed, 0, "sample", "examples").random(num_examples)
    chosen: Array = np.argsort(draws)[:count]
    return chosen


def read_moments(x_NI: Tensor) -> dict[str, float]:
    """Second moments of the inputs: what scales the curvature of a first layer."""
    x = x_NI.double()
    moments_II = x.T @ x / len(x)
    return {
        "square_norm": float(moments_II.trace()),
        "mean_square_norm": float(x.mean(dim=0).square().sum()),
        "top_moment": float(torch.linalg.eigvalsh(moments_II)[-1]),
    }


def _describe(protocol: Protocol, num_examples: int) -> str:
    data, width = protocol.data, protocol.width
    classes = f"the first {data['classes']} classes of " if "classes" in data else ""
    return (
        f"{classes}{data['name']}, at most {data['examples_per_class']} examples a "
        f"class ({num_examples} in all); pixels in [0, 1] with a white or a black "
        "background, or centred (minus the mean over all pixels and images, over their "
        f"standard deviation); dense relu network {width}-{width}, Glorot uniform; "
        f"plain SGD, batch {protocol.batch_size}; cross-entropy clipped at "
        f"{protocol.eps:g}, or from logits; lr up to {protocol.slow:g}: "
        f"{protocol.long.epochs} epochs, above: {protocol.short.epochs}; "
        f"{protocol.replicas} replicas, paired over all settings by start and order of "
        f"batches; float32, seed 0. Sharpness: of the loss of {protocol.sample} "
        "training examples, the same each time, by ARPACK to 1 %; batch sharpness: of "
        f"{protocol.batches} batches, the next ones of the training."
    )


EXPERIMENT = Experiment(
    name="sharpness",
    question="Is the untrainability regime the edge of stability of white pixels?",
    data=("hasyv2",),
    measure=measure,
    summarize=summarize,
)
