"""Some steps in a row whose every tensor has its fixed place.

So they can be one CUDA graph: nothing in them looks at a value on the host.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from birthmark.network import ACTIVATIONS
from birthmark.training.accumulators import Accumulators
from birthmark.training.examples import Examples
from birthmark.training.graphed.fused_losses import FusedLoss, Places
from birthmark.training.graphed.layers import PaddedLayer, round_up
from birthmark.training.graphed.streams import DeviceStream


@dataclass(frozen=True)
class Program:
    """What captured steps carry out."""

    layers: list[PaddedLayer]  # in forward order; their weights are changed
    activation: str
    fused_loss: type[FusedLoss]
    eps: float
    examples: Examples
    accumulators: Accumulators  # is added to


class CapturedSteps:
    """Up to S steps with batches of one size.

    `load` says which steps, and does not belong into a graph; `run` makes them.

    A replica is frozen by masks: what its batch left in activations and gradients is
    replaced by zeros, so that its updates are zero. Not multiplied: 0 * NaN is NaN.
    """

    def __init__(
        self,
        program: Program,
        device_stream: DeviceStream,
        *,
        num_steps: int,
        batch_size: int,
        num_orders: int,
    ) -> None:
        """Take the memory.

        Args:
            program: What to train.
            device_stream: Where to queue it.
            num_steps: S.
            batch_size: B.
            num_orders: Orders of the examples: R, or 1 when all replicas share one.
        """
        self.num_steps, self._program, self._device_stream = (
            num_steps,
            program,
            device_stream,
        )
        self._activation = ACTIVATIONS[program.activation]
        whole = program.layers[0].whole_RIO
        self._num_replicas = len(whole)
        self._device, self._dtype = whole.device, whole.dtype
        self._allocate_batches(num_steps, num_orders, batch_size)
        self._allocate_passes(batch_size)
        self._allocate_results(num_steps, batch_size)
        self._fused_loss = program.fused_loss(
            self._z_RBK, program.layers[-1].fan_out, program.eps
        )

    def load(
        self, order_RN: Tensor, start: int, rate_S: Tensor, first_step: int
    ) -> None:
        """Say which steps are next.

        Args:
            order_RN: Examples in the order of the epoch.
            start: Where in it the first batch begins.
            rate_S: Minus the learning rates, one a step.
            first_step: Number of the first step in the run.
        """
        num_steps, (_, _, batch_size) = len(rate_S), self._index_SRB.shape
        index_RN = order_RN[:, start : start + num_steps * batch_size]
        index_RSB = index_RN.view(-1, num_steps, batch_size)
        self._index_SRB[:num_steps].copy_(index_RSB.transpose(0, 1))
        scale = self._fused_loss.scale / batch_size
        torch.mul(rate_S, scale, out=self._rate_S[:num_steps])
        self._first_step.fill_(first_step)

    def run(self, num_steps: int) -> None:
        """Make the first so many of the loaded steps."""
        self._gather(num_steps)
        # a failed replica has NaN as its worst score, and keeps it
        going_R = self._program.accumulators.nonfinite_step_R < 0
        worst_SR = self._scores_SRB[:, :, -1]
        torch.where(going_R, self._zero, self._nan, out=worst_SR[0])
        for step in range(num_steps):
            self._make_step(step)
        if num_steps < self.num_steps:
            worst_SR[num_steps + 1 :].fill_(torch.nan)
        self._count(num_steps)

    def _allocate_batches(self, num_steps: int, num_orders: int, size: int) -> None:
        examples, first = self._program.examples, self._program.layers[0]
        shape = (num_steps, num_orders, size)
        self._index_SRB = torch.zeros(shape, dtype=torch.int64, device=self._device)
        self._y_SRB = torch.zeros_like(self._index_SRB)
        self._rate_S = self._empty(num_steps)
        self._first_step = torch.zeros((), dtype=torch.int64, device=self._device)
        # rows of pixels are copied in words as long as fit
        pixels_NI = examples.pixels_NI
        word = next(
            dtype
            for dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
            if pixels_NI.shape[1] % dtype.itemsize == 0
        )
        self._words_NI = pixels_NI.view(word)
        self._gathered = self._words_NI.new_empty(
            num_steps * num_orders * size, self._words_NI.shape[1]
        )
        self._x_SRBI = self._empty(*shape, first.whole_RIO.shape[1]).zero_()
        self._x_SRBI[..., first.fan_in].fill_(1)
        scale = 1 / (examples.full_scale * examples.std)
        self._pixel_scale = scale
        self._pixel_shift = self._scalar(-examples.mean / examples.std)

    def _allocate_passes(self, size: int) -> None:
        """Activations and output gradients lie side by side: one mask covers all."""
        layers, num_replicas = self._program.layers, self._num_replicas
        widths = [layer.whole_RIO.shape[2] for layer in layers]
        self._pass_RN = self._empty(num_replicas, size * sum(widths)).zero_()
        pieces = torch.split(self._pass_RN, [size * width for width in widths], dim=1)
        *self._hidden, self._delta_RBK = (
            piece.view(num_replicas, size, width)
            for piece, width in zip(pieces, widths, strict=True)
        )
        self._z_RBK = self._empty(num_replicas, size, widths[-1])
        self._deltas = [torch.zeros_like(a_RBO).contiguous() for a_RBO in self._hidden]
        keeps = self._activation.keeps_input
        self._kept = (
            [torch.zeros_like(d) for d in self._deltas] if keeps else self._hidden
        )
        self._zero, self._nan = self._scalar(0.0), self._scalar(torch.nan)
        self._minus_infinity = self._scalar(-torch.inf)

    def _allocate_results(self, num_steps: int, size: int) -> None:
        """Scores of each step; behind those of a batch stands the worst so far."""
        shape = (num_steps, self._num_replicas, size)
        self._scores_SRB = self._empty(num_steps + 1, shape[1], size + 1).zero_()
        self._p_true_SRB = self._empty(*shape).zero_()
        self._predicted_SRB = torch.zeros(shape, dtype=torch.int64, device=self._device)
        self._going_R1 = torch.ones(
            (shape[1], 1), dtype=torch.bool, device=self._device
        )

    def _gather(self, num_steps: int) -> None:
        """Inputs and classes of all batches; the pixels become floating point here."""
        index = self._index_SRB[:num_steps]
        flat, examples = index.flatten(), self._program.examples
        gathered = self._gathered[: len(flat)]
        torch.index_select(self._words_NI, 0, flat, out=gathered)
        pixels = gathered.view(torch.uint8).view(*index.shape, -1)
        x = self._x_SRBI[:num_steps, ..., : pixels.shape[-1]]
        torch.add(self._pixel_shift, pixels, alpha=self._pixel_scale, out=x)
        y = self._y_SRB[:num_steps].view(-1)
        torch.index_select(examples.classes_N, 0, flat, out=y)

    def _make_step(self, step: int) -> None:
        x_RBI = self._x_SRBI[step].expand(self._num_replicas, -1, -1)
        y_RB = self._y_SRB[step].expand(self._num_replicas, -1)
        inputs = [x_RBI, *self._hidden]
        for index, layer in enumerate(self._program.layers[:-1]):
            self._pass_through(layer, inputs[index], index)
        output = self._program.layers[-1]
        torch.bmm(inputs[-1], output.whole_RIO, out=self._z_RBK)
        with self._device_stream.beside():
            torch.argmax(self._z_RBK, -1, out=self._predicted_SRB[step])
        self._fused_loss.differentiate(
            self._z_RBK,
            y_RB,
            self._rate_S[step],
            Places(
                self._scores_SRB[step, :, :-1], self._p_true_SRB[step], self._delta_RBK
            ),
        )
        worst_R1 = self._scores_SRB[step + 1, :, -1:]
        torch.amin(self._scores_SRB[step], dim=1, keepdim=True, out=worst_R1)
        torch.gt(worst_R1, self._minus_infinity, out=self._going_R1)
        torch.where(self._going_R1, self._pass_RN, self._zero, out=self._pass_RN)
        self._update(inputs)

    def _pass_through(self, layer: PaddedLayer, a_RBI: Tensor, index: int) -> None:
        kept_RBO, out_RBO = self._kept[index], self._hidden[index]
        torch.bmm(a_RBI, layer.whole_RIO, out=kept_RBO)
        # the activation spares the 1 behind the units
        value_RBO = self._activation.apply_(kept_RBO[..., : layer.fan_out])
        if self._activation.keeps_input:
            out_RBO.copy_(kept_RBO)
            out_RBO[..., : layer.fan_out].copy_(value_RBO)

    def _update(self, inputs: list[Tensor]) -> None:
        layers, delta_RBO = self._program.layers, self._delta_RBK
        for index in reversed(range(1, len(layers))):
            layer, before_RBO = layers[index], self._deltas[index - 1]
            # the weights as they were when the batch went through them
            w_ROI = layer.whole_RIO[:, : layer.fan_in].mT
            units = before_RBO[..., : layer.fan_in]
            torch.bmm(delta_RBO, w_ROI, out=units)
            with self._device_stream.beside():
                layer.whole_RIO.baddbmm_(inputs[index].mT, delta_RBO)
            kept_RBO = self._kept[index - 1][..., : layer.fan_in]
            self._activation.backward_(units, kept_RBO)
            if self._program.activation != "relu":  # which makes 0 of all where it is 0
                going_R11 = self._going_R1.unsqueeze(1)
                torch.where(going_R11, before_RBO, self._zero, out=before_RBO)
            delta_RBO = before_RBO
        layers[0].whole_RIO.baddbmm_(inputs[0].mT, delta_RBO)
        self._device_stream.join()

    def _count(self, num_steps: int) -> None:
        """Add the steps to the sums; those that were not made have no replica going."""
        accumulators, eps = self._program.accumulators, self._program.eps
        going_SR1 = self._scores_SRB[1:, :, -1:] > self._minus_infinity
        loss_SRB, p_true_SRB = self._fused_loss.read(
            self._scores_SRB[:-1, :, :-1], self._p_true_SRB
        )
        masked_SRB = torch.where(going_SR1, loss_SRB, self._zero)
        # one after the other: sums must not depend on how an epoch was cut
        for loss_R in masked_SRB.sum(dim=2, dtype=torch.float64).unbind():
            accumulators.loss_R += loss_R
        for sums_R, counted_SRB in (
            (accumulators.correct_R, self._predicted_SRB == self._y_SRB),
            (accumulators.below_eps_R, p_true_SRB < eps),
            (accumulators.saturated_R, p_true_SRB > 1 - eps),
        ):
            sums_R += (counted_SRB & going_SR1).sum(dim=(0, 2))
        made_R = going_SR1.sum(dim=(0, 2))
        failed_R = (accumulators.nonfinite_step_R < 0) & (made_R < num_steps)
        frozen_at_R = self._first_step + made_R
        torch.where(
            failed_R,
            frozen_at_R,
            accumulators.nonfinite_step_R,
            out=accumulators.nonfinite_step_R,
        )

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self._dtype, device=self._device)

    def _scalar(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=self._dtype, device=self._device)


def bytes_of_step(layer: PaddedLayer, num_orders: int, batch_size: int) -> int:
    """Memory that the inputs of one captured step take."""
    item = layer.whole_RIO.dtype.itemsize
    values = round_up(layer.fan_in + 1, layer.whole_RIO.dtype) * item + layer.fan_in
    return num_orders * batch_size * values
