"""Train with all, see who is hardest, and train without them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.seeds import batch_order, stream
from birthmark.shapes import Array, Dataset
from birthmark.training import Training
from ..abandonment.ends import FALLEN, ONSET, WINDOW, find_collapse, find_onset
from ..abandonment.examples import compute_losses
from ..frame import gather, recall
from ..frame.probes import as_inputs
from .facts import HARDEST
from .protocol import Protocol, describe_arms

_METRICS = ("train_loss", "train_accuracy", "test_accuracy", "abandoned")
_WORDS = {
    "train_loss": ("train loss, mean over an epoch as it was visited", "nat"),
    "train_accuracy": ("train accuracy, likewise", "1"),
    "test_accuracy": ("test accuracy at the end of the epoch", "1"),
    "abandoned": ("share of visits abandoned", "1"),
    "deviation": (
        "standard deviation of the deviation, between hidden layers",
        "weight",
    ),
    "early_loss": ("loss of an example early on", "nat"),
    "onset": ("onset of abandoning; NaN: none", "epochs"),
    "collapse": ("collapse of the accuracy; NaN: none", "epochs"),
    "num_left_out": ("examples left out", "1"),
}


@dataclass(frozen=True)
class OrderWithout:
    """The orders of a run, with some examples taken out of them.

    With the size of a batch, an epoch leaves out some more at its end, so that its last
    batch is as large as that of the run: after one of seven images little is left.
    """

    seed: int
    replicas: int
    kept_N: Array
    batch_size: int = 1

    def __len__(self) -> int:
        """How many an epoch visits."""
        left = int(self.kept_N.sum())
        return left - (left - len(self.kept_N)) % self.batch_size

    def __call__(self, epoch: int) -> Tensor:
        """See `birthmark.training.Order`."""
        whole = [
            batch_order(self.seed, r, epoch, len(self.kept_N))
            for r in range(self.replicas)
        ]
        return torch.from_numpy(
            np.stack([order[self.kept_N[order]][: len(self)] for order in whole])
        )


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Curves of all arms, and when they begin to abandon and collapse."""
    dataset = load_dataset(protocol.spec.data)
    everybody = np.ones(len(dataset.y_train), dtype=bool)
    first = _recall(protocol, dataset, everybody, folder)
    loss_N = first["early_loss"].mean("replica").to_numpy()
    arms = [first.drop_vars("early_loss")]
    for kind, share in list(protocol.arms.values())[1:]:
        kept_N = ~choose(loss_N, kind, share, protocol.spec.run.seed)
        found = _recall(protocol, dataset, kept_N, folder)
        arms.append(found.drop_vars("early_loss"))
    results = xr.concat(arms, "arm", combine_attrs="override")
    results = results.assign_coords(arm=list(protocol.arms))
    return results.assign_attrs(
        protocol=describe_arms(protocol, len(dataset.y_train)),
        num_examples=len(dataset.y_train),
        eps=protocol.spec.training.eps,
        early=protocol.early,
        onset=ONSET,
        fallen=FALLEN,
        window=WINDOW,
    )


def choose(loss_N: Array, kind: str, share: float, seed: int) -> Array:
    """Which examples are left out, [N]: the hardest, or as many at random."""
    count = round(share * len(loss_N))
    out = np.zeros(len(loss_N), dtype=bool)
    if kind == HARDEST:
        out[np.argsort(-loss_N, kind="stable")[:count]] = True
    else:
        random = stream(seed, 0, "left out", f"{share:g}")
        out[random.choice(len(loss_N), count, replace=False)] = True
    return out


def _recall(
    protocol: Protocol, dataset: Dataset, kept_N: Array, folder: Path
) -> xr.Dataset:
    told = [protocol.spec, protocol.early, kept_N]
    return recall(folder, "an arm", told, partial(train, protocol, dataset, kept_N))


def train(protocol: Protocol, dataset: Dataset, kept_N: Array) -> xr.Dataset:
    """All replicas from their starts, without the examples that are not kept."""
    spec = protocol.spec
    replicas = spec.run.replicas
    order = OrderWithout(spec.run.seed, replicas, kept_N)
    training = Training.from_spec(spec, dataset, order=order)
    start = training.initial["hidden2"].w.clone()
    x_NI, y_N = as_inputs(dataset, "train")
    curves: dict[str, list[Array]] = {name: [] for name in (*_METRICS, "deviation")}
    for epoch in range(1, spec.training.epochs + 1):
        metrics = training.run_epoch()
        for name in _METRICS:
            curves[name].append(getattr(metrics, name))
        now = training.weights
        moved_RIO = (now["hidden2"].w - start).double()
        curves["deviation"].append(moved_RIO.std((1, 2), correction=0).numpy())
        if epoch == protocol.early:
            loss_RN = compute_losses(now, x_NI, y_N, spec.network.activation)
    curves_TR = {name: np.array(values) for name, values in curves.items()}
    curves_TR["abandoned"] = curves_TR["abandoned"] / len(order)
    lines = ("epoch", "replica")
    values = {
        **{name: (lines, np.float32(found)) for name, found in curves_TR.items()},
        "early_loss": (("replica", "example"), np.float32(loss_RN)),
        "onset": ("replica", find_onset(curves_TR["abandoned"])),
        "collapse": ("replica", find_collapse(curves_TR["train_accuracy"])),
        "num_left_out": ((), int((~kept_N).sum())),
    }
    epochs = range(1, spec.training.epochs + 1)
    return gather(_WORDS, values, {"epoch": epochs, "replica": range(replicas)})
