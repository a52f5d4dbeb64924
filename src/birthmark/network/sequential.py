"""Torch modules: one replica of ours as a module, and stacks of any others."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from birthmark.errors import SpecError
from birthmark.network.chain import Chain
from birthmark.shapes import Layer, Weights


class _Network(nn.Module):
    """Layers as submodules of their names, `scale_hidden3` beside them."""

    def __init__(
        self,
        chain: Chain,
        layers: Mapping[str, nn.Module],
        scales: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self._chain = chain
        for name, layer in layers.items():
            self.add_module(name, layer)
        for name, scale in scales.items():
            self.register_parameter(f"scale_{name}", nn.Parameter(scale))
        self._scaled = tuple(scales)

    def forward(self, x_BI: Tensor) -> Tensor:
        """Outputs [B, K]; nothing drops out."""
        return self._chain.run(
            x_BI,
            lambda name, a: self.get_submodule(name)(a),
            scales={n: self.get_parameter(f"scale_{n}") for n in self._scaled},
        )


def to_module(weights: Weights, chain: Chain, *, row: int = 0) -> nn.Module:
    """A copy of one replica: `module.hidden1.weight` [O, I], `.bias` [O], ...

    Args:
        weights: A stack.
        chain: The order of the layers.
        row: Which replica of the stack.
    """
    scales = {
        name: layer.scale[row].clone()
        for name, layer in weights.items()
        if layer.scale is not None
    }
    layers = {name: _make_layer(chain, name, layer) for name, layer in weights.items()}
    module = _Network(chain, layers, scales)
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, layer in weights.items():
            weight = parameters[f"{name}.weight"]
            weight.copy_(layer.w[row].T.reshape(weight.shape))
            parameters[f"{name}.bias"].copy_(layer.b[row])
    return module


def write_module(module: nn.Module, weights: Weights, *, row: int = 0) -> None:
    """Write the weights and biases of a module from `to_module` into its replica."""
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, layer in weights.items():
            layer.w[row].copy_(parameters[f"{name}.weight"].flatten(1).T)
            layer.b[row].copy_(parameters[f"{name}.bias"])


def _make_layer(chain: Chain, name: str, layer: Layer) -> nn.Module:
    _, fan_in, num_out = layer.w.shape
    if not chain.network.is_convolutional or name == chain.network.layer_names[-1]:
        return nn.Linear(fan_in, num_out).to(layer.w)
    kernel = chain.network.kernel
    return nn.Conv2d(
        fan_in // kernel**2,
        num_out,
        kernel,
        stride=chain.stride(name),
        padding=kernel // 2,
    ).to(layer.w)


def stack_modules(
    modules: Sequence[nn.Module],
) -> tuple[dict[str, Tensor], Callable[[Mapping[str, Tensor], Tensor], Tensor]]:
    """Replicas of one architecture: parameters [R, ...] and the network of one replica.

    The parameters are copies: the modules stay as they are.

    Raises:
        SpecError: The modules differ in architecture, or have buffers (running
            statistics), which a function of parameters alone cannot update.
    """
    first = modules[0]
    names = {name: value.shape for name, value in first.named_parameters()}
    for module in modules:
        if {name: value.shape for name, value in module.named_parameters()} != names:
            raise SpecError("modules of one stack must have the same parameters")
        if next(module.buffers(), None) is not None:
            kind = type(module).__name__
            raise SpecError(f"{kind} has buffers, which a stack cannot update yet")
    by_module = [dict(module.named_parameters()) for module in modules]
    parameters = {
        name: torch.stack([one[name].detach() for one in by_module]) for name in names
    }

    def forward(one_replica: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(first, dict(one_replica), (x,))  # type: ignore[no-any-return]

    return parameters, forward
