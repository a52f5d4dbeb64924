"""Read the curvature of a run at epochs at which its weights are kept."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.seeds import batch_order, stream
from birthmark.shapes import Array, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.theory import (
    LossOfParameters,
    Parameters,
    find_top,
    read_batch_sharpness,
)
from birthmark.training import find_loss
from ..frame import coordinates, recall, variables
from ..frame.probes import as_inputs
from ..frame.variables import name_curves, name_deviation
from .protocol import LOSSES

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
_CURVES = ("train_loss", "train_accuracy", "below_eps")


def read_run(
    spec: RunSpec,
    folder: Path,
    looks: tuple[int, ...],
    *,
    sample: int,
    batches: int,
    is_focus: bool = False,
) -> xr.Dataset:
    """Curvature at epochs of a run of which the weights are kept, and its curves.

    It is kept in the folder, whose store has the run, for it takes as long as a
    training. The sharpness is of so many examples, the batch sharpness of so many of
    the next batches; in the focus one looks without the clip as well, and once at all
    examples.
    """
    about = (spec, looks, sample, batches, is_focus)
    store = open_store(folder / "store")
    return recall(folder, "curvature", about, lambda: _look(store, *about))


def _look(
    store: Store,
    spec: RunSpec,
    looks: tuple[int, ...],
    sample: int,
    batches: int,
    is_focus: bool,
) -> xr.Dataset:
    x_NI, y_N = as_inputs(load_dataset(spec.data), "train")
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
    results = xr.Dataset(variables(("look", "replica"), _READINGS, values))
    results["deviation"] = name_deviation(records, list(looks), "look")
    curves = {name: records[name].to_numpy()[1:] for name in _CURVES}
    labels = coordinates({"look": looks, "replica": range(spec.run.replicas)})
    return results.merge(name_curves(curves, len(y_N))).assign_coords(labels)


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
    """The curvature of the loss of one network; nothing where parameters overflowed.

    The sharpness is of so many training examples, the same each time; batches are those
    of the batch sharpness, as indices of examples. In the focus one looks without the
    clip as well, and where it `is_whole` at all examples too.
    """
    if not all(bool(torch.isfinite(p).all()) for p in parameters):
        return {}
    name, eps, logits = spec.training.loss, spec.training.eps, LOSSES["logits"]
    some = choose_sample(spec, len(y_N), sample)
    x, y = x_NI[some], y_N[some]
    loss = make_loss(name, eps, x, y)
    top = find_top(loss, parameters)
    bare = make_loss(logits, eps, x, y, each=True)
    with torch.no_grad():
        losses_N = bare(parameters)
    mean_I = x_NI.mean(dim=0).double()
    parts = torch.stack([v.square().sum() for v in top.vector])
    reads_mean = (mean_I @ top.vector[0]).square().sum() / mean_I.square().sum()
    losses = [make_loss(name, eps, x_NI[one], y_N[one]) for one in batches]
    found = {
        "sharpness": top.value,
        "batch_sharpness": read_batch_sharpness(losses, parameters),
        # of a flat loss 0 / 0: it has no direction
        "mean_share": float(reads_mean / parts.sum()),
        "first_share": float(parts[:2].sum() / parts.sum()),
        "sample_loss": float(loss(parameters)),
        "sample_below": float((losses_N > -np.log(eps)).double().mean()),
    }
    if is_focus:
        unclipped = make_loss(logits, eps, x, y)
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


def take_parameters(weights: Weights, replica: int) -> Parameters:
    """Weights and biases of one replica of a dense stack, in forward order."""
    return tuple(
        torch.as_tensor(np.asarray(part[replica]))
        for _, layer in weights.items()
        for part in (layer.w, layer.b)
    )


def make_loss(
    name: str, eps: float, x_NI: Tensor, y_N: Tensor, *, each: bool = False
) -> LossOfParameters:
    """The loss of these examples as a function of a dense relu network's parameters.

    It is the mean over them, or that of `each`; eps is the clip, where it has one.
    """
    value = find_loss(name).value

    def loss(parameters: Parameters) -> Tensor:
        a = x_NI
        for place in range(0, len(parameters), 2):
            if place:
                a = torch.relu(a)
            a = torch.addmm(parameters[place + 1], a, parameters[place])
        losses_N = value(a, y_N, eps)
        return losses_N if each else losses_N.mean()

    return loss
