"""The path that captures steps: several of a GPU replayed from a CUDA graph."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from birthmark.network import forward_stack, gather_layers, name_parameters
from birthmark.shapes import Weights
from birthmark.spec import RunSpec
from birthmark.training.accumulators import Accumulators
from birthmark.training.examples import Examples
from birthmark.training.fast import FastPath
from birthmark.training.graphed.captured import CapturedSteps, Program, bytes_of_step
from birthmark.training.graphed.fused_losses import FUSED_LOSSES
from birthmark.training.graphed.layers import pad_layers
from birthmark.training.graphed.streams import DeviceStream
from birthmark.training.losses import find_loss
from birthmark.training.sizes import PathBytes, StackSizes
from birthmark.training.step_ranges import StepRange
from birthmark.training.stepwise import evaluate_stack

_MOST_STEPS = 16  # captured: the start of a graph costs about as much as three kernels
_MOST_BYTES = 2**28  # of the inputs of captured steps


class GraphedPath:
    """Dense layers of any activation and loss, plain SGD, without the host.

    Several steps are captured once in a CUDA graph and then replayed. Steps that do not
    fill one capture, and the smaller last batch of an epoch, are queued one by one, by
    the same code; so is everything on a CPU. Bits do not depend on how steps are
    captured. Gradients are of the mean over the batch.

    It differs from the other paths in one thing: a replica in which a hidden activation
    overflows is frozen before that step, even if no later unit passes it on.
    """

    name = "graphed"

    def __init__(self, spec: RunSpec, weights: Weights) -> None:
        training = spec.training
        self._fused_loss = FUSED_LOSSES[training.loss]
        self._loss = find_loss(training.loss)
        padded = pad_layers(weights, pad_outputs=self._fused_loss.pads_outputs)
        self._layers = list(padded.values())
        views = {name: layer.layer for name, layer in padded.items()}
        self.parameters = name_parameters(Weights(views))
        self.state: dict[str, Tensor] = {}
        self._device = str(weights["output"].b.device)
        self.accumulators = Accumulators.zeros(weights.num_replicas, self._device)
        self._activation, self._eps = spec.network.activation, training.eps
        self._batch_size = training.batch_size
        self.device_stream = DeviceStream.taken_by(self, self._device)
        self._captured: dict[
            tuple[int, int], CapturedSteps
        ] = {}  # by size of batch, and of order
        self._examples: Examples | None = None
        self._graphs: dict[CapturedSteps, torch.cuda.CUDAGraph | None] = {}

    @classmethod
    def count_bytes(cls, sizes: StackSizes, rows: int, count: int) -> PathBytes:
        """See `paths`; a part of the replicas goes through `fast` instead."""
        found = FastPath.count_bytes(sizes, rows, count)
        if rows < sizes.num_replicas:
            return found
        *hidden, classes = sizes.values[1:]
        batch = sizes.spec.training.batch_size
        one_step = sizes.gathered(rows) * (1 + sizes.item)
        values = rows * batch * (2 * sum(hidden) + 3 * classes)
        step = one_step * count_captured(one_step) + values * sizes.item
        return replace(found, step=step)

    def make_steps(self, examples: Examples, step_range: StepRange) -> None:
        """See `Path`."""
        if examples is not self._examples:
            self._examples, self._captured, self._graphs = examples, {}, {}
        order_RN, first_batch = step_range.order_RN, step_range.first_batch
        rates = self._send([-lr for lr in step_range.lrs])
        with self.device_stream.entered():
            done = 0
            for size, count in self._split(
                order_RN.shape[1], first_batch, len(step_range)
            ):
                steps = self._captured_steps(size, len(order_RN))
                while count:
                    num_steps = min(count, steps.num_steps)
                    start = (first_batch + done) * self._batch_size
                    rate_S = rates[done : done + num_steps]
                    steps.load(order_RN, start, rate_S, step_range.first_step + done)
                    self._run(steps, num_steps)
                    done, count = done + num_steps, count - num_steps

    def evaluate(self, examples: Examples) -> Tensor:
        """See `Path`."""
        weights = gather_layers(self.parameters)
        return evaluate_stack(
            lambda x_BI: forward_stack(weights, x_BI, self._activation),
            examples,
            lambda z, y: self._loss.value(z, y, self._eps),
            weights.num_replicas,
        )

    def _split(
        self, num_examples: int, first_batch: int, count: int
    ) -> Iterator[tuple[int, int]]:
        """Sizes of batches, and how many steps have them."""
        num_full = min(count, num_examples // self._batch_size - first_batch)
        if num_full > 0:
            yield self._batch_size, num_full
        if count > num_full:
            yield num_examples % self._batch_size, 1

    def _captured_steps(self, size: int, num_orders: int) -> CapturedSteps:
        key = (size, num_orders)
        if key not in self._captured:
            assert self._examples is not None
            program = Program(
                self._layers,
                self._activation,
                self._fused_loss,
                self._eps,
                self._examples,
                self.accumulators,
            )
            in_memory = count_captured(bytes_of_step(self._layers[0], num_orders, size))
            in_epoch = len(self._examples) // size if size == self._batch_size else 1
            self._captured[key] = CapturedSteps(
                program,
                self.device_stream,
                num_steps=min(in_memory, in_epoch),
                batch_size=size,
                num_orders=num_orders,
            )
        return self._captured[key]

    def _run(self, steps: CapturedSteps, num_steps: int) -> None:
        """Replay the steps, if all are asked for and have been queued once, one by one.

        That first time loads the kernels and takes the working memory of products,
        which a capture must not do. A capture itself computes nothing.
        """
        graph = self._graphs.get(steps)
        if num_steps < steps.num_steps or self.device_stream.main is None:
            steps.run(num_steps)
        elif steps not in self._graphs:
            steps.run(num_steps)
            self._graphs[steps] = None
        else:
            if graph is None:
                graph = self._graphs[steps] = self._capture(steps)
            graph.replay()

    def _capture(self, steps: CapturedSteps) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, stream=self.device_stream.main, capture_error_mode="thread_local"
        ):
            steps.run(steps.num_steps)
        return graph

    def _send(self, values: list[float]) -> Tensor:
        """To the device, without waiting for it."""
        tensor = torch.tensor(values, dtype=self._layers[0].whole_RIO.dtype)
        if self.device_stream.main is not None:
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)


def count_captured(bytes_of_step: int) -> int:
    """How many steps are captured, by what the inputs of one step take."""
    return max(1, min(_MOST_STEPS, _MOST_BYTES // bytes_of_step))
