"""Which deep networks are trained, from which starts."""

import math
from dataclasses import dataclass
from typing import Any

from birthmark.spec import RunSpec

_ZEROS = {"name": "zeros"}

INITIALIZATIONS: dict[str, dict[str, Any]] = {
    "Xavier": {"name": "glorot_uniform", "bias": _ZEROS},
    "He": {"name": "he_normal", "bias": _ZEROS},
    "orthogonal": {"name": "orthogonal", "gain": math.sqrt(2), "bias": _ZEROS},
    "PyTorch": {"name": "torch_default", "bias": {"name": "torch_default"}},
    "PyTorch, zero biases": {"name": "torch_default", "bias": _ZEROS},
}

_SEED, _SCAN_SEED = 0, 1


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    networks: dict[str, dict[str, Any]]  # tables of a spec: data, network, training
    examples: int  # of the check-up
    draws: int  # initial configurations that are checked
    replicas: int  # that are trained
    lrs: dict[str, tuple[float, ...]]  # by network; where there are more, a scan


def _list_networks(
    data: tuple[dict[str, Any], dict[str, Any]],
    widths: tuple[int, int],
    depth: int,
    halved: list[int],
    batch_size: int,
    epochs: int,
) -> dict[str, dict[str, Any]]:
    """A dense network under SGD, and a convolutional one under Adam."""
    image = {"kind": "convolutional", "downsample": halved}
    adam = {"batch_size": 32, "optimizer": "adam", "epochs": epochs}
    return {
        "dense": {
            "data": data[0],
            "network": {"widths": [widths[0]] * depth},
            "training": {"batch_size": batch_size, "epochs": epochs},
        },
        "convolutional": {
            "data": data[1],
            "network": {"widths": [widths[1]] * depth, **image},
            "training": adam,
        },
    }


_MNIST = {"name": "mnist", "examples_per_class": 640}
_CIFAR10 = {"name": "cifar10_12k", "examples_per_class": 320}
_DIGITS = {"name": "digits", "examples_per_class": 32}
PROTOCOLS = {
    "full": Protocol(
        networks=_list_networks((_MNIST, _CIFAR10), (128, 16), 30, [1, 2, 3], 64, 6),
        examples=64,
        draws=8,
        replicas=5,
        lrs={"dense": (0.003, 0.01, 0.03), "convolutional": (0.0003, 0.001, 0.003)},
    ),
    "quick": Protocol(
        networks=_list_networks((_DIGITS, _DIGITS), (32, 4), 6, [1], 32, 2),
        examples=16,
        draws=2,
        replicas=2,
        lrs={"dense": (0.01, 0.1), "convolutional": (0.01,)},
    ),
}


def spec_of(
    protocol: Protocol, network: str, start: str, *, lr: float, scan: bool = False
) -> RunSpec:
    """A network from one start: in the comparison, or alone in the scan of rates."""
    tables = protocol.networks[network]
    return RunSpec(
        data={**tables["data"], "preprocessing": "standardized"},
        network=tables["network"],
        initialization=INITIALIZATIONS[start],
        training={"loss": "cross_entropy", "lr": lr, **tables["training"]},
        run={
            "replicas": 1 if scan else protocol.replicas,
            "seed": _SCAN_SEED if scan else _SEED,
            "device": "cpu",
        },
        record={"epochs": (0,) if scan else "every", "distributions": (0,)},
    )


def describe(p: Protocol) -> str:
    """The protocol in words, for captions and the page."""
    parts = []
    for name, tables in p.networks.items():
        widths = tables["network"]["widths"]
        data, training = tables["data"], tables["training"]
        halved = tables["network"].get("downsample", [])
        where = f", stride 2 in the layers {halved}, mean over places" if halved else ""
        adam = "optimizer" in training
        parts.append(
            f"{name}: {len(widths)} hidden layers of {widths[0]} "
            f"{'channels (3x3)' if halved else 'units'}{where}, ReLU; {data['name']}, "
            f"standardized, {data['examples_per_class']} training examples a class; "
            f"{training['epochs']} epochs of {'Adam' if adam else 'SGD'}, "
            f"batch {training['batch_size']}, lr of "
            f"{', '.join(f'{lr:g}' for lr in p.lrs[name])}"
        )
    return (
        f"{'. '.join(part[0].upper() + part[1:] for part in parts)}. Cross-entropy, "
        f"float32. Signals: {p.draws} initial configurations "
        f"on {p.examples} test images. Training: {p.replicas} replicas in pairs (the "
        f"same batches), seed {_SEED}; each initialization at the lr at which its one "
        f"replica of a scan, with seed {_SCAN_SEED}, ended lowest."
    )
