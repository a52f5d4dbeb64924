"""How tensors work together, read from the trace of the forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.checkup.endings import find_squeezed
from birthmark.checkup.operations import CONVOLUTIONS, NORMS, SAME, SHIFTS, Sum
from birthmark.checkup.passes import Pass
from birthmark.checkup.readings import Circuits
from birthmark.checkup.trace import Trace
from birthmark.measurements import clean_name

# what neither bends nor sets the size of a signal
_LINEAR = SAME | {"add", "add_", "mul", "mul_", "div", "native_dropout", "sub"}
_MULTIPLYING = {"mm", "addmm", "bmm", "linear", *CONVOLUTIONS}
_BATCH_NORMS = {name for name in NORMS if "batch_norm" in name}
_SHIFTING = _BATCH_NORMS | SHIFTS
_DEEPEST = 3  # lists of lists of layers


def read_circuits(model: nn.Module, seen: Pass) -> Circuits:
    """Attention, linear chains, sums, hidden scales, endings and recurrences."""
    trace = seen.trace
    chains = dict(_find_linear_chains(seen))
    return Circuits(
        attention=tuple(
            replace(one, tensors=tuple(map(clean_name, one.tensors)))
            for one in trace.attention
        ),
        linear_chains=tuple(chains),
        wide_chains=tuple(names for names, widens in chains.items() if widens),
        sums=tuple(_say_sum(one) for one in trace.sums if one.is_of_tables),
        positions=tuple(_say_sum(one) for one in trace.sums if not one.is_of_tables),
        hidden=tuple(sorted(map(clean_name, _find_hidden(trace)))),
        squeezed=find_squeezed(trace.graph),
        unlikely=trace.unlikely,
        statistics=tuple(
            (clean_name(name), layer.statistics)
            for name, layer in seen.layers.items()
            if layer.statistics is not None
        ),
        radii=tuple(_read_radii(model, seen)),
        equal_experts=tuple(_find_equal_experts(model, seen)),
        unregistered=_find_unregistered(model, seen),
        is_cut=_is_cut(seen),
    )


def _is_cut(seen: Pass) -> bool:
    """Whether what is to become small does not depend on any parameter."""
    leaves = seen.trace.leaves.values()
    given = seen.evaluation
    if given is None or given.value.requires_grad:
        return False
    return any(leaf.requires_grad for leaf in leaves)


def _say_sum(one: Sum) -> tuple[str, float, str, float]:
    (first, other), (moment, second) = one.names, one.moments
    return clean_name(first), moment, clean_name(other), second


def _find_linear_chains(seen: Pass) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Matrices that follow each other with nothing bent between; do they widen?

    Convolutions count too, and a batch norm bends nothing: in evaluation it is a factor
    and a shift.
    """
    trace, graph = seen.trace, seen.trace.graph
    grouped = {use.node for use in trace.uses if use.groups > 1}
    before: dict[int, int] = {}
    products = {
        number
        for number, node in enumerate(graph.nodes)
        if len(node.weights) == 1
        and node.operation in _MULTIPLYING
        and number not in grouped
    }
    for number in sorted(products):
        for parent in graph.nodes[number].parents[:1]:
            last = parent
            for last in graph.back(parent, _LINEAR | _BATCH_NORMS):
                node = graph.nodes[last]
                if node.children > 1 or (
                    node.tensors and node.operation not in _SHIFTING
                ):
                    break
            if last in products and graph.nodes[last].children == 1:
                before[number] = last
    ends = set(before) - set(before.values())
    found: dict[tuple[str, ...], bool] = {}
    for end in sorted(ends):
        chain = [end]
        while chain[-1] in before:
            chain.append(before[chain[-1]])
        names = tuple(
            clean_name(graph.nodes[one].weights[0]) for one in reversed(chain)
        )
        inside, outside = _widths(trace, chain)
        if len(set(names)) == len(names) and min(inside) >= min(outside):
            found[names] = max(inside) > max(outside)
    yield from found.items()


def _widths(trace: Trace, chain: list[int]) -> tuple[list[int], list[int]]:
    """Features between the matrices of a chain, and at its two ends.

    A product of matrices that is narrow inside is a factorization, on purpose.
    """
    widths = [trace.graph.nodes[one].features for one in reversed(chain)]
    first = trace.graph.nodes[chain[-1]]
    size = trace.leaves[first.weights[0]].shape
    kernel = math.prod(size[2:]) if first.operation in CONVOLUTIONS else 1
    inputs = math.prod(size) // max(widths[0] * kernel, 1)
    return widths[:-1], [max(inputs, 1), widths[-1]]


