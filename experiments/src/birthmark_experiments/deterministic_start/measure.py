"""Could a start without chance do? And what training keeps of a start.

Deterministic rules against random ones, in pairs of equal batch orders. Then what
becomes of the null space of the first layer, of the distances between inputs, and of
the gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from birthmark.analysis import PowerLaw, fit_power_law
from birthmark.data import load_dataset
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.deterministic_start.gates import (
    NTK_LRS,
    STANDARD,
    count_flips,
)
from birthmark_experiments.deterministic_start.spaces import (
    MOMENTS,
    MOVES,
    measure_few,
    measure_spaces,
)
from birthmark_experiments.frame.contests import (
    difference,
    hold_contest,
    interval,
    read_rankings,
    tabulate,
)
from birthmark_experiments.frame.experiment import Experiment

RANDOM = ("glorot_uniform", "he_normal", "orthogonal", "signed_constant")
DETERMINISTIC = ("dct", "sobol", "hadamard", "zero_hadamard")
# its singular values are all 1, as those of dct and hadamard are: the same but chance
REFERENCE = "orthogonal"


@dataclass(frozen=True)
class Scale:
    """How much of it is measured."""

    spec: RunSpec
    starts: tuple[str, ...]
    num_images: int  # test images whose distances and moves are looked at
    few: RunSpec  # so few examples that their span is small
    few_starts: tuple[str, ...]
    gates: RunSpec
    widths: tuple[int, ...]


def _scale(scale: str) -> Scale:
    full = scale == "full"
    training: dict[str, Any] = {
        "loss": "cross_entropy",
        "lr": 0.05,
        "batch_size": 64,
        "epochs": 6 if full else 3,
    }
    spec = RunSpec(
        data={"name": "mnist", "examples_per_class": 1000}
        if full
        else {"name": "digits"},
        network={"widths": [128, 128] if full else [16, 16]},
        training=training,
        run={"replicas": 8 if full else 3, "device": "cpu"},
        record={"distributions": [], "weights": [training["epochs"]]},
    )
    few = {
        "data.examples_per_class": 30 if full else 3,
        "training.epochs": 20 if full else 10,
        "run.replicas": 5 if full else 3,
        "record.epochs": [],
        "record.weights": [20 if full else 10],
    }
    gates = {
        "initialization": {"name": "lecun_normal"},
        "data.examples_per_class": 300 if full else 30,
        "training.epochs": 4 if full else 2,
        "run.replicas": 5 if full else 3,
        "record.epochs": [],
        "record.weights": [4 if full else 2],
        "record.weights_layers": ["hidden1"],
    }
    return Scale(
        spec=spec,
        starts=(*RANDOM, *DETERMINISTIC) if full else ("orthogonal", "dct"),
        num_images=500 if full else 100,
        few=spec.with_settings(few),
        few_starts=("glorot_uniform", "dct"),
        gates=spec.with_settings(gates),
        widths=(32, 64, 128, 256, 512, 1024) if full else (16, 64),
    )


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Hold the contest, and look at what it kept of the starts."""
    size = _scale(scale)
    store = open_store(folder, create=True)
    dataset = load_dataset(size.spec.data)
    specs = _entrants(size.spec, size.starts)
    results = hold_contest(specs, store)
    spaces = measure_spaces(specs, store, dataset, size.num_images)
    few_specs = _entrants(size.few, size.few_starts)
    run_grid(Grid(tuple(few_specs.values())), store)
    few = measure_few(few_specs, store, load_dataset(size.few.data))
    gates = count_flips(size.gates, size.widths, store, load_dataset(size.gates.data))
    gates = gates.rename(replica="gate_replica")
    joined = xr.merge([results, spaces, few, gates], combine_attrs="drop_conflicts")
    joined.attrs |= {
        "protocol": _describe(size, dataset),
        "num_inputs": dataset.num_inputs,
        "width": size.spec.network.widths[0],
        "num_images": size.num_images,
    }
    return joined


def _entrants(spec: RunSpec, starts: tuple[str, ...]) -> dict[str, RunSpec]:
    return {
        name: spec.with_settings({"initialization": {"name": name}}) for name in starts
    }


