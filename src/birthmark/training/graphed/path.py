"""The path that trains in laps: steps of a GPU replayed from a CUDA graph."""

from collections.abc import Iterator

import torch
from torch import Tensor

from birthmark.network import forward_stack, gather_layers, name_parameters
from birthmark.shapes import Weights
from birthmark.spec import RunSpec
from birthmark.training.examples import Examples
from birthmark.training.graphed.heads import HEADS
from birthmark.training.graphed.lanes import Lane
from birthmark.training.graphed.laps import Lap, Program, bytes_of_step
from birthmark.training.graphed.layers import pad_layers
from birthmark.training.losses import find_loss
from birthmark.training.stepwise import evaluate_stack
from birthmark.training.stretches import Stretch
from birthmark.training.tallies import Tally

_MOST_STEPS = 16  # of a lap: the start of a graph costs about as much as three kernels
_MOST_BYTES = 2**28  # of the inputs of a lap


class GraphedPath:
    """Dense layers of any activation and loss, plain SGD, without the host.

    Several steps are a lap, captured once in a CUDA graph and then replayed. Steps that
    do not fill a lap, and the smaller last batch of an epoch, are queued one by one, by
    the same code; so is everything on a CPU. Bits do not depend on how steps fall into
    laps. Gradients are of the mean over the batch.

    It differs from the other paths in one thing: a replica in which a hidden activation
    overflows is frozen before that step, even if no later unit passes it on.
    """

    name = "graphed"

    def __init__(self, spec: RunSpec, weights: Weights) -> None:
        training = spec.training
        self._head = HEADS[training.loss]
        self._loss = find_loss(training.loss)
        padded = pad_layers(weights, pad_outputs=self._head.pads_outputs)
        self._layers = list(padded.values())
        views = {name: layer.layer for name, layer in padded.items()}
        self.parameters = name_parameters(Weights(views))
        self.state: dict[str, Tensor] = {}
        self._device = str(weights["output"].b.device)
        self.tally = Tally.zeros(weights.num_replicas, self._device)
        self._activation, self._eps = spec.network.activation, training.eps
        self._batch_size = training.batch_size
        self.lane = Lane.taken_by(self, self._device)
        self._laps: dict[tuple[int, int], Lap] = {}  # by size of batch, and of order
        self._examples: Examples | None = None
        self._graphs: dict[Lap, torch.cuda.CUDAGraph | None] = {}

    def make_steps(self, examples: Examples, stretch: Stretch) -> None:
        """See `Path`."""
        if examples is not self._examples:
            self._examples, self._laps, self._graphs = examples, {}, {}
        order_RN, first_batch = stretch.order_RN, stretch.first_batch
        rates = self._send([-lr for lr in stretch.lrs])
        with self.lane.entered():
            done = 0
            for size, count in self._split(
                order_RN.shape[1], first_batch, len(stretch)
            ):
                lap = self._lap(size, len(order_RN))
                while count:
                    num_steps = min(count, lap.num_steps)
                    start = (first_batch + done) * self._batch_size
                    rate_S = rates[done : done + num_steps]
                    lap.load(order_RN, start, rate_S, stretch.first_step + done)
                    self._run(lap, num_steps)
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

    def _lap(self, size: int, num_orders: int) -> Lap:
        key = (size, num_orders)
        if key not in self._laps:
            assert self._examples is not None
            program = Program(
                self._layers,
                self._activation,
                self._head,
                self._eps,
                self._examples,
                self.tally,
            )
            in_memory = steps_of_lap(bytes_of_step(self._layers[0], num_orders, size))
            in_epoch = len(self._examples) // size if size == self._batch_size else 1
            self._laps[key] = Lap(
                program,
                self.lane,
                num_steps=min(in_memory, in_epoch),
                batch_size=size,
                num_orders=num_orders,
            )
        return self._laps[key]

    def _run(self, lap: Lap, num_steps: int) -> None:
        """Replay the lap, if it is whole and has been queued once step by step.

        That first time loads the kernels and takes the working memory of products,
        which a capture must not do. A capture itself computes nothing.
        """
        graph = self._graphs.get(lap)
        if num_steps < lap.num_steps or self.lane.main is None:
            lap.run(num_steps)
        elif lap not in self._graphs:
            lap.run(num_steps)
            self._graphs[lap] = None
        else:
            if graph is None:
                graph = self._graphs[lap] = self._capture(lap)
            graph.replay()

    def _capture(self, lap: Lap) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, stream=self.lane.main, capture_error_mode="thread_local"
        ):
            lap.run(lap.num_steps)
        return graph

    def _send(self, values: list[float]) -> Tensor:
        """To the device, without waiting for it."""
        tensor = torch.tensor(values, dtype=self._layers[0].whole_RIO.dtype)
        if self.lane.main is not None:
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)


def steps_of_lap(bytes_of_step: int) -> int:
    """How many steps a lap has, by what the inputs of one step take."""
    return max(1, min(_MOST_STEPS, _MOST_BYTES // bytes_of_step))
