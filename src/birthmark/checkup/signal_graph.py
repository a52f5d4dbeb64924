"""How layers are joined: the graph of autograd between their inputs and outputs.

Reading it from autograd sees functional activations, residual additions and in-place
modules alike, and needs no tracing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from birthmark.theory import Activation


def _saved(*names: str) -> Callable[[Any], tuple[float, ...]]:
    return lambda node: tuple(float(getattr(node, f"_saved_{one}")) for one in names)


_NODES: dict[str, tuple[str, Callable[[Any], tuple[float, ...]]]] = {
    "ReluBackward": ("relu", _saved()),
    "LeakyReluBackward": ("leaky_relu", _saved("negative_slope")),
    "EluBackward": ("elu", _saved("alpha", "scale", "input_scale")),
    "GeluBackward": (
        "gelu",
        lambda node: (float(node._saved_approximate == "tanh"),),
    ),
    "SiluBackward": ("silu", _saved()),
    "MishBackward": ("mish", _saved()),
    "SoftplusBackward": ("softplus", _saved("beta")),
    "HardswishBackward": ("hardswish", _saved()),
    "HardtanhBackward": ("hardtanh", _saved("min_val", "max_val")),
    "TanhBackward": ("tanh", _saved()),
    "SigmoidBackward": ("sigmoid", _saved()),
}


def read_activation(node: Any) -> Activation | None:
    """The activation of an autograd node; None when it is something else."""
    entry = _NODES.get(node.name().rstrip("0123456789"))
    return Activation(entry[0], entry[1](node)) if entry else None


Kind = Literal["layer", "activation", "add", "same", "pool", "scale", "leaf", "other"]

# these move numbers or change their type, and keep each of them
_SAME = {
    "ViewBackward",
    "UnsafeViewBackward",
    "ReshapeAliasBackward",
    "TransposeBackward",
    "PermuteBackward",
    "TBackward",
    "ExpandBackward",
    "SqueezeBackward",
    "UnsqueezeBackward",
    "CloneBackward",
    "ToCopyBackward",
    "AliasBackward",
    "MovedimBackward",
}
_POOL = {
    "MaxPool2DWithIndicesBackward",
    "MaxPool3DWithIndicesBackward",
    "AdaptiveMaxPool2DBackward",
}


@dataclass(frozen=True)
class Step:
    """One operation on the way of the signal; `parents` are what it works on."""

    kind: Kind
    operation: str
    parents: tuple[Any, ...]  # autograd nodes
    layer: str = ""  # the layer whose output it is
    activation: Activation | None = None


def trace_operations(
    ends: Iterable[Any], outputs: Mapping[Any, str], inputs: Mapping[str, Any]
) -> dict[Any, Step]:
    """All steps from the data to `ends`, parents before children.

    Args:
        ends: Autograd nodes of the model's outputs.
        outputs: The autograd node of each layer's output, with the layer's name.
        inputs: The node of each layer's input; None where no gradient goes further.
    """
    steps: dict[Any, Step] = {}
    stack = [(end, False) for end in [*ends, *outputs] if end is not None]
    while stack:
        node, parents_are_done = stack.pop()
        if node in steps:
            continue
        step = _read_step(node, outputs, inputs)
        if parents_are_done:
            steps[node] = step
            continue
        stack.append((node, True))
        stack.extend((parent, False) for parent in step.parents if parent not in steps)
    return steps


def _read_step(
    node: Any, outputs: Mapping[Any, str], inputs: Mapping[str, Any]
) -> Step:
    name = node.name()
    if node in outputs:
        before = inputs[outputs[node]]
        parents = () if before is None else (before,)
        return Step("layer", name, parents, layer=outputs[node])
    parents = tuple(parent for parent, _ in node.next_functions if parent is not None)
    base = name.rstrip("0123456789")
    if "AccumulateGrad" in name:
        return Step("leaf", name, ())
    activation = read_activation(node)
    if activation is not None:
        return Step("activation", activation.name, parents, activation=activation)
    if base in _SAME:
        return Step("same", name, parents)
    if base in _POOL:
        return Step("pool", name, parents)
    if base in ("AddBackward", "SubBackward") and len(parents) in (1, 2):
        return Step("add", name, parents)
    if base == "MulBackward" and len(parents) == 1:  # by a number, or by dropout's mask
        return Step("scale", name, parents)
    return Step("other", name, parents)


def find_activations(steps: Mapping[Any, Step]) -> dict[str, Activation]:
    """The activation that works directly on each layer's output; the first one."""
    found: dict[str, Activation] = {}
    for step in steps.values():
        if step.activation is not None:
            for layer in _reach_back(step.parents, steps, {"same"}):
                found.setdefault(layer, step.activation)
    return found


def find_sources(
    inputs: Mapping[str, Any], steps: Mapping[Any, Step]
) -> dict[str, str]:
    """The layer before each layer, where only activations and pooling lie between.

    And nothing leaves on the way: a signal that also goes past a layer, on a skip path,
    is not the layer's alone, and neither is the gradient that comes back.
    """
    plain = {"same", "activation", "pool", "scale"}
    sources = {}
    children: Counter[Any] = Counter()
    for step in steps.values():
        children.update(set(step.parents))
    for name, node in inputs.items():
        before = _reach_back(
            (node,) if node is not None else (), steps, plain, children
        )
        if len(before) == 1:
            sources[name] = before[0]
    return sources


def _reach_back(
    nodes: tuple[Any, ...],
    steps: Mapping[Any, Step],
    through: set[str],
    children: Mapping[Any, int] | None = None,
) -> list[str]:
    """The layers that lead here through steps of these kinds alone, else nothing."""
    found = []
    children = children or {}
    for node in nodes:
        while node in steps and steps[node].kind in through:
            if children.get(node, 1) > 1:
                node = None
                break
            parents = steps[node].parents
            node = parents[0] if len(parents) == 1 else None
        alone = children.get(node, 1) == 1
        if node in steps and steps[node].kind == "layer" and alone:
            found.append(steps[node].layer)
    return found
