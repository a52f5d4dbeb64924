"""Specs with names: single runs of the paper, and all that one scale reproduces."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from birthmark.errors import unknown_name
from birthmark.spec import RunSpec
from birthmark.sweeps.grid import Grid

# the weights between the hidden layers are kept, for the pictures of the mark
_PICTURES: dict[str, Any] = {"weights": "log", "weights_layers": ["hidden2"]}
_PAPER_WIDTHS = (10, 50, 100, 150, 200, 225, 250, 275, 300, 350, 400, 450, 500, 1000)
# the widths of Figure 1, unstable and stable; and what one network of each has of its
# own, so that the first is unstable
_MARKED: dict[int, dict[str, Any]] = {
    256: {
        "training.shuffle_buffer": 2000,
        "record.weights": [0, 20, 75, 200, 300, 400, 500, 1000],
    },
    512: {"record.weights": [0, 20, 75, 200, 500, 1000]},
}
_CLIPPED, _LOGITS = "clipped_cross_entropy", "cross_entropy"
# data, width, loss, precision of the products, in the order of worth against cost
_LAPTOP = (
    ("hasyv2", 150, _CLIPPED, "full"),
    ("hasyv2", 250, _CLIPPED, "bf16"),
    ("hasyv2", 150, _LOGITS, "full"),
    ("hasyv2", 250, _LOGITS, "bf16"),
    ("hasyv2", 300, _CLIPPED, "bf16"),
    ("hasyv2", 10, _CLIPPED, "full"),
    ("hasyv2", 50, _CLIPPED, "full"),
    *(
        (data, width, _CLIPPED, "bf16" if width == 250 else "full")
        for data in ("mnist", "fashion_mnist")
        for width in (10, 50, 250)
    ),
    ("hasyv2", 500, _CLIPPED, "bf16"),
)
# of the paper's data: training examples, inputs, classes
_SIZES = {
    "hasyv2": (151_241, 1024, 369),
    "mnist": (60_000, 784, 10),
    "fashion_mnist": (60_000, 784, 10),
}
_DEMO_WIDTHS = (8, 16, 32, 64, 128)


def preset(
    name: str, *, dataset: str = "hasyv2", width: int = 256, mark: bool = True
) -> RunSpec:
    """One run under a protocol that has a name.

    `paper` is that of Jesus et al., arXiv 2012.02550: Glorot uniform, plain SGD at
    lr 0.1, batch 128, 1000 epochs, ten replicas, the loss clipped at 1e-7. `demo` is a
    protocol of this project's own, in which small networks on small images show
    stable and unstable learners within seconds.

    Args:
        name: `paper` or `demo`.
        dataset: Which data; `demo` has been tried with `digits`.
        width: Units of each of the two hidden layers.
        mark: Whether the letter "a" is written between the hidden layers.

    Raises:
        SpecError: There is no preset of this name.
    """
    protocols: dict[str, dict[str, Any]] = {
        "paper": {"data": {"name": dataset}},
        "demo": {
            "data": {"name": dataset, "preprocessing": "inverted"},
            "training": {"lr": 0.25, "epochs": 400},
            "run": {"replicas": 5},
        },
    }
    if name not in protocols:
        raise unknown_name("preset", name, protocols)
    marked = {"mark": {"text": "a"}, "record": _PICTURES} if mark else {}
    return RunSpec(network={"widths": [width, width]}, **protocols[name], **marked)


def reproduction(scale: str) -> Grid:
    """The runs of one scale of the reproduction.

    Args:
        scale: `demo`: digits, two minutes on two cores, with a protocol of its own.
            `laptop`: the paper's on HASYv2 at widths 10 to 500, two of them under both
            losses, on MNIST and Fashion-MNIST at 10, 50 and 250, three replicas each;
            and one network of each width of Figure 1 with its weights, a night on two
            cores (on a quiet one, the three of width 50 take 22 minutes and those of
            150 take 48 in float32, those of 250 take 48 in bf16, of 300 about 65, of
            500 about 115). `gpu`: more widths of HASYv2, and four with a stream
            shuffled in a buffer, three replicas each in TF32: ten minutes on a large
            GPU. `paper`: all widths, ten replicas, three data sets, the quickest runs
            first; for a GPU.

    Raises:
        SpecError: There is no such scale.
    """
    if scale == "demo":
        marked = [preset("demo", dataset="digits", width=w) for w in _DEMO_WIDTHS]
        widest = preset("demo", dataset="digits", width=_DEMO_WIDTHS[-1], mark=False)
        return Grid((*marked, widest))
    if scale == "laptop":
        often = (_recorded_often(*one) for one in _LAPTOP)
        return Grid((*often, *map(_pictured, _MARKED)))
    if scale == "gpu":
        return Grid(
            (
                *(_on_gpu(width) for width in (100, 200, 225, 275)),
                *(_on_gpu(width, buffer=2000) for width in (150, 250, 275, 300)),
                *(
                    _recorded_less_often(data, width)
                    for data in ("mnist", "fashion_mnist")
                    for width in (100, 150)
                ),
            )
        )
    if scale == "paper":
        specs = (
            preset("paper", dataset=dataset, width=width, mark=mark)
            for dataset in ("hasyv2", "mnist", "fashion_mnist")
            for mark, widths in ((False, _PAPER_WIDTHS), (True, _MARKED))
            for width in widths
        )
        return Grid(tuple(sorted(specs, key=_count_operations)))
    raise unknown_name("scale", scale, ["demo", "laptop", "gpu", "paper"])


def _count_operations(spec: RunSpec) -> int:
    """Floating-point operations of the products: a run's cost on any machine.

    An addition and a multiplication for each weight and example, forward and for the
    gradient of the weights, and again backward through all layers but the first.
    """
    examples, inputs, classes = _SIZES[spec.data.name]
    first, *others = pairwise((inputs, *spec.network.widths, classes))
    products = 4 * math.prod(first) + 6 * sum(map(math.prod, others))
    return products * examples * spec.training.epochs * spec.run.replicas


def _on_gpu(width: int, buffer: int | None = None) -> RunSpec:
    """A width of HASYv2 on a GPU, in a new order every epoch or out of a buffer."""
    settings: dict[str, Any] = {"run.device": "cuda", "run.precision": "tf32"}
    if buffer is not None:
        settings["training.shuffle_buffer"] = buffer
    return _recorded_less_often("hasyv2", width).with_settings(settings)


def _pictured(width: int) -> RunSpec:
    """One network of Figure 1, with the weights under its mark at a few epochs."""
    return _recorded_less_often("hasyv2", width).with_settings(
        {"run.replicas": 1, "record.weights_layers": ["hidden2"], **_MARKED[width]}
    )


def _recorded_less_often(data: str, width: int) -> RunSpec:
    """Marked, with scalars every ten epochs and few distributions."""
    log = np.rint(np.geomspace(1, 1000, 40)).astype(int).tolist()
    return RunSpec(
        data={"name": data},
        network={"widths": [width, width]},
        mark={"text": "a"},
        run={"replicas": 3},
        record={
            "epochs": sorted({0, *log, *range(100, 1001, 10)}),
            "distributions": [0, 1, 10, 30, 100, 200, 300, 400, 600, 800, 1000],
        },
    )


def _recorded_often(data: str, width: int, loss: str, precision: str) -> RunSpec:
    """Marked, with scalars every five epochs, so that jumps can be dated."""
    log = np.rint(np.geomspace(1, 1000, 72)).astype(int).tolist()
    return RunSpec(
        data={"name": data},
        network={"widths": [width, width]},
        mark={"text": "a"},
        training={"loss": loss},
        run={"replicas": 3, "precision": precision},
        record={"epochs": sorted({0, *log, *range(100, 1001, 5)})},
    )
