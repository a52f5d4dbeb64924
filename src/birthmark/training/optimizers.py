"""Optimizers over stacked tensors, step by step as `torch.optim` makes them."""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from birthmark.spec import TrainingSpec


class Optimizer(Protocol):
    """Moves stacked parameters [R, ...] in place.

    It is made of the spec and of factors on the learning rate by name of parameter, 1
    where there is none: the groups of `torch.optim`.
    """

    state: dict[str, Tensor]

    def update(
        self, parameters: Mapping[str, Tensor], grads: Mapping[str, Tensor], lr: float
    ) -> None:
        """Make one step."""


class SGD:
    """Momentum, Nesterov and weight decay as in `torch.optim.SGD` (dampening 0)."""

    def __init__(
        self, spec: TrainingSpec, lr_factors: Mapping[str, float] | None = None
    ) -> None:
        self.spec, self._lr_factors = spec, dict(lr_factors or {})
        self.state: dict[str, Tensor] = {}

    def update(
        self, parameters: Mapping[str, Tensor], grads: Mapping[str, Tensor], lr: float
    ) -> None:
        """See `Optimizer`."""
        momentum = self.spec.momentum
        for name, parameter in parameters.items():
            grad = grads[name]
            if self.spec.weight_decay:
                grad = grad.add(parameter, alpha=self.spec.weight_decay)
            if momentum:
                if name in self.state:
                    self.state[name].mul_(momentum).add_(grad)
                else:
                    self.state[name] = grad.clone()
                velocity = self.state[name]
                nesterov = self.spec.nesterov
                grad = grad.add(velocity, alpha=momentum) if nesterov else velocity
            parameter.add_(grad, alpha=-lr * self._lr_factors.get(name, 1.0))


class Adam:
    """`torch.optim.Adam` (Kingma & Ba 1412.6980); weight decay is added to the grad."""

    def __init__(
        self, spec: TrainingSpec, lr_factors: Mapping[str, float] | None = None
    ) -> None:
        self.spec, self._lr_factors = spec, dict(lr_factors or {})
        self.state: dict[str, Tensor] = {"steps": torch.zeros((), dtype=torch.int64)}

    def update(
        self, parameters: Mapping[str, Tensor], grads: Mapping[str, Tensor], lr: float
    ) -> None:
        """See `Optimizer`."""
        beta1, beta2 = self.spec.betas
        self.state["steps"] += 1
        steps = int(self.state["steps"])
        step_size = lr / (1 - beta1**steps)
        root = (1 - beta2**steps) ** 0.5
        for name, parameter in parameters.items():
            grad = grads[name]
            if self.spec.weight_decay:
                grad = grad.add(parameter, alpha=self.spec.weight_decay)
            first = self._moment(f"first.{name}", parameter)
            second = self._moment(f"second.{name}", parameter)
            first.lerp_(grad, 1 - beta1)
            second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            scale = second.sqrt().div_(root).add_(self.spec.adam_eps)
            size = step_size * self._lr_factors.get(name, 1.0)
            parameter.addcdiv_(first, scale, value=-size)

    def _moment(self, name: str, like: Tensor) -> Tensor:
        if name not in self.state:
            self.state[name] = torch.zeros_like(like)
        return self.state[name]


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam}
