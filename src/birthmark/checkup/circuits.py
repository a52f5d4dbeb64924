"""How tensors work together, read from the trace of the forward pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from birthmark.checkup.operations import SAME, Node
from birthmark.checkup.passes import Pass
from birthmark.checkup.readings import Attention, Circuits
from birthmark.checkup.trace import Trace
from birthmark.measurements import clean_name

# what neither bends nor sets the size of a signal
_LINEAR = SAME | {"add", "add_", "mul", "mul_", "div", "native_dropout", "sub"}
_ENDINGS = ("sigmoid", "_softmax", "_log_softmax")


def read_circuits(model: nn.Module, seen: Pass) -> Circuits:
    """Attention, linear chains, sums, hidden scales, endings and recurrences."""
    trace = seen.trace
    return Circuits(
        attention=tuple(
            Attention(
                tuple(map(clean_name, one.names)),
                one.largest,
                one.entropy,
                one.spread,
                one.keys,
            )
            for one in trace.attention
        ),
        linear_chains=tuple(_find_linear_chains(seen)),
        sums=tuple(
            (clean_name(s.names[0]), s.moments[0], clean_name(s.names[1]), s.moments[1])
            for s in trace.sums
        ),
        hidden=tuple(sorted(map(clean_name, _find_hidden(trace)))),
        ending=_find_ending(seen),
        statistics=tuple(
            (clean_name(name), layer.statistics)
            for name, layer in seen.layers.items()
            if layer.statistics is not None
        ),
        radii=tuple(_read_radii(model, seen)),
        equal_experts=tuple(_find_equal_experts(model, seen)),
    )


def _find_linear_chains(seen: Pass) -> Iterator[tuple[str, ...]]:
    """Dense matrices that follow each other with nothing bent or normed between."""
    trace = seen.trace
    before: dict[int, int] = {}
    products = [i for i, node in enumerate(trace.nodes) if _is_dense(trace, node)]
    for number in products:
        for parent in trace.nodes[number].parents[:1]:
            last = parent
            for last in trace.back(parent, _LINEAR):
                if trace.nodes[last].children > 1 or trace.nodes[last].tensors:
                    break
            node = trace.nodes[last]
            if _is_dense(trace, node) and node.children == 1:
                before[number] = last
    ends = set(before) - set(before.values())
    found: dict[tuple[str, ...], None] = {}
    for end in sorted(ends):
        chain = [end]
        while chain[-1] in before:
            chain.append(before[chain[-1]])
        names = tuple(
            clean_name(trace.nodes[one].weights[0]) for one in reversed(chain)
        )
        if len(set(names)) == len(names) and not _is_bottleneck(trace, chain):
            found[names] = None
    yield from found


def _is_dense(trace: Trace, node: Node) -> bool:
    return len(node.weights) == 1 and node.operation in ("mm", "addmm", "bmm", "linear")


def _is_bottleneck(trace: Trace, chain: list[int]) -> bool:
    """A product of matrices that is narrow inside is a factorization, on purpose."""
    widths = [trace.nodes[one].features for one in reversed(chain)]
    name = trace.nodes[chain[-1]].weights[0]
    inputs = max(trace.leaves[name].numel() // max(widths[0], 1), 1)
    return min(widths[:-1]) < min(inputs, widths[-1])


def _find_hidden(trace: Trace) -> set[str]:
    """Matrices whose products go through a norm and nowhere else."""
    consumers: dict[int, list[int]] = {}
    for number, node in enumerate(trace.nodes):
        for parent in set(node.parents):
            if node.operation != "detach":
                consumers.setdefault(parent, []).append(number)
    passing = SAME | {"native_dropout"}
    hidden: set[str] = set()
    open_: set[str] = set()
    for number, node in enumerate(trace.nodes):
        if not node.weights:
            continue
        at = number
        while True:
            behind = consumers.get(at, [])
            if len(behind) == 1 and trace.nodes[behind[0]].operation in passing:
                at = behind[0]
                continue
            break
        normed = bool(behind) and any(trace.nodes[b].is_norm for b in behind)
        # a norm that is written out takes x twice: once for its size
        helpers = {"pow", "mean", "linalg_vector_norm", "var_mean", "var", "sub", "abs"}
        rest = all(
            trace.nodes[b].is_norm or trace.nodes[b].operation in helpers | {"_to_copy"}
            for b in behind
        )
        (hidden if normed and rest else open_).update(node.weights)
    return hidden - open_


def _find_ending(seen: Pass) -> str:
    if seen.output_node is None:
        return ""
    for number in seen.trace.back(seen.output_node, SAME):
        operation = seen.trace.nodes[number].operation
        if operation in _ENDINGS:
            return operation
    return ""


def _read_radii(model: nn.Module, seen: Pass) -> Iterator[tuple[str, float, int]]:
    """Spectral radius of matrices that are applied to their own outputs."""
    counts: dict[str, int] = {}
    fed: set[str] = set()
    trace = seen.trace
    for number, node in enumerate(trace.nodes):
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
    queue = list(trace.nodes[number].parents)
    visited: set[int] = set()
    while queue and len(visited) < 200:
        at = queue.pop()
        if at in visited:
            continue
        visited.add(at)
        node = trace.nodes[at]
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
