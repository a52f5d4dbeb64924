"""Sharpness in the paper's own network: width 150, with the clip and from logits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from birthmark.data import load_dataset
from birthmark.spec import RunSpec
from birthmark.store import open_store
from birthmark.sweeps import Grid, preset, run_grid
from birthmark_experiments.frame.experiment import Experiment, labelled
from birthmark_experiments.sharpness.protocol import LOSSES
from birthmark_experiments.sharpness.readings import describe_readings, read_run
from birthmark_experiments.sharpness_paper.facts import summarize


@dataclass(frozen=True)
class Protocol:
    """What one scale trains and measures."""

    spec: RunSpec  # but for its loss and its record
    looks: dict[str, tuple[int, ...]]  # epochs after which to look, by loss
    sample: int  # examples of the sharpness, the same for all
    batches: int  # of a batch sharpness


PROTOCOLS = {
    "full": Protocol(
        spec=preset("paper", width=150, mark=False).with_settings(
            {"mark.text": "a", "run.replicas": 3, "run.device": "cpu"}
        ),
        looks={
            "clipped": (160, 350, 490, 530, 590),
            "logits": (160, 355, 490, 530, 990),
        },
        sample=4096,
        batches=16,
    ),
    "quick": Protocol(
        spec=RunSpec(
            data={"name": "digits", "preprocessing": "inverted"},
            network={"widths": [8, 8]},
            training={"epochs": 4, "lr": 0.3, "eps": 0.05},
            run={"replicas": 2, "device": "cpu"},
        ),
        looks={"clipped": (0, 1, 3), "logits": (0, 1, 2)},
        sample=300,
        batches=4,
    ),
}


def spec_of(protocol: Protocol, loss: str) -> RunSpec:
    """The run of a loss; its weights are kept at the looks."""
    looks = protocol.looks[loss]
    return protocol.spec.with_settings(
        {
            "training.loss": LOSSES[loss],
            "record.epochs": looks,
            "record.distributions": (0,),
            "record.weights": looks,
        }
    )


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Train with both losses; curvature at the looks, and curves."""
    protocol = PROTOCOLS[scale]
    specs = [spec_of(protocol, loss) for loss in protocol.looks]
    run_grid(Grid(tuple(specs)), open_store(folder / "store", create=True))
    by_loss = [
        read_run(
            spec, folder, looks, sample=protocol.sample, batches=protocol.batches
        ).drop_vars(["unclipped_sharpness", "whole_sharpness"])
        for spec, looks in zip(specs, protocol.looks.values(), strict=True)
    ]
    results = xr.concat(by_loss, "loss", join="outer", combine_attrs="drop_conflicts")
    results = results.assign_coords(loss=list(protocol.looks))
    lrs = [spec.training.lr for spec in specs]
    results["lr"] = ("loss", lrs, labelled("learning rate", "1"))
    num_examples = len(load_dataset(protocol.spec.data).y_train)
    results.attrs = {"protocol": describe(protocol, num_examples)}
    return results


def describe(protocol: Protocol, num_examples: int) -> str:
    """The protocol in words, for captions and the page."""
    spec, training = protocol.spec, protocol.spec.training
    widths = "-".join(map(str, spec.network.widths))
    return (
        f"{spec.data.name} ({num_examples} training images), white background, pixels "
        f"in [0, 1]; dense relu network {widths}, Glorot uniform; cross-entropy "
        f"clipped at {training.eps:g}, or from logits; plain SGD, lr {training.lr:g}, "
        f"batch {training.batch_size}, {training.epochs} epochs; {spec.run.replicas} "
        "replicas, paired by start and order of batches; float32, seed "
        f"{spec.run.seed}. Sharpness: of the loss of {protocol.sample} training "
        f"images, {describe_readings(protocol.batches)}"
    )


EXPERIMENT = Experiment(
    name="sharpness-paper",
    question="Is the paper's own network beyond the edge of stability as it collapses?",
    data=("hasyv2",),
    measure=measure,
    summarize=summarize,
)
