"""The network of one replica as a function of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from birthmark.network.chain import Chain

Forward = Callable[..., Tensor]


def make_forward(chain: Chain, *, channels_last: bool = False) -> Forward:
    """`forward(parameters, x_BI, *masks)` for one replica; see `Chain.run`.

    Parameters are `hidden1.w` [I, O], `hidden1.b` [O], ..., and `hidden3.scale` []
    where scales of branches are trained. A convolution is the matrix of its patches.

    Args:
        chain: The network.
        channels_last: In memory, at convolutions: the same values to rounding.
    """

    def forward(
        parameters: Mapping[str, Tensor], x_BI: Tensor, *masks: Tensor
    ) -> Tensor:
        def apply(name: str, a: Tensor) -> Tensor:
            w_IO, b_O = parameters[f"{name}.w"], parameters[f"{name}.b"]
            if a.dim() == 2:
                return torch.addmm(b_O, a, w_IO)
            kernel = chain.network.kernel
            w = w_IO.T.reshape(len(b_O), -1, kernel, kernel)
            if channels_last:
                layout = {"memory_format": torch.channels_last}
                a, w = a.contiguous(**layout), w.contiguous(**layout)
            return conv2d(a, w, b_O, stride=chain.stride(name), padding=kernel // 2)

        scales = {
            name.removesuffix(".scale"): value
            for name, value in parameters.items()
            if name.endswith(".scale")
        }
        return chain.run(x_BI, apply, scales=scales, masks=masks)

    return forward
