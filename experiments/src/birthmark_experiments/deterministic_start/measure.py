"""Hold the comparison, and look at what it kept of the starts."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from birthmark.data import load_dataset
from birthmark.store import open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.deterministic_start.gates import count_flips
from birthmark_experiments.deterministic_start.protocol import (
    Protocol,
    describe,
    list_specs,
)
from birthmark_experiments.deterministic_start.spaces import measure_few, measure_spaces
from birthmark_experiments.frame.comparisons import run_comparison


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Hold the comparison, and look at what it kept of the starts."""
    store = open_store(folder, create=True)
    dataset = load_dataset(protocol.spec.data)
    specs = list_specs(protocol.spec, protocol.starts)
    results = run_comparison(specs, store)
    spaces = measure_spaces(specs, store, dataset, protocol.num_images)
    few_specs = list_specs(protocol.few, protocol.few_starts)
    run_grid(Grid(tuple(few_specs.values())), store)
    few = measure_few(few_specs, store, load_dataset(protocol.few.data))
    gates = count_flips(
        protocol.gates, protocol.widths, store, load_dataset(protocol.gates.data)
    )
    gates = gates.rename(replica="gate_replica")
    joined = xr.merge([results, spaces, few, gates], combine_attrs="drop_conflicts")
    joined.attrs |= {
        "protocol": describe(protocol, dataset),
        "num_inputs": dataset.num_inputs,
        "width": protocol.spec.network.widths[0],
        "num_images": protocol.num_images,
    }
    return joined
