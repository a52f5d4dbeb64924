"""One forward and one backward pass; each gradient is reduced and freed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from birthmark.checkup.activation_statistics import (
    ActivationStatistics,
    add_gradient,
    read_layer,
    read_product,
)
from birthmark.checkup.batches import first_tensor
from birthmark.checkup.evaluation import Evaluation, Problem
from birthmark.checkup.isolation import standing_in
from birthmark.checkup.layers import find_layers, role_of
from birthmark.checkup.operations import SAME
from birthmark.checkup.roles import Roles
from birthmark.checkup.second_moments import root_mean_square, second_moment
from birthmark.checkup.signal_graph import Step, trace_operations
from birthmark.checkup.symmetry import sign_rows
from birthmark.checkup.trace import Trace
from birthmark.errors import WeightsError
from birthmark.shapes import Array


@dataclass(frozen=True)
class Gradient:
    """What is kept of one parameter's gradient."""

    rms: float
    flushed: float  # share exactly 0 or below the smallest normal number
    signs: Array | None  # of its rows, see `symmetry`
    step: float | None = None  # root mean square of the optimizer's first update


@dataclass
class Pass:
    """Everything that one forward and backward pass showed."""

    trace: Trace
    roles: Roles
    layers: dict[str, ActivationStatistics] = field(default_factory=dict)
    gradients: dict[str, Gradient] = field(default_factory=dict)
    steps: dict[Any, Step] = field(default_factory=dict)
    leaf_moments: dict[Any, float] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    output_node: int | None = None  # of the trace
    outputs: Tensor | None = None
    loss: float | None = None
    loss_name: str = ""
    unread: list[str] = field(default_factory=list)

    @cached_property
    def _last_product(self) -> int | None:
        if self.output_node is None:
            return None
        through = SAME | {"add", "add_", "mul", "div"}
        return list(self.trace.graph.back(self.output_node, through))[-1]

    @cached_property
    def output_tensors(self) -> frozenset[str]:
        """Matrices whose products are the outputs, but for biases and fixed factors."""
        last = self._last_product
        return frozenset(() if last is None else self.trace.graph.nodes[last].weights)

    @cached_property
    def inner_tensors(self) -> frozenset[str]:
        """Matrices whose products are something else than the outputs."""
        return frozenset(
            name
            for number, node in enumerate(self.trace.graph.nodes)
            for name in node.weights
            if number != self._last_product
        )

    @cached_property
    def upstream_tensors(self) -> frozenset[str]:
        """Parameters from which the outputs are computed, detached ones too."""
        if self.output_node is None:
            return frozenset()
        return self._tensors_before(self.output_node)

    @cached_property
    def moot_tensors(self) -> frozenset[str]:
        """Those that reach the outputs only through a softmax over a single key."""
        if self.output_node is None:
            return frozenset()
        return self.upstream_tensors - self._tensors_before(
            self.output_node, opened=True
        )

    def _tensors_before(self, number: int, *, opened: bool = False) -> frozenset[str]:
        graph = self.trace.graph
        before = graph.upstream(number, opened=opened)
        return frozenset(
            name
            for one in before
            if not (opened and graph.nodes[one].is_single)
            for name in graph.nodes[one].tensors
        )


Update = Callable[[str, Tensor, Tensor], float | None]


def run_pass(
    problem: Problem,
    leaves: dict[str, Tensor],
    buffers: dict[str, Tensor],
    update: Update | None = None,
) -> Pass:
    """Send the batch through the model and the gradient of its loss back.

    Args:
        problem: Model, batch and loss.
        leaves: Stand for the parameters.
        buffers: Stand for the buffers.
        update: Of (name, leaf, gradient): how far an optimizer would go.

    Raises:
        WeightsError: The model or the loss refuses the batch.
        SpecError: No loss has the name that was asked for.
    """
    model, count = problem.model, len(problem.batch)
    trace = Trace(leaves, buffers)
    seen = Pass(trace, Roles(model, leaves, trace))
    # other kernels of attention hide their scores from the trace
    with standing_in(model, leaves, buffers), sdpa_kernel(SDPBackend.MATH):
        with _watched(model, seen, count), trace:
            given = problem.evaluate()
        seen.evaluation = given
        seen.unread += given.unread
        if given.outputs is not None:
            seen.output_node = trace.node_of(given.outputs)
            seen.outputs = given.outputs.detach()
        seen.loss_name = given.loss_name
        seen.loss = None if given.loss is None else float(given.loss.detach())
        if not given.value.requires_grad:
            seen.unread.append("gradients: the outputs depend on no parameter")
            return seen
        ends = [given.value.grad_fn if given.outputs is None else given.outputs.grad_fn]
        seen.steps = trace_operations(
            ends,
            {v.output_node: v.name for v in seen.layers.values() if v.output_node},
            {v.name: v.input_node for v in seen.layers.values()},
        )
        seen.leaf_moments = {
            node: second_moment(node.variable)
            for node, step in seen.steps.items()
            if step.kind == "leaf"
        }
        with _reducing(leaves, seen, update):
            try:
                torch.autograd.backward(given.value)
            except RuntimeError as error:
                raise WeightsError(f"the backward pass failed: {error}") from error
    return seen