def _find_hidden(trace: Trace) -> set[str]:
    """Matrices whose products go through a norm and nowhere else."""
    consumers: dict[int, list[int]] = {}
    for number, node in enumerate(trace.graph.nodes):
        for parent in set(node.parents):
            if node.operation != "detach":
                consumers.setdefault(parent, []).append(number)
    passing = SAME | {"native_dropout"}
    hidden: set[str] = set()
    open_: set[str] = set()
    for number, node in enumerate(trace.graph.nodes):
        if not node.weights:
            continue
        at = number
        while True:
            behind = consumers.get(at, [])
            if len(behind) == 1 and trace.graph.nodes[behind[0]].operation in passing:
                at = behind[0]
                continue
            break
        normed = bool(behind) and any(trace.graph.nodes[b].is_norm for b in behind)
        # a norm that is written out takes x twice: once for its size
        helpers = {"pow", "mean", "linalg_vector_norm", "var_mean", "var", "sub", "abs"}
        rest = all(
            trace.graph.nodes[b].is_norm
            or trace.graph.nodes[b].operation in helpers | {"_to_copy"}
            for b in behind
        )
        (hidden if normed and rest else open_).update(node.weights)
    return hidden - open_


def _read_radii(model: nn.Module, seen: Pass) -> Iterator[tuple[str, float, int]]:
    """Spectral radius of matrices that are applied to their own outputs."""
    counts: dict[str, int] = {}
    fed: set[str] = set()
    trace = seen.trace
    for number, node in enumerate(trace.graph.nodes):
        for name in node.weights:
            counts[name] = counts.get(name, 0) + 1
            if counts[name] == 2 and _feeds_itself(trace, number, name):
                fed.add(name)
    parameters = dict(model.named_parameters())
    for name, value in parameters.items():
        is_state = "weight_hh" in name.rpartition(".")[2]
        if value.ndim != 2 or not (is_state or name in fed):
            continue
        radius = _radius(value.detach())
        if radius is not None:
            steps = max((v.steps or 0 for v in seen.layers.values()), default=0)
            yield clean_name(name), radius, max(counts.get(name, 0), steps)


def _feeds_itself(trace: Trace, number: int, name: str) -> bool:
    """Whether an earlier product with the same matrix is among what comes in."""
    queue = list(trace.graph.nodes[number].parents)
    visited: set[int] = set()
    while queue and len(visited) < 200:
        at = queue.pop()
        if at in visited:
            continue
        visited.add(at)
        node = trace.graph.nodes[at]
        if name in node.weights:
            return True
        queue.extend(node.parents)
    return False


def _radius(value: Tensor) -> float | None:
    """The largest spectral radius of the square blocks of a matrix: its gates."""
    rows, columns = value.shape
    long, side = max(rows, columns), min(rows, columns)
    if not side or long % side or side > 1024 or long // side > 4:
        return None
    matrix = value.double() if rows >= columns else value.double().T
    if not torch.isfinite(matrix).all():
        return None
    blocks = matrix.chunk(long // side)
    return max(float(torch.linalg.eigvals(b.cpu()).abs().max()) for b in blocks)


def _find_equal_experts(model: nn.Module, seen: Pass) -> Iterator[str]:
    """Stacked matrices [E, ., .] whose slices are the same drawn numbers."""
    for name, value in model.named_parameters():
        axes = seen.roles.axes(name)
        if axes is None or value.ndim != 3 or value.shape[0] < 2:
            continue
        if 0 in axes.inputs or not value.numel():
            continue
        drawn = bool((value != value.flatten()[0]).any())
        if drawn and bool((value == value[:1]).all()):
            yield clean_name(name)


def _find_unregistered(model: nn.Module, seen: Pass) -> tuple[str, ...]:
    """Tensors that learn and are no parameters, as Python writes their attributes."""
    known = {id(leaf) for leaf in seen.trace.leaves.values()}
    leaves = {
        id(node.variable) for node, step in seen.steps.items() if step.kind == "leaf"
    }
    strange = leaves - known
    if not strange:
        return ()
    found: dict[int, str] = {}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            inside = f"{path}.{key}".lstrip(".")
            for name, tensor in _walk(inside, value, _DEEPEST):
                if id(tensor) in strange:
                    found.setdefault(id(tensor), name)
    return tuple(found.values())


def _walk(name: str, value: Any, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        yield from ((f"{name}.{key}", one) for key, one in value.named_parameters())
    elif depth and isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _walk(f"{name}[{number}]", one, depth - 1)
    elif depth and isinstance(value, Mapping):
        for key, one in value.items():
            yield from _walk(f"{name}[{key!r}]", one, depth - 1)
