"""One replica at a time in plain torch: as in a tutorial, and as a careful user."""

from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from throughput.case import BATCH, EPS, LR, Array, Case, Layers
from throughput.rates import quickest_setting
from throughput.trainer import Metrics


def build_model(case: Case, layers: Layers) -> nn.Sequential:
    """The network of the first replica of a start."""
    parts: list[nn.Module] = []
    for w_RIO, b_RO in layers:
        linear = nn.Linear(*w_RIO.shape[1:])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w_RIO[0]).T)
            linear.bias.copy_(torch.from_numpy(b_RO[0]))
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def clipped_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    """Loss of each example, as the library has it."""
    p_true = torch.softmax(z, dim=-1).gather(-1, y.unsqueeze(-1)).squeeze(-1)
    return -torch.log(p_true.clamp(EPS, 1 - EPS))


class DataLoaderLoop:
    """The loop of the tutorials."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self.model = build_model(case, layers)
        self.optimizer = torch.optim.SGD(self.model.parameters(), LR)
        self.dataset = TensorDataset(
            torch.from_numpy(x_NI).float() / 255, torch.from_numpy(y_N)
        )

    def prepare(self) -> None:
        """Nothing to do."""

    def train(self, num_steps: int, order_RN: Array | None = None) -> Metrics:
        """See `Trainer`."""
        sampler = RandomSampler(self.dataset) if order_RN is None else order_RN[0]
        loader = DataLoader(self.dataset, batch_size=BATCH, sampler=sampler)
        total_loss, correct = 0.0, 0
        for x, y in islice(loader, num_steps):
            z = self.model(x)
            loss = clipped_cross_entropy(z, y).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total_loss += loss.item()
            correct += (z.argmax(1) == y).sum().item()
        return (
            torch.tensor([total_loss / num_steps]).numpy(),
            torch.tensor([correct / num_steps / BATCH]).numpy(),
        )


class TunedLoop:
    """Data in memory, batches by indexing, one call for all parameters' updates."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self.model = build_model(case, layers)
        self.optimizer = torch.optim.SGD(self.model.parameters(), LR, foreach=True)
        self.x_NI = torch.from_numpy(x_NI).float() / 255
        self.y_N = torch.from_numpy(y_N)

    def prepare(self) -> None:
        """Nothing to do."""

    def train(self, num_steps: int, order_RN: Array | None = None) -> Metrics:
        """See `Trainer`."""
        order_N = (
            torch.randperm(len(self.x_NI))
            if order_RN is None
            else torch.from_numpy(order_RN[0])
        )
        total_loss, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for index_B in order_N.split(BATCH)[:num_steps]:
            y_B = self.y_N[index_B]
            z_BK = self.model(self.x_NI[index_B])
            loss = clipped_cross_entropy(z_BK, y_B).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total_loss += loss.detach()
            correct += (z_BK.argmax(1) == y_B).sum()
        return (
            (total_loss / num_steps).reshape(1).numpy(),
            (correct / num_steps / BATCH).reshape(1).numpy(),
        )


class OneDnnLoop(TunedLoop):
    """The tuned loop with its products through oneDNN."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        super().__init__(case, x_NI, y_N, layers, threads)
        torch.set_float32_matmul_precision(quickest_setting())