@contextmanager
def _watched(model: nn.Module, seen: Pass, num_examples: int) -> Iterator[None]:
    """Hooks on all layers: statistics at the first call, a gradient when it comes."""
    starts: dict[str, int] = {}
    trace = seen.trace
    products: list[tuple[ActivationStatistics, Tensor]] = []

    def begin(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, args: Any) -> None:
            starts[name] = len(trace.graph.nodes)

        return hook

    def watch(name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            output = first_tensor(result)
            if output is None or output.ndim == 0 or output.numel() == 0:
                return
            with trace.paused():
                look(name, module, args, kwargs, output)

        return hook

    def look(
        name: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor
    ) -> None:
        role = role_of(module)
        if role == "other":
            if any(layer.name.startswith(name) for layer, _ in products):
                return  # its products have rows of their own
            inside = trace.graph.nodes[starts.get(name, len(trace.graph.nodes)) :]
            role = "norm" if any(node.is_norm for node in inside) else role
        first = name not in seen.layers
        if first:
            x = first_tensor(args) if args else first_tensor(kwargs)
            seen.layers[name] = read_layer(name, module, role, x, output, num_examples)
        layer = seen.layers[name]
        # under activation checkpointing the graph comes with the second call
        if output.requires_grad and (first or layer.output_node is None):
            layer.output_node = layer.output_node or output.grad_fn
            _follow(layer, output, num_examples)

    def meet(
        owner: str, weight: Tensor, fan_in: int, x: Tensor, output: Tensor, axis: int
    ) -> None:
        name, kind = seen.roles.row_of(owner)
        if not name or name in seen.layers or not output.numel() or not x.numel():
            return
        if not x.is_floating_point() or axis >= output.ndim:
            return
        if weight.layout is not torch.strided:
            weight = weight.to_dense()
        layer = read_product(
            name,
            kind,
            x,
            weight,
            fan_in,
            output,
            num_examples,
            unit_axis=axis,
        )
        seen.layers[name] = layer
        products.append((layer, output))

    trace.on_product = meet
    with ExitStack() as stack:
        for name, module in find_layers(model):
            stack.callback(module.register_forward_pre_hook(begin(name)).remove)
            handle = module.register_forward_hook(watch(name), with_kwargs=True)
            stack.callback(handle.remove)
        yield
        for layer, output in products:
            if output.grad_fn is not None:
                layer.output_node = output.grad_fn
                _follow(layer, output, num_examples)
    trace.on_product = None


def _follow(layer: ActivationStatistics, output: Tensor, num_examples: int) -> None:
    output.register_hook(  # type: ignore[no-untyped-call]
        lambda gradient: add_gradient(layer, gradient, num_examples)
    )


@contextmanager
def _reducing(
    leaves: dict[str, Tensor], seen: Pass, update: Update | None
) -> Iterator[None]:
    """Hooks on the leaves: keep a few numbers of a gradient, and free it."""

    def reduce(name: str) -> Callable[[Tensor], None]:
        def hook(leaf: Tensor) -> None:
            gradient = leaf.grad
            leaf.grad = None
            if gradient is None:
                return
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            tiny = torch.finfo(gradient.dtype).tiny
            rows = seen.roles.units(name, gradient)
            step = None if update is None else update(name, leaf, gradient)
            seen.gradients[name] = Gradient(
                rms=root_mean_square(gradient),
                flushed=float((gradient.abs() < tiny).float().mean()),
                signs=None if rows is None else sign_rows(rows),
                step=step,
            )

        return hook

    with ExitStack() as stack:
        for name, leaf in leaves.items():
            if leaf.requires_grad:
                handle = leaf.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    reduce(name)
                )
                stack.callback(handle.remove)
        yield
