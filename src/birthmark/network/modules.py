"""Any `torch.nn.Module` as a function over stacked parameters."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from birthmark.errors import SpecError


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
