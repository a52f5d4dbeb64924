"""A small store made by the real pipeline, for the tests of the figures."""

from pathlib import Path

from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import run

EPOCHS = 30


def small_spec(**settings: object) -> RunSpec:
    """Digits, two narrow layers, a few epochs; `settings` are dotted in the spec.

    At width 12 with a mark the learners are weak, unstable and unstable; at width 32
    strong, strong and strong with the mark, and strong, strong and weak without it.
    """
    spec = RunSpec(
        data={"name": "digits", "examples_per_class": 30},
        network={"widths": [12, 12]},
        training={"lr": 0.6, "epochs": EPOCHS, "batch_size": 32},
        run={"replicas": 3, "dtype": "float64", "seed": 1},
        record={"weights": "log", "weights_layers": ["hidden2"]},
    )
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    return spec.with_settings(dotted)


def write_store(path: Path, specs: list[RunSpec]) -> Store:
    """Carry out the runs."""
    store = open_store(path, create=True)
    for spec in specs:
        run(spec, store)
    return store
