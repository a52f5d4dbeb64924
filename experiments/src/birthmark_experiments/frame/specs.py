"""The run that most questions ask of, and the starts that comparisons take.

Those are the library's table, and variants. Rules with a file are left out: they need
something trained. Of rules that draw the same numbers in this network the first one
stands for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from birthmark.spec import RunSpec

_FROM_FILES = ("checkpoint", "statistics_only", "shuffled", "signs_only")
_LEFT_OUT = (*_FROM_FILES, "lottery_ticket", "nguyen_widrow_bias")  # a rule of biases
# what a rule of the table asks for besides its name, as its source has it
_OWN_BIASES = {
    "torch_default": "torch_default",
    "equinox_default": "equinox_default",
    "sklearn_default": "sklearn_default",
    "nguyen_widrow": "nguyen_widrow_bias",
}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "constant": {"value": 0.5},
    "gpt2_residual": {"blocks": 6},
    "looks_linear": {
        "layers": {
            "hidden1": {"name": "looks_linear", "mirror": "outputs"},
            "output": {"name": "looks_linear", "mirror": "inputs"},
        }
    },
    # their cost: a smaller batch than the 1024 examples that are the default
    "metainit": {"examples": 128},
    "gradinit": {"examples": 128},
}

_SMALL_OUTPUT = {"output": {"name": "normal", "std": 0.01}}
_NO_OUTPUT = {"output": {"name": "zeros"}}
_MIRRORED = _PARAMETERS["looks_linear"]["layers"] | _SMALL_OUTPUT
_ORTHOGONAL = {"name": "orthogonal", "gain": 2**0.5}
_COMBINED: dict[str, dict[str, Any]] = {
    "he_normal, output 0": {"name": "he_normal", "layers": _NO_OUTPUT},
    "he_normal, small output": {"name": "he_normal", "layers": _SMALL_OUTPUT},
    "orthogonal x 1.41, small output": {**_ORTHOGONAL, "layers": _SMALL_OUTPUT},
    "looks_linear, small output": {"name": "looks_linear", "layers": _MIRRORED},
    "lsuv, small output": {"name": "lsuv", "layers": _SMALL_OUTPUT},
}


@dataclass(frozen=True)
class Start:
    """A start of the comparison."""

    name: str
    kind: str  # `table`, `batch` (looks at one), `variant` or `combined`
    rule: Mapping[str, Any]  # the table `initialization` of a spec


def _scaled_he(factor: float) -> dict[str, Any]:
    scale = 2 * factor**2
    return {"name": "variance_scaling", "scale": scale, "distribution": "normal"}


_VARIANTS: dict[str, dict[str, Any]] = {
    "constant 0.01": {"name": "constant", "value": 0.01},
    "he_normal x 0.1": _scaled_he(0.1),
    "he_normal x 0.5": _scaled_he(0.5),
    "he_normal x 2": _scaled_he(2.0),
    "he_normal x 10": _scaled_he(10.0),
    "orthogonal x 1.41": _ORTHOGONAL,
    "krahenbuhl, pca": {"name": "krahenbuhl", "directions": "pca"},
    "krahenbuhl, kmeans": {"name": "krahenbuhl", "directions": "kmeans"},
}


def list_starts() -> list[Start]:
    """All of them, in the order of the library's table."""
    # here, since facts are read where torch is not
    from birthmark.network import DATA_DEPENDENT, INITIALIZATIONS

    kinds = (("table", INITIALIZATIONS), ("batch", DATA_DEPENDENT))
    starts = [
        Start(name, kind, _rule(name))
        for kind, names in kinds
        for name in names
        if name not in _LEFT_OUT
    ]
    starts += [Start(name, "variant", rule) for name, rule in _VARIANTS.items()]
    starts += [Start(name, "combined", rule) for name, rule in _COMBINED.items()]
    return starts


def _rule(name: str) -> dict[str, Any]:
    rule = {"name": name, **_PARAMETERS.get(name, {})}
    if name in _OWN_BIASES:
        rule["bias"] = {"name": _OWN_BIASES[name]}
    return rule


def dense_spec(
    protocol: Any,
    *,
    training: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    **tables: Any,
) -> RunSpec:
    """The run that the fields of a protocol say, and what they do not.

    Two hidden layers of its `width`, or as many as its `depth`; the loss is taken from
    logits; `lr`, `batch_size` and `epochs` are the protocol's where it has them. Tables
    (`training`, `run`, `record`, ...) say what it does not, or otherwise.
    """
    tables.setdefault("data", protocol.data)
    fields = ("lr", "batch_size", "epochs")
    said = {x: getattr(protocol, x) for x in fields if hasattr(protocol, x)}
    return RunSpec(
        network={"widths": [protocol.width] * getattr(protocol, "depth", 2)},
        training={"loss": "cross_entropy", **said, **(training or {})},
        run={"replicas": protocol.replicas, "seed": 0, "device": "cpu", **(run or {})},
        **tables,
    )


def standardized(protocol: Any) -> dict[str, Any]:
    """The table `data` of so many standardized examples of each class."""
    return {
        "name": protocol.data,
        "preprocessing": "standardized",
        "examples_per_class": protocol.examples_per_class,
    }
