"""Which variances, depths and activations are looked at."""

from dataclasses import dataclass

from birthmark.spec import RunSpec
from ..frame.specs import standardized

BIASES = {"tanh": 0.05, "relu": 0.0}  # variance of the biases, fixed
STARTS = (0.0, 0.9)  # correlations of the two inputs of a pair
SEED = 0
FINE = tuple(round(0.5 + 0.05 * i, 2) for i in range(71))  # where theory is drawn


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    data: str = "mnist"
    variances: tuple[float, ...] = (0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
    width: int = 256
    depth: int = 64  # hidden layers that signals go through
    replicas: int = 16
    pairs: int = 32
    trained_width: int = 100
    trained_depths: tuple[int, ...] = (4, 8, 16, 28, 40)
    trained_replicas: int = 3
    examples_per_class: int = 1920
    batch_size: int = 64
    lr: float = 0.01


PROTOCOLS = {
    "full": Protocol(),
    "quick": Protocol(
        data="digits",
        variances=(1.0, 2.0, 3.0),
        width=64,
        depth=16,
        replicas=3,
        pairs=8,
        trained_width=16,
        trained_depths=(2, 8),
        trained_replicas=2,
        examples_per_class=32,
        batch_size=32,
        lr=0.05,
    ),
}


def spec_of(
    protocol: Protocol, activation: str, variance: float, depth: int, *, trained: bool
) -> RunSpec:
    """A network of this law: one that is trained, or one that signals go through."""
    bias, law = (
        BIASES[activation],
        {"name": "variance_scaling", "distribution": "normal"},
    )
    biases = {"name": "normal", "std": bias**0.5} if bias else {"name": "zeros"}
    width = protocol.trained_width if trained else protocol.width
    return RunSpec(
        data=standardized(protocol),
        network={"widths": [width] * depth, "activation": activation},
        initialization={**law, "scale": variance, "bias": biases},
        training={
            "loss": "cross_entropy",
            "lr": protocol.lr,
            "batch_size": protocol.batch_size,
            "epochs": 1,
        },
        run={
            "replicas": protocol.trained_replicas if trained else protocol.replicas,
            "seed": SEED,
            "dtype": "float32" if trained else "float64",
            "device": "cpu",
        },
        record={"epochs": (0,), "distributions": (0,)},
    )


def describe(p: Protocol) -> str:
    """The protocol in words, for captions and the page."""
    steps = p.examples_per_class * 10 // p.batch_size
    return (
        f"Signals: dense networks of {p.depth} hidden layers of {p.width} units, "
        "weights N(0, sigma_w^2 / fan-in), biases N(0, 0.05) with tanh and 0 with "
        f"ReLU, float64, {p.replicas} replicas, seed {SEED}; {p.pairs} pairs of "
        f"standardized {p.data} test images, scaled to second moment 1 and mixed to "
        f"correlations {STARTS[0]:g} and {STARTS[1]:g}. Training: the same laws, "
        f"{p.trained_width} units, depths {', '.join(map(str, p.trained_depths))}, "
        f"{p.data} ({p.examples_per_class} examples a class, standardized), cross-"
        f"entropy, SGD, lr {p.lr:g}, batch {p.batch_size}, one epoch of at most "
        f"{steps} steps, float32, {p.trained_replicas} replicas, seed {SEED}."
    )
