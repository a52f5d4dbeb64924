"""The engine: a stack of replicas between two optimizer steps.

It knows the spec, the data and where it stands; it does not know who looks. A replica's
start and batch order depend on (seed, replica) alone. NaN or Inf freezes a replica
where it is, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from birthmark.errors import SpecError, WeightsError, unknown_name
from birthmark.network import batch_examples, draw_weights, gather_layers
from birthmark.shapes import Array, Dataset, EpochMetrics, Weights
from birthmark.spec import RunSpec
from birthmark.training.accumulators import read_at_once
from birthmark.training.compiled import CompiledPath
from birthmark.training.devices import find_device
from birthmark.training.examples import Examples, first_examples, load_examples
from birthmark.training.graphed import DeviceStream, GraphedPath
from birthmark.training.losses import find_loss
from birthmark.training.memory import choose_num_parts
from birthmark.training.orders import DrawnOrder, Order
from birthmark.training.paths import TrainingPath, choose_path
from birthmark.training.products import (
    check_precision,
    choose_products,
    product_setting,
)
from birthmark.training.schedules import learning_rate
from birthmark.training.step_ranges import StepRange
from birthmark.training.trials import try_paths, weigh_precision


class Training:
    """Replicas trained together; `advance` moves them on, all else looks at them.

    It is made of its parts; `from_spec` makes these for a run.

    Attributes:
        spec: Loss, batches, learning rate and epochs; which epochs evaluate all.
        device: Where it is computed.
        order: In which order an epoch visits the examples.
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
        path: TrainingPath,
        train_examples: Examples,
        test_examples: Examples,
        order: Order,
        *,
        initial: Weights | None = None,
        products: str = "highest",
        num_parts: int = 1,
        precision_gain: float = 1.0,
    ) -> None:
        """Put the parts together.

        Args:
            spec: What the path trains, but for the network, which the path has.
            path: Holds the weights, and makes the steps.
            train_examples: The training set, on the device of the weights.
            test_examples: What is evaluated at the end of an epoch.
            order: Of each epoch, a function of its number alone: it is asked again
                when a training is resumed.
            initial: The configuration from which the path starts, if any looks at it.
            products: The setting of torch that the path was made under.
            num_parts: Into how many parts the path splits its stack.
            precision_gain: How many times as quick as full precision its own is here.
        """
        self.spec, self.order, self.products = spec, order, products
        self.train_examples, self.test_examples = train_examples, test_examples
        self.num_parts, self._precision_gain = num_parts, precision_gain
        self._path, self.path_name = path, path.name
        self._initial = initial
        self.device = str(train_examples.classes_N.device)
        self._loss = find_loss(spec.training.loss)
        # epochs at whose end the whole training set is evaluated as well
        evaluate = spec.record.evaluate_train
        self._evaluated_epochs = set(spec.recorded_epochs if evaluate else [])
        self.epoch, self.batch = 0, 0
        self._order_RN = torch.empty(0)

    @classmethod
    def from_spec(
        cls,
        spec: RunSpec,
        dataset: Dataset,
        *,
        replicas: Sequence[int] | None = None,
        path: str = "",
        products: str = "",
        num_parts: int = 0,
        order: Order | None = None,
    ) -> Training:
        """Draw the initial configuration, put the data on the device, choose a path.

        Args:
            spec: What to train.
            dataset: As `load_dataset(spec.data)` gives it.
            replicas: Numbers of the replicas to train; all of the run unless said.
            path: How to make steps (see `paths`); the quickest unless said.
            products: How to compute products (see `products`); likewise.
            num_parts: How many parts to split the stack into (see `memory`); as few as
                fit unless said.
            order: In which order examples are visited; as the spec says unless given.
        """
        check_precision(spec)
        replicas = list(range(spec.run.replicas) if replicas is None else replicas)
        device = find_device(spec.run.device)
        products = products or choose_products(spec)
        examples = load_examples(spec, dataset, device)
        initial = draw_weights(
            spec,
            dataset.num_inputs,
            dataset.num_classes,
            replicas=replicas,
            image_shape=dataset.example_shape,
            device=device,
            batch=first_examples(
                dataset, batch_examples(spec), getattr(torch, spec.run.dtype)
            ),
        )
        num_parts = num_parts or choose_num_parts(
            spec, dataset=dataset, num_replicas=len(replicas)
        )
        with torch.no_grad():
            path = path or try_paths(spec, initial, device, examples[0])
            gain = weigh_precision(spec, initial, device, examples[0])
        chosen = choose_path(
            spec,
            initial,
            device,
            path,
            num_parts,
            image_shape=dataset.example_shape,
            replicas=replicas,
        )
        return cls(
            spec,
            chosen,
            *examples,
            order or DrawnOrder(spec, replicas, len(dataset.y_train), device),
            initial=initial,
            products=products,
            num_parts=num_parts,
            precision_gain=gain,
        )

    @property
    def initial(self) -> Weights:
        """The initial configuration, never changed."""
        assert self._initial is not None, "this training was made without one"
        return self._initial

    @property
    def weights(self) -> Weights:
        """A copy of the current configuration; `set_weights` changes the engine's own.

        Its tensors are inference tensors: torch refuses to write into them, so that
        nobody takes them for the engine's. A `clone` can be written into.
        """
        with torch.inference_mode():
            copies = {name: x.clone() for name, x in self._path.parameters.items()}
        return gather_layers(copies)

    def set_weights(self, values: Mapping[str, Tensor | Array]) -> None:
        """Go on from other weights, between two steps.

        Optimizer, sums of the epoch and frozen replicas stay as they are.

        Args:
            values: By name of parameter (`hidden1.w`), [R, ...]; the others stay.

        Raises:
            WeightsError: There is no such parameter, or its shape is another.
        """
        for name, value in values.items():
            held = self._path.parameters.get(name)
            if held is None:
                raise unknown_name("parameter", name, self._path.parameters)
            if held.shape != tuple(value.shape):
                raise WeightsError(
                    f"{name} is {list(held.shape)}, got {list(value.shape)}: give all "
                    "replicas, in the shape of the parameter"
                )
        for name, value in values.items():
            self._path.parameters[name].copy_(torch.as_tensor(value))

    def go_to(self, epoch: int) -> None:
        """Stand at the end of an epoch as if so many were trained, sums at zero."""
        self.epoch, self.batch = epoch, 0
        self._path.accumulators.begin_epoch()

    @property
    def device_stream(self) -> DeviceStream:
        """Where its work can be queued beside that of other trainings."""
        return (
            self._path.device_stream
            if isinstance(self._path, GraphedPath)
            else DeviceStream("cpu")
        )

    @property
    def tuning(self) -> dict[str, Any]:
        """What trials on this processor have found; no bit depends on it."""
        path, found = self._path, {"precision_gain": self._precision_gain}
        return found | (asdict(path.tuning) if isinstance(path, CompiledPath) else {})

    @property
    def nonfinite_step_R(self) -> Array:
        """Step at which a replica was frozen, -1 where none was."""
        return self._path.accumulators.nonfinite_step_R.cpu().numpy().copy()

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the last, smaller one included."""
        return -(-len(self.order) // self.spec.training.batch_size)

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
        step_range = self._plan(max_steps)
        with torch.no_grad(), product_setting(self.products):
            self._path.make_steps(self.train_examples, step_range)
        return self._arrive(len(step_range))

    def _plan(self, max_steps: int) -> StepRange:
        """The next steps within the epoch."""
        if self.batch == 0:
            self._order_RN = self._find_order()
        count = min(max_steps, self.steps_per_epoch - self.batch)
        lrs = [
            learning_rate(self.spec.training, step, self.steps_per_epoch)
            for step in range(self.step, self.step + count)
        ]
        return StepRange(self._order_RN, self.batch, self.step, lrs)

    def _arrive(self, num_steps: int) -> EpochMetrics | None:
        """Count steps that the path has made; the metrics when the epoch ends here."""
        self.batch += num_steps
        if self.batch < self.steps_per_epoch:
            return None
        self.epoch, self.batch = self.epoch + 1, 0
        with torch.no_grad(), product_setting(self.products):
            return self._end_epoch()

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
        tensors |= {f"sums.{k}": v for k, v in self._path.accumulators.sums.items()}
        arrays = {name: _copy_to_host(tensor) for name, tensor in tensors.items()}
        arrays["nonfinite_step"] = self.nonfinite_step_R
        return arrays, {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(
        self, arrays: Mapping[str, Array], position: Mapping[str, int]
    ) -> None:
        """Stand where `state_dict` was taken, bit for bit."""
        accumulators = self._path.accumulators
        current = {"weights": self._path.parameters, "sums": accumulators.sums}
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
        accumulators.nonfinite_step_R.copy_(torch.tensor(arrays["nonfinite_step"]))
        self.epoch, self.batch = position["epoch"], position["batch"]
        if self.batch:
            self._order_RN = self._find_order()

    def _find_order(self) -> Tensor:
        """That of this epoch; one from outside is looked at before it is walked."""
        order_RN = self.order(self.epoch)
        if isinstance(self.order, DrawnOrder):
            return order_RN
        num_replicas, count = len(self._path.accumulators.loss_R), self.num_examples
        rows = order_RN.shape[0] if order_RN.dim() == 2 else 0
        if rows not in (1, num_replicas) or order_RN.shape[1] != len(self.order):
            raise SpecError(
                f"order is {list(order_RN.shape)}: give [{num_replicas}, "
                f"{len(self.order)}], or one row for all replicas"
            )
        if order_RN.dtype != torch.int64 or not (
            0 <= int(order_RN.min()) <= int(order_RN.max()) < count
        ):
            raise SpecError(
                f"order has {order_RN.dtype} from {order_RN.min()} to "
                f"{order_RN.max()}: give int64 numbers of examples, 0 to {count - 1}"
            )
        return order_RN.contiguous()

    def _end_epoch(self) -> EpochMetrics:
        accumulators = self._path.accumulators
        failed_R = (accumulators.nonfinite_step_R < 0) & ~self._weights_are_finite()
        accumulators.nonfinite_step_R.masked_fill_(failed_R, self.step)
        found = read_at_once(
            accumulators.sums
            | {"nonfinite_step": accumulators.nonfinite_step_R}
            | self._evaluate()
        )
        accumulators.begin_epoch()
        num_seen = len(self.order) if self.epoch else np.nan
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
        finite_R = torch.ones_like(self._path.accumulators.loss_R, dtype=torch.bool)
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
