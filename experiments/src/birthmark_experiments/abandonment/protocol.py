"""The runs behind the page about abandoned examples: one network, many clips.

A network of limited width on a share of HASYv2, in small batches: what takes the
paper's unstable widths some 700 thousand steps comes here within 50 thousand.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from ..frame.specs import dense_spec

LOGITS = "logits"  # the loss without a clip: the limit of eps to 0
PAPER_EPS = 1e-7
SHARE = {"name": "hasyv2", "classes": 100, "examples_per_class": 60}


@dataclass(frozen=True)
class Protocol:
    """What one scale trains."""

    data: dict[str, Any] = field(default_factory=lambda: SHARE)
    width: int = 100
    lr: float = 0.1
    batch_size: int = 32
    epochs: int = 300
    replicas: int = 5
    eps: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12)
    # clips that were run first, and gave a line in ln eps
    fitted: tuple[float, ...] = (1e-3, 1e-5, 1e-7)
    every: int = 5  # epochs between two measurements of the weights
    # of clips smaller than the paper's, which are reached later
    epochs_beyond: int = 500

    def epochs_of(self, eps: float | None) -> int:
        """How long a clip is trained; None is the loss from logits."""
        return self.epochs if eps is None or eps >= PAPER_EPS else self.epochs_beyond


PROTOCOLS = {
    "full": Protocol(),
    "quick": Protocol(
        data={"name": "digits", "preprocessing": "inverted", "examples_per_class": 40},
        width=16,
        lr=0.3,
        batch_size=16,
        epochs=20,
        replicas=3,
        eps=(1e-1, 3e-2, 1e-2, 1e-7, 1e-8),
        fitted=(1e-1, 1e-2),
        every=5,
        epochs_beyond=25,
    ),
}


def spec_of(protocol: Protocol, eps: float | None) -> RunSpec:
    """The run of this clip; None means the loss from logits.

    All arms share starts and orders of batches. Weights are kept where examples are
    followed one by one, at the paper's clip.
    """
    clip = {} if eps is None else {"loss": "clipped_cross_entropy", "eps": eps}
    epochs = protocol.epochs_of(eps)
    measured = tuple(range(0, epochs + 1, protocol.every))
    return dense_spec(
        protocol,
        training={**clip, "epochs": epochs},
        record={
            "epochs": measured,
            "distributions": (0,),
            "weights": measured if eps == PAPER_EPS else (),
        },
    )


def keep_weights(scale: str, eps: float, epochs: int, every: int) -> RunSpec:
    """The run of a clip with weights kept on the way, for what looks at them later."""
    shorter = replace(PROTOCOLS[scale], epochs=epochs, every=every)
    spec = spec_of(shorter, eps)
    return spec.with_settings({"record.weights": spec.record.epochs})


def train_arms(protocol: Protocol, folder: Path) -> tuple[dict[str, RunSpec], Store]:
    """Train all clips and the loss without one, by name, the widest clip first."""
    arms: dict[str, float | None] = {f"{eps:g}": eps for eps in protocol.eps}
    specs = {n: spec_of(protocol, e) for n, e in {**arms, LOGITS: None}.items()}
    store = open_store(folder / "store", create=True)
    run_grid(Grid(tuple(specs.values())), store)
    return specs, store


def describe(protocol: Protocol, num_examples: int) -> str:
    """One or two sentences for captions and pages."""
    data = protocol.data
    classes = f"the first {data['classes']} classes of " if "classes" in data else ""
    pixels = "inverted" if "preprocessing" in data else "as stored (white background)"
    width = protocol.width
    return (
        f"{classes}{data['name']}, at most {data['examples_per_class']} examples a "
        f"class ({num_examples} in all), pixels {pixels} in [0, 1]; dense relu network "
        f"{width}-{width}, Glorot uniform; plain SGD, lr {protocol.lr:g}, batch "
        f"{protocol.batch_size}, {protocol.epochs} epochs; {protocol.replicas} "
        "replicas, paired over the clips by start and order of batches; float32, "
        "seed 0."
    )
