"""How the layers of a network follow each other, whatever the layers are made of.

Written once: a stack applies tensors, a torch module its submodules, and both in the
order that is told here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from birthmark.spec import NetworkSpec

# for autograd, which does not bear writing in place
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": torch.nn.functional.gelu,
    "identity": lambda z: z,
}


@dataclass(frozen=True)
class Chain:
    """The order of layers, activations, skips and dropout of a network.

    Attributes:
        network: The table of the spec.
        image_shape: Channels, height and width of an example; dense networks do not
            look at it.
    """

    network: NetworkSpec
    image_shape: tuple[int, ...] = ()

    def run(
        self,
        x_BI: Tensor,
        apply: Callable[[str, Tensor], Tensor],
        *,
        scales: Mapping[str, Tensor],
        masks: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Outputs [B, K] of one network.

        Args:
            x_BI: Examples, images flat as [channels, height, width].
            apply: The layer of a name, bias included: [B, ...] to [B, ...].
            scales: By branch end: the trained scalar of its branch.
            masks: By hidden layer, [B, ...]: which activations stay; none in
                evaluation, where all do.
        """
        network = self.network
        first, *inner, last = network.layer_names
        x = (
            x_BI.reshape(len(x_BI), *self.image_shape)
            if network.is_convolutional
            else x_BI
        )
        z = skip = apply(first, x)
        for index, name in enumerate(inner):
            z = apply(name, self._activate(z, masks[index : index + 1]))
            if name in network.branch_ends:
                scale = scales.get(name, network.branch_scale)
                z = skip = self._shortcut(skip, z, index + 2) + scale * z
        a = self._activate(z, masks[-1:])
        return apply(last, a.mean(dim=(-2, -1)) if network.is_convolutional else a)

    def stride(self, name: str) -> int:
        """Of a hidden layer, in places."""
        number = self.network.layer_names.index(name) + 1
        return 2 if number in self.network.downsample else 1

    @property
    def hidden_shapes(self) -> list[tuple[int, ...]]:
        """By hidden layer: [units] or [channels, height, width] of one example."""
        if not self.network.is_convolutional:
            return [(width,) for width in self.network.widths]
        _, *sides = self.image_shape
        shapes = []
        for name, width in zip(
            self.network.layer_names, self.network.widths, strict=False
        ):
            sides = [-(-side // self.stride(name)) for side in sides]
            shapes.append((width, *sides))
        return shapes

    def _activate(self, z: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
        a = _FUNCTIONS[self.network.activation](z)
        # what stays is scaled up, so that the mean is that of evaluation
        return a * masks[0] / (1 - self.network.dropout) if masks else a

    def _shortcut(self, skip: Tensor, z: Tensor, number: int) -> Tensor:
        """The skip in the shape of its branch that ends with layer `number`.

        Every other place where the branch has left some out, and zeros for units that
        are new: option A of He et al. 1512.03385, §3.3.
        """
        block = range(number - self.network.block + 1, number + 1)
        stride = 2 ** len({*block} & {*self.network.downsample})
        new = z.shape[1] - skip.shape[1]
        if not self.network.is_convolutional:
            return pad(skip, (0, new)) if new else skip
        skip = skip[..., ::stride, ::stride]
        return pad(skip, (0, 0, 0, 0, 0, new)) if new else skip
