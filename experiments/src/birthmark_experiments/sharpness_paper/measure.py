"""Train with both losses; curvature at the looks, and curves."""

from pathlib import Path

import xarray as xr

from birthmark.data import load_dataset
from birthmark.store import open_store
from ..frame import variable
from ..frame.probes import train_all
from ..sharpness.readings import read_run
from .protocol import Protocol, describe, spec_of


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Train with both losses; curvature at the looks, and curves."""
    specs = [spec_of(protocol, loss) for loss in protocol.looks]
    train_all(specs, open_store(folder / "store", create=True))
    by_loss = [
        read_run(
            spec, folder, looks, sample=protocol.sample, batches=protocol.batches
        ).drop_vars(["unclipped_sharpness", "whole_sharpness"])
        for spec, looks in zip(specs, protocol.looks.values(), strict=True)
    ]
    results = xr.concat(by_loss, "loss", join="outer", combine_attrs="drop_conflicts")
    results = results.assign_coords(loss=list(protocol.looks))
    lrs = [spec.training.lr for spec in specs]
    results["lr"] = variable("loss", lrs, "learning rate")
    num_examples = len(load_dataset(protocol.spec.data).y_train)
    results.attrs = {"protocol": describe(protocol, num_examples)}
    return results
