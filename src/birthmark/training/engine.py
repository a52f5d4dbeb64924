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

from birthmark.network import draw_weights, forward_stack, gather_layers
from birthmark.seeds import batch_order
from birthmark.shapes import Array, Dataset, EpochMetrics, Weights
from birthmark.spec import RunSpec
from birthmark.training.devices import check_precision, find_device, product_precision
from birthmark.training.examples import Examples
from birthmark.training.losses import find_loss
from birthmark.training.paths import BatchResult, choose_path
from birthmark.training.schedules import learning_rate

_EVALUATION_BATCH = 1024  # examples evaluated at once, by all replicas


class Training:
    """Replicas trained together; `advance` moves them on, all else looks at them.

    Attributes:
        initial: The initial configuration, never changed.
        epoch: Epochs finished.
        batch: Batches of the current epoch that are done.
        nonfinite_step_R: Step at which a replica was frozen, -1 where none was.
    """

    def __init__(
        self, spec: RunSpec, dataset: Dataset, *, replicas: Sequence[int] | None = None
    ) -> None:
        """Draw the initial configuration and put the data on the device.

        Args:
            spec: What to train.
            dataset: As `load_dataset(spec.data)` gives it.
            replicas: Numbers of the replicas to train; all of the run unless said.
        """
        check_precision(spec.run)
        self.spec = spec
        self.replicas = list(range(spec.run.replicas) if replicas is None else replicas)
        self.device = find_device(spec.run.device)
        self._loss = find_loss(spec.training.loss)
        dtype = getattr(torch, spec.run.dtype)
        self._train, self._test = (
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
            device=self.device,
        )
        self._path = choose_path(spec, self.initial)
        # epochs at whose end the whole training set is evaluated as well
        evaluate = spec.record.evaluate_train
        self._evaluated_epochs = set(spec.recorded_epochs if evaluate else [])
        self.epoch, self.batch = 0, 0
        self._order_RN = torch.empty(0)
        num_replicas = len(self.replicas)
        self.nonfinite_step_R = np.full(num_replicas, -1, dtype=np.int64)
        self._frozen: dict[str, Tensor] = {}
        self._sums = self._no_sums()

    @property
    def weights(self) -> Weights:
        """The current configuration; the engine goes on writing into it."""
        return gather_layers(self._path.parameters)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, the last, smaller one included."""
        return -(-len(self._train) // self.spec.training.batch_size)

    @property
    def step(self) -> int:
        """Optimizer steps made."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def num_examples(self) -> int:
        """Examples of the training set, N."""
        return len(self._train)

    def advance(self, max_steps: int) -> EpochMetrics | None:
        """Make up to so many steps, at most to the end of the epoch.

        Returns:
            The metrics of the epoch when it ends here, otherwise None.
        """
        if self.batch == 0:
            self._order_RN = self._draw_order()
        with torch.no_grad(), product_precision(self.spec.run.precision):
            for _ in range(min(max_steps, self.steps_per_epoch - self.batch)):
                self._make_step()
                self.batch += 1
            if self.batch < self.steps_per_epoch:
                return None
            self.epoch, self.batch = self.epoch + 1, 0
            return self._end_epoch()

    def run_epoch(self) -> EpochMetrics:
        """Go on to the end of the current epoch."""
        metrics = None
        while metrics is None:
            metrics = self.advance(self.steps_per_epoch)
        return metrics

    def metrics_at_start(self) -> EpochMetrics:
        """Epoch 0: test metrics of the initial configuration; none was trained on."""
        with torch.no_grad(), product_precision(self.spec.run.precision):
            return self._end_epoch()

    def state_dict(self) -> tuple[dict[str, Array], dict[str, int]]:
        """All that is needed to go on exactly: arrays, and where the training stands.

        The initial configuration is not in it: the same spec draws it again.
        """
        tensors = {f"weights.{k}": v for k, v in self._path.parameters.items()}
        tensors |= {f"optimizer.{k}": v for k, v in self._path.state.items()}
        tensors |= {f"sums.{k}": v for k, v in self._sums.items()}
        arrays = {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}
        arrays["nonfinite_step"] = self.nonfinite_step_R.copy()
        return arrays, {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(
        self, arrays: Mapping[str, Array], position: Mapping[str, int]
    ) -> None:
        """Stand where `state_dict` was taken, bit for bit."""
        groups: dict[str, dict[str, Tensor]] = {
            "weights": {},
            "optimizer": {},
            "sums": {},
        }
        for name, array in arrays.items():
            group, _, key = name.partition(".")
            if group in groups:
                # Adam counts its steps on the host; all else is on the device
                device = "cpu" if array.ndim == 0 else self.device
                groups[group][key] = torch.tensor(array, device=device)
        for name, value in groups["weights"].items():
            self._path.parameters[name].copy_(value)
        self._path.state = groups["optimizer"]
        self._sums = groups["sums"]
        self.nonfinite_step_R = np.array(arrays["nonfinite_step"])
        self._keep_frozen()
        self.epoch, self.batch = position["epoch"], position["batch"]
        if self.batch:
            self._order_RN = self._draw_order()

    def _draw_order(self) -> Tensor:
        """The examples in the order of this epoch: [R, N], or [1, N] when shared."""
        shared = self.spec.training.batch_order == "shared"
        orders = [
            batch_order(self.spec.run.seed, replica, self.epoch, len(self._train))
            for replica in ([0] if shared else self.replicas)
        ]
        return torch.tensor(np.stack(orders), device=self.device)

    def _make_step(self) -> None:
        if (self.nonfinite_step_R >= 0).all():
            return
        size = self.spec.training.batch_size
        index = self._order_RN[:, self.batch * size : (self.batch + 1) * size]
        shared = len(index) == 1 < len(self.replicas)
        x, y = self._train.gather(index[0] if shared else index)
        y_RB = y.expand(len(self.replicas), -1)
        result = self._path.differentiate(x, y_RB)
        finite_RB = torch.isfinite(result.loss_RB)
        if not finite_RB.all():
            self._freeze(~finite_RB.all(dim=1))
        self._add_to_sums(result, y_RB)
        lr = learning_rate(self.spec.training, self.step, self.steps_per_epoch)
        self._path.update(lr)
        if self._frozen:
            self._restore_frozen()

    def _freeze(self, nonfinite_R: Tensor) -> None:
        newly = nonfinite_R.cpu().numpy() & (self.nonfinite_step_R < 0)
        if newly.any():
            self.nonfinite_step_R[newly] = self.step
            self._keep_frozen()

    @property
    def _frozen_rows(self) -> Tensor:
        rows = np.flatnonzero(self.nonfinite_step_R >= 0)
        return torch.from_numpy(rows).to(self.device)

    def _keep_frozen(self) -> None:
        """Remember the weights of the frozen replicas, to put them back each step."""
        rows = self._frozen_rows
        self._frozen = {}
        if len(rows):
            for name, parameter in self._path.parameters.items():
                self._frozen[name] = parameter[rows].clone()

    def _restore_frozen(self) -> None:
        rows = self._frozen_rows
        for name, kept in self._frozen.items():
            self._path.parameters[name][rows] = kept

    def _no_sums(self) -> dict[str, Tensor]:
        def zeros(dtype: torch.dtype) -> Tensor:
            return torch.zeros(len(self.replicas), dtype=dtype, device=self.device)

        counts = ("correct", "below_eps", "saturated")
        return {"loss": zeros(torch.float64)} | {k: zeros(torch.int64) for k in counts}

    def _add_to_sums(self, result: BatchResult, y_RB: Tensor) -> None:
        eps = self.spec.training.eps
        p_true_RB = result.p_true_RB
        if self._frozen:
            # a frozen replica is not trained, so it visits nothing: NaN counts nowhere
            p_true_RB = p_true_RB.index_fill(0, self._frozen_rows, torch.nan)
        self._sums["loss"] += result.loss_RB.sum(dim=1, dtype=torch.float64)
        self._sums["correct"] += (result.predicted_RB == y_RB).sum(dim=1)
        self._sums["below_eps"] += (p_true_RB < eps).sum(dim=1)
        self._sums["saturated"] += (p_true_RB > 1 - eps).sum(dim=1)

    def _end_epoch(self) -> EpochMetrics:
        self._freeze(~self._weights_are_finite())
        sums = {name: value.cpu().numpy() for name, value in self._sums.items()}
        self._sums = self._no_sums()
        frozen = self.nonfinite_step_R >= 0
        num_seen = len(self._train) if self.epoch else np.nan
        test_loss, test_accuracy = self._evaluate(self._test)
        if self.epoch in self._evaluated_epochs:
            train_loss, train_accuracy = self._evaluate(self._train)
        else:
            train_loss = train_accuracy = np.full(len(frozen), np.nan)
        below_eps = sums["below_eps"].copy()
        return EpochMetrics(
            epoch=self.epoch,
            step=self.step,
            train_loss=np.where(frozen, np.nan, sums["loss"] / num_seen),
            test_loss=test_loss,
            train_accuracy=np.where(frozen, np.nan, sums["correct"] / num_seen),
            test_accuracy=test_accuracy,
            below_eps=below_eps,
            saturated=sums["saturated"].copy(),
            abandoned=below_eps if self._loss.clips else np.zeros_like(below_eps),
            nonfinite_step=self.nonfinite_step_R.copy(),
            train_loss_evaluated=train_loss,
            train_accuracy_evaluated=train_accuracy,
        )

    def _weights_are_finite(self) -> Tensor:
        finite_R = torch.ones(len(self.replicas), dtype=torch.bool, device=self.device)
        for parameter in self._path.parameters.values():
            finite_R &= torch.isfinite(parameter).flatten(1).all(dim=1)
        return finite_R

    def _evaluate(self, examples: Examples) -> tuple[Array, Array]:
        """Mean loss and accuracy of each replica [R]; NaN for the frozen ones."""
        num_replicas = len(self.replicas)
        loss_R = torch.zeros(num_replicas, dtype=torch.float64, device=self.device)
        correct_R = torch.zeros(num_replicas, dtype=torch.int64, device=self.device)
        for index in examples.slices(_EVALUATION_BATCH):
            x_BI, y_B = examples.gather(index)
            z_RBK = forward_stack(self.weights, x_BI, self.spec.network.activation)
            y_RB = y_B.expand(num_replicas, -1)
            values_RB = self._loss.value(z_RBK, y_RB, self.spec.training.eps)
            loss_R += values_RB.sum(dim=1, dtype=torch.float64)
            correct_R += (z_RBK.argmax(dim=-1) == y_RB).sum(dim=1)
        frozen = self.nonfinite_step_R >= 0
        loss = (loss_R / len(examples)).cpu().numpy()
        accuracy = (correct_R / len(examples)).cpu().numpy()
        return np.where(frozen, np.nan, loss), np.where(frozen, np.nan, accuracy)
