"""Several replicas at once in torch: written by hand, and by `torch.func`."""

import shutil
import warnings

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from throughput.case import BATCH, EPS, LR, Array, Case, Layers
from throughput.rates import quickest_setting
from throughput.torch_loops import build_model, clipped_cross_entropy
from throughput.trainer import Metrics


class TorchStack:
    """Data, orders and running metrics; a subclass makes a step."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(quickest_setting())
        self.x_NI = torch.from_numpy(x_NI).float() / 255
        self.y_N = torch.from_numpy(y_N)
        self.num_replicas = case.replicas

    def prepare(self) -> None:
        """Nothing to do."""

    def train(self, num_steps: int, order_RN: Array | None = None) -> Metrics:
        """See `Trainer`."""
        if order_RN is None:
            orders = [torch.randperm(len(self.x_NI)) for _ in range(self.num_replicas)]
            index_RN = torch.stack(orders)
        else:
            index_RN = torch.from_numpy(order_RN)
        loss_R = torch.zeros(self.num_replicas)
        correct_R = torch.zeros(self.num_replicas, dtype=torch.int64)
        with torch.no_grad():
            for index_RB in index_RN.split(BATCH, dim=1)[:num_steps]:
                mean_R, hits_R = self.step(self.x_NI[index_RB], self.y_N[index_RB])
                loss_R += mean_R
                correct_R += hits_R
        accuracy_R = correct_R / num_steps / BATCH
        return (loss_R / num_steps).numpy(), accuracy_R.numpy()

    def step(self, x_RBI: Tensor, y_RB: Tensor) -> tuple[Tensor, Tensor]:
        """One step: mean loss and correct answers of the batch, [R] each."""
        raise NotImplementedError


class HandWrittenStack(TorchStack):
    """Plain SGD needs no gradient: its product is added to the weights at once."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        super().__init__(case, x_NI, y_N, layers, threads)
        self.w = [torch.from_numpy(w_RIO) for w_RIO, _ in layers]
        self.b = [torch.from_numpy(b_RO).unsqueeze(1) for _, b_RO in layers]

    def step(self, x_RBI: Tensor, y_RB: Tensor) -> tuple[Tensor, Tensor]:
        """Forward, the clipped loss and its gradient, backward."""
        a = [x_RBI]
        for w_RIO, b_R1O in zip(self.w[:-1], self.b[:-1], strict=True):
            a.append(torch.baddbmm(b_R1O, a[-1], w_RIO).relu_())
        z_RBK = torch.baddbmm(self.b[-1], a[-1], self.w[-1])
        correct_R = (z_RBK.argmax(-1) == y_RB).sum(1)
        delta = torch.softmax(z_RBK, -1)
        p_true = delta.gather(2, y_RB.unsqueeze(2))
        clipped = p_true.clamp(EPS, 1 - EPS)
        delta.scatter_add_(2, y_RB.unsqueeze(2), torch.full_like(p_true, -1.0))
        delta.mul_(clipped == p_true)
        for i in reversed(range(len(self.w))):
            if i:
                before = torch.bmm(delta, self.w[i].mT).mul_(a[i] > 0)
            self.w[i].baddbmm_(a[i].mT, delta, alpha=-LR / BATCH)
            self.b[i].sub_(delta.sum(1, keepdim=True), alpha=LR / BATCH)
            delta = before if i else delta
        return -torch.log(clipped).mean((1, 2)), correct_R


class FunctionalEnsemble(TorchStack):
    """The ensemble of torch's own documentation, compiled."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        super().__init__(case, x_NI, y_N, layers, threads)
        model = build_model(case, layers)
        self.parameters: dict[str, Tensor] = {}
        for i, (w_RIO, b_RO) in enumerate(layers):
            self.parameters[f"{2 * i}.weight"] = torch.from_numpy(w_RIO).mT.contiguous()
            self.parameters[f"{2 * i}.bias"] = torch.from_numpy(b_RO)

        def mean_loss(
            one: dict[str, Tensor], x_BI: Tensor, y_B: Tensor
        ) -> tuple[Tensor, Tensor]:
            z_BK = functional_call(model, one, (x_BI,))
            return clipped_cross_entropy(z_BK, y_B).mean(), z_BK

        differentiate = vmap(grad_and_value(mean_loss, has_aux=True))

        def step(
            parameters: dict[str, Tensor], x_RBI: Tensor, y_RB: Tensor
        ) -> tuple[Tensor, Tensor]:
            gradients, (loss_R, z_RBK) = differentiate(parameters, x_RBI, y_RB)
            for name, value in parameters.items():
                value.sub_(gradients[name], alpha=LR)
            return loss_R, (z_RBK.argmax(-1) == y_RB).sum(1)

        if shutil.which("c++"):
            torch.compiler.reset()  # so that the case before does not count as a limit
            warnings.filterwarnings("ignore", module="torch")
            step = torch.compile(step, dynamic=False)
        self._step = step

    def step(self, x_RBI: Tensor, y_RB: Tensor) -> tuple[Tensor, Tensor]:
        """One compiled call."""
        return self._step(self.parameters, x_RBI, y_RB)