def _describe(size: Scale, dataset: Dataset) -> str:
    spec, training = size.spec, size.spec.training
    widths = "-".join(map(str, spec.network.widths))
    return (
        f"{dataset.name}, {len(dataset.y_train)} training and {len(dataset.y_test)} "
        f"test examples, pixels over the full scale; dense ReLU network of widths "
        f"{widths}, biases zero; cross-entropy, plain SGD, lr {training.lr:g}, batch "
        f"{training.batch_size}, {training.epochs} epochs; {spec.run.replicas} "
        "replicas, paired by the order of their batches; float32, seed 0. Few "
        f"examples: {size.few.data.examples_per_class} a class, "
        f"{size.few.training.epochs} epochs, {size.few.run.replicas} replicas. "
        "Gates: one hidden layer, lecun_normal, "
        f"{size.gates.data.examples_per_class} examples a class, "
        f"{size.gates.training.epochs} epochs, {size.gates.run.replicas} replicas."
    )


def summarize(results: xr.Dataset) -> dict[str, Any]:
    """Outcomes by start, what is kept of null spaces and distances, exponents."""
    rankings = read_rankings(results)
    starts = [str(name) for name in results["initialization"].to_numpy()]
    return {
        "protocol": results.attrs["protocol"],
        "num_replicas": int(results.sizes["replica"]),
        "starts": starts,
        "deterministic": [name for name in starts if name in DETERMINISTIC],
        "titles": {k: r.outcome.title for k, r in rankings.items()},
        "outcomes": {k: tabulate(r) for k, r in rankings.items()},
        "differences": {
            outcome: {
                name: difference(rankings[outcome], name, REFERENCE)
                for name in starts
                if name != REFERENCE
            }
            for outcome in ("test_accuracy", "mean_test_loss", "steps_2")
        },
        "same_variance": difference(
            rankings["mean_test_loss"], "signed_constant", "he_normal"
        )
        if "he_normal" in starts
        else None,
        "spaces": {name: _spaces_of(results, name) for name in starts},
        "chance": float(results.attrs["width"] / results.attrs["num_inputs"]),
        "num_inputs": int(results.attrs["num_inputs"]),
        "width": int(results.attrs["width"]),
        "span": int(results.attrs["span"]),
        "few_span": int(results.attrs["few_span"]),
        "few": {
            str(name): {
                key: float(results[f"few_{key}"].sel(few_initialization=name).mean())
                for key in ("outside_share", "outside_start", "row_overlap")
            }
            for name in results["few_initialization"].to_numpy()
        },
        "class_ratio_of_inputs": float(results["class_ratio_of_inputs"]),
        "gates": {name: _gates_of(results, name) for name in (STANDARD, *NTK_LRS)},
        "ntk_lrs": NTK_LRS,
    }


def _spaces_of(results: xr.Dataset, name: str) -> dict[str, Any]:
    one = results.sel(initialization=name)
    found: dict[str, Any] = {
        key: interval(one[key])
        for key in ("row_overlap", "largest_angle", "row_share", "outside_share")
    }
    for key in ("distortion", "class_ratio"):
        found[key] = {
            f"{layer} {moment}": float(one[key].sel(layer=layer, moment=moment).mean())
            for layer in ("hidden1", "hidden2")
            for moment in MOMENTS
        }
    for key in ("output_change", "changed_share", "move_length"):
        found[key] = {
            f"{move}, {moment}": interval(one[key].sel(move=move, moment=moment))
            for move in MOVES
            for moment in MOMENTS
        }
    return found


def fit_flips(results: xr.Dataset, name: str) -> PowerLaw:
    """The power law of the share of flipped gates in the width."""
    flips = results["flips"].sel(parametrization=name)
    fit = fit_power_law(
        {int(n): flips.sel(width=n).to_numpy() for n in results["width"].to_numpy()}
    )
    assert fit is not None  # there are several widths
    return fit


def _gates_of(results: xr.Dataset, name: str) -> dict[str, Any]:
    fit = fit_flips(results, name)
    one = results.sel(parametrization=name)
    last = fit_flips(results.isel(width=slice(-2, None)), name)
    return {
        "last_exponent": last.exponent,
        "last_low": last.low,
        "last_high": last.high,
        "exponent": fit.exponent,
        "low": fit.low,
        "high": fit.high,
        "r_squared": fit.r_squared,
        "flips": {int(n): interval(one["flips"].sel(width=n)) for n in one["width"]},
        "losses": {
            int(n): interval(one["gate_loss"].sel(width=n)) for n in one["width"]
        },
    }


EXPERIMENT = Experiment(
    name="deterministic-start",
    question="Could a start without chance do, and what does training keep of a start?",
    data=("mnist",),
    measure=measure,
    summarize=summarize,
)
