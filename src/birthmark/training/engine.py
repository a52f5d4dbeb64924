"""The engine: a stack of replicas between two optimizer steps.

It knows the spec, the data and where it stands; it does not know who looks. A replica's
start and batch order depend on (seed, replica) alone. NaN or Inf freezes a replica
where it is, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from birthmark.network import batch_examples, draw_weights, gather_layers
from birthmark.shapes import Array, Dataset, EpochMetrics, Weights
from birthmark.spec import RunSpec
from birthmark.training.devices import find_device
from birthmark.training.examples import Examples, first_examples
from birthmark.training.graphed import GraphedPath, Lane
from birthmark.training.losses import find_loss
from birthmark.training.memory import choose_num_parts
from birthmark.training.orders import Orders
from birthmark.training.paths import Path, choose_path
from birthmark.training.products import (
    check_precision,
    choose_products,
    product_setting,
)
from birthmark.training.schedules import learning_rate
from birthmark.training.stretches import Stretch
from birthmark.training.tallies import read_at_once
from birthmark.training.trials import try_paths


class Training:
    """Replicas trained together; `advance` moves them on, all else looks at them.

    Attributes:
        initial: The initial configuration, never changed.
        epoch: Epochs finished.
        batch: Batches of the current epoch that are done.
        path_name: How steps are made.
        products: The setting of torch under which products are computed.
        num_parts: Into how many parts the stack is split to fit in memory.

    A resumed training must go on with the same path, products, parts and number of
    threads.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: Dataset,
        *,
        replicas: Sequence[int] | None = None,
        path: str = "",
        products: str = "",
        num_parts: int = 0,
    ) -> None:
        """Draw the initial configuration and put the data on the device.

        Args:
            spec: What to train.
            dataset: As `load_dataset(spec.data)` gives it.
            replicas: Numbers of the replicas to train; all of the run unless said.
            path: How to make steps (see `paths`); the quickest unless said.
            products: How to compute products (see `products`); likewise.
            num_parts: How many parts to split the stack into (see `memory`); as few as
                fit unless said.
        """
        check_precision(spec)
        self.spec = spec
        self.replicas = list(range(spec.run.replicas) if replicas is None else replicas)
        self.device = find_device(spec.run.device)
        self.products = products or choose_products(spec)
        self._loss = find_loss(spec.training.loss)
        dtype = getattr(torch, spec.run.dtype)
        self.train_examples, self.test_examples = (
            Examples(dataset, x, y, dtype=dtype, device=self.device)
            for x, y in (
                (dataset.x_train, dataset.y_train),
                (dataset.x_test, dataset.y_test),
            )
        )
        self.initial = draw_weights(
            spec,
            dataset.num_inputs,
            dataset.num_classes,
            replicas=self.replicas,
            image_shape=dataset.example_shape,
            device=self.device,
            batch=first_examples(dataset, batch_examples(spec), dtype),
        )
        self.num_parts = num_parts or choose_num_parts(
            spec, dataset=dataset, num_replicas=len(self.replicas)
        )
        if not path:
            with torch.no_grad(), product_setting(self.products):
                path = try_paths(spec, self.initial, self.device, self.train_examples)
        self._path = choose_path(
            spec,
            self.initial,
            self.device,
            path,
            self.num_parts,
            image_shape=dataset.example_shape,
            replicas=self.replicas,
        )
        self.path_name = self._path.name
        # epochs at whose end the whole training set is evaluated as well
        evaluate = spec.record.evaluate_train
        self._evaluated_epochs = set(spec.recorded_epochs if evaluate else [])
        self.epoch, self.batch = 0, 0
        self._order_RN = torch.empty(0)
        self._orders: Orders | None = None

    @property
    def weights(self) -> Weights:
        """The current configuration; the engine goes on writing into it."""
        return gather_layers(self._path.parameters)

    @property
    def lane(self) -> Lane:
        """Where its work can be queued beside that of other trainings."""
        return self._path.lane if isinstance(self._path, GraphedPath) else Lane("cpu")

    @property
    def nonfinite_step_R(self) -> Array:
        """Step at which a replica was frozen, -1 where none was."""
        return self._path.tally.nonfinite_step_R.cpu().numpy().copy()

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the last, smaller one included."""
        return -(-len(self.train_examples) // self.spec.training.batch_size)

    @property
    def step(self) -> int:
        """Optimizer steps made."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def num_examples(self) -> int:
        """Examples of the training set, N."""
        return len(self.train_examples)

    def advance(self, max_steps: int) -> EpochMetrics | None:
        """Make up to so many steps, at most to the end of the epoch.

        Returns:
            The metrics of the epoch when it ends here, otherwise None.
        """
        stretch = self.plan(max_steps)
        with torch.no_grad(), product_setting(self.products):
            self._path.make_steps(self.train_examples, stretch)
        return self.arrive(len(stretch))

    def plan(self, max_steps: int) -> Stretch:
        """The next steps within the epoch."""
        if self.batch == 0:
            self._order_RN = self.draw_order()
        count = min(max_steps, self.steps_per_epoch - self.batch)
        lrs = [
            learning_rate(self.spec.training, step, self.steps_per_epoch)
            for step in range(self.step, self.step + count)
        ]
        return Stretch(self._order_RN, self.batch, self.step, lrs)

    def arrive(self, num_steps: int) -> EpochMetrics | None:
        """Count steps that the path has made; the metrics when the epoch ends here."""
        self.batch += num_steps
        if self.batch < self.steps_per_epoch:
            return None
        self.epoch, self.batch = self.epoch + 1, 0
        with torch.no_grad(), product_setting(self.products):
            return self._end_epoch()

    def join(self, path: Path, other: Training) -> None:
        """Become part of a stack that holds these weights, and one data set for all.

        Args:
            path: In whose tensors this training stands from now on.
            other: Of the same stack; its examples serve this one as well.
        """
        self._path, self.path_name = path, path.name
        self.train_examples, self.test_examples = (
            other.train_examples,
            other.test_examples,
        )

    def run_epoch(self) -> EpochMetrics:
        """Go on to the end of the current epoch."""
        metrics = None
        while metrics is None:
            metrics = self.advance(self.steps_per_epoch)
        return metrics

    def metrics_at_start(self) -> EpochMetrics:
        """Epoch 0: test metrics of the initial configuration; none was trained on."""
        with torch.no_grad(), product_setting(self.products):
            return self._end_epoch()

    def state_dict(self) -> tuple[dict[str, Array], dict[str, int]]:
        """All that is needed to go on exactly: arrays, and where the training stands.

        The initial configuration is not in it: the same spec draws it again.
        """
        tensors = {f"weights.{k}": v for k, v in self._path.parameters.items()}
        tensors |= {f"optimizer.{k}": v for k, v in self._path.state.items()}
        tensors |= {f"sums.{k}": v for k, v in self._path.tally.sums.items()}
        arrays = {name: _copy_to_host(tensor) for name, tensor in tensors.items()}
        arrays["nonfinite_step"] = self.nonfinite_step_R
        return arrays, {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(
        self, arrays: Mapping[str, Array], position: Mapping[str, int]
    ) -> None:
        """Stand where `state_dict` was taken, bit for bit."""
        tally = self._path.tally
        current = {"weights": self._path.parameters, "sums": tally.sums}
        optimizer: dict[str, Tensor] = {}
        for name, array in arrays.items():
            group, _, key = name.partition(".")
            if group in current:
                current[group][key].copy_(torch.tensor(array))
            elif group == "optimizer":
                # Adam counts its steps on the host; all else is on the device
                device = "cpu" if array.ndim == 0 else self.device
                optimizer[key] = torch.tensor(array, device=device)
        self._path.state = optimizer
        tally.nonfinite_step_R.copy_(torch.tensor(arrays["nonfinite_step"]))
        self.epoch, self.batch = position["epoch"], position["batch"]
        if self.batch:
            self._order_RN = self.draw_order()

    def draw_order(self) -> Tensor:
        """The examples in the order of this epoch: [R, N], or [1, N] when shared.

        It is drawn again when a training is resumed, so another way to draw one, in a
        subclass, must depend on seed, replica and epoch alone.
        """
        if self._orders is None or self._orders.device != self.device:
            self._orders = Orders(
                self.spec, self.replicas, self.num_examples, self.device
            )
        return self._orders(self.epoch)

    def _end_epoch(self) -> EpochMetrics:
        tally = self._path.tally
        failed_R = (tally.nonfinite_step_R < 0) & ~self._weights_are_finite()
        tally.nonfinite_step_R.masked_fill_(failed_R, self.step)
        found = read_at_once(
            tally.sums | {"nonfinite_step": tally.nonfinite_step_R} | self._evaluate()
        )
        tally.begin_epoch()
        num_seen = len(self.train_examples) if self.epoch else np.nan
        going = found["nonfinite_step"] < 0
        never, below_eps = np.full(len(going), np.nan), found["below_eps"]

        def of_going(name: str, count: float = 1) -> Array:
            return np.where(going, found.get(name, never) / count, np.nan)

        return EpochMetrics(
            epoch=self.epoch,
            step=self.step,
            train_loss=of_going("loss", num_seen),
            test_loss=of_going("test_loss"),
            train_accuracy=of_going("correct", num_seen),
            test_accuracy=of_going("test_accuracy"),
            below_eps=below_eps,
            saturated=found["saturated"],
            abandoned=below_eps if self._loss.clips else np.zeros_like(below_eps),
            nonfinite_step=found["nonfinite_step"],
            train_loss_evaluated=of_going("train_loss"),
            train_accuracy_evaluated=of_going("train_accuracy"),
        )

    def _weights_are_finite(self) -> Tensor:
        finite_R = torch.ones(len(self.replicas), dtype=torch.bool, device=self.device)
        for parameter in self._path.parameters.values():
            finite_R &= torch.isfinite(parameter).reshape(len(finite_R), -1).all(dim=1)
        return finite_R

    def _evaluate(self) -> dict[str, Tensor]:
        """Mean losses and accuracies of this epoch, [R], still on the device."""
        evaluated = {"test": self.test_examples}
        if self.epoch in self._evaluated_epochs:
            evaluated["train"] = self.train_examples
        found: dict[str, Tensor] = {}
        for name, examples in evaluated.items():
            loss_R, accuracy_R = self._path.evaluate(examples)
            found |= {f"{name}_loss": loss_R, f"{name}_accuracy": accuracy_R}
        return found


def _copy_to_host(tensor: Tensor) -> Array:
    """One copy, in rows, from wherever it lies."""
    whole = torch.empty(tensor.shape, dtype=tensor.dtype)
    return whole.copy_(tensor).numpy()
