"""A loss on a batch that stays the same: what it says of a step and of the layers.

Only where it is asked for, since it evaluates the model at recorded steps. The model is
put into eval mode for that and given back as it was: weights to the last bit, buffers,
modes, random numbers, no hook left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from birthmark.errors import SpecError
from birthmark.measurements import Signal, clean_name, in_one_unit, unwrap
from birthmark.network import modes_put_back
from birthmark.theory import find_critical_step

Evaluate = Callable[[nn.Module], Any]  # a loss of the model as it stands
_LINEAR = (nn.Linear, nn.Embedding, nn.modules.conv._ConvNd)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate here without a gradient; buffers, modes and random numbers come back."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    streams = torch.random.fork_rng([one.index for one in devices])
    with modes_put_back(model), streams, torch.no_grad():
        model.eval()
        yield


class Probe:
    """Evaluates the model at recorded steps."""

    def __init__(
        self,
        model: Any,
        evaluate: Evaluate,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """Look at nothing yet.

        Raises:
            SpecError: The model is no module, or lies in several processes.
        """
        if not isinstance(model, nn.Module):
            raise SpecError(
                "probe= evaluates a module, and the model is a function: leave it out"
            )
        self._model, self._evaluate = unwrap(model), evaluate
        if any(hasattr(value, "placements") for value in self._model.parameters()):
            raise SpecError(
                "probe= needs whole tensors, and the model is sharded: leave it out"
            )
        self._optimizers = list(optimizers)
        self._layers = dict(_find_layers(self._model))
        self._first: dict[str, list[Tensor]] = {}  # inputs at the start, by weight
        self._before: dict[str, Tensor] = {}
        self._guess = 2.0

    def begin(self) -> None:
        """Keep what reaches each layer at the start."""
        self._first = self._catch_inputs()

    def before(self) -> None:
        """Keep the weights before a step that will be recorded, whole."""
        self._before = {
            name: value.detach().clone()
            for name, value in self._model.named_parameters()
            if value.requires_grad
        }

    def after(self) -> dict[str, float]:
        """The critical step and sharpness along the step just made; empty without."""
        before, self._before = self._before, {}
        own = dict(self._model.named_parameters())
        if not before or any(own[n].shape != before[n].shape for n in before):
            return {}
        after = {name: own[name].detach().clone() for name in before}

        def loss_at(multiple: float) -> float:
            for name, was in before.items():
                # what is wider than half precision, so that 1 is the step that was made
                w = was.to(torch.promote_types(was.dtype, torch.float32))
                own[name].copy_(w + multiple * (after[name].to(w.dtype) - w))
            return float(self._evaluate(self._model))

        try:
            with undisturbed(self._model):
                multiple = find_critical_step(loss_at, self._guess)
        finally:
            with torch.no_grad():
                for name, now in after.items():
                    own[name].copy_(now)
        if math.isfinite(multiple):
            self._guess = multiple
        found = {"critical_step": multiple}
        lr = next((float(g["lr"]) for g in self._groups() if g.get("lr")), math.nan)
        return {**found, "critical_sharpness": 2 / (lr * multiple)}

    def signals(self, start: Mapping[str, Tensor]) -> dict[str, Signal]:
        """What goes through each layer now, beside the start.

        Args:
            start: The initial weights by name.
        """
        now = self._catch_inputs()
        found = {}
        for name, inputs in now.items():
            first = self._first.get(name, [])
            if name in start and [x.shape for x in first] == [x.shape for x in inputs]:
                found[name] = self._signal(name, start[name], first, inputs)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors from which `load_state_dict` goes on."""
        return {"guess": self._guess, "first": dict(self._first)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken."""
        self._guess, self._first = state["guess"], dict(state["first"])

    def _groups(self) -> Iterator[Mapping[str, Any]]:
        for optimizer in self._optimizers:
            yield from optimizer.param_groups

    def _catch_inputs(self) -> dict[str, list[Tensor]]:
        """What reaches each layer, one tensor a call, by name of its weight."""
        caught: dict[str, list[Tensor]] = {}

        def catcher(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
            def catch(_: nn.Module, given: tuple[Any, ...]) -> None:
                if given and isinstance(given[0], Tensor):
                    caught.setdefault(name, []).append(given[0].detach().clone())

            return catch

        with undisturbed(self._model), ExitStack() as hooks:
            for name, module in self._layers.items():
                hook = module.register_forward_pre_hook(catcher(name))
                hooks.callback(hook.remove)
            self._evaluate(self._model)
        return caught

    def _signal(
        self, name: str, start: Tensor, first: list[Tensor], now: list[Tensor]
    ) -> Signal:
        module = self._layers[name]
        weight = getattr(module, "weight").detach()  # noqa: B009 - a Tensor for mypy
        dtype = torch.promote_types(weight.dtype, torch.float32)
        w0 = start.to(weight.device, dtype)
        w0, move = _in_one_unit(w0, weight.to(dtype) - w0)

        def square(w: Tensor, inputs: list[Tensor]) -> float:
            parts = [_apply(module, w, x).double().square() for x in inputs]
            return float(sum(part.sum() for part in parts))

        with torch.no_grad():
            if now[0].is_floating_point():
                every = _in_one_unit(*(x.to(dtype) for x in (*now, *first)))
                now, first = every[: len(now)], every[len(now) :]
                below = [x - x0 for x, x0 in zip(now, first, strict=True)]
                squares = [x.square() for x in now]
                by_inputs = square(w0, below)
            else:
                squares, by_inputs = now, 0.0
            ones = torch.ones_like(w0)
            reached = sum(
                float(_apply(module, ones, x).double().sum()) for x in squares
            )
            by_noise = float(move.double().square().mean()) * reached
            values = (square(move, now), by_inputs, by_noise, square(w0, first))
        return Signal(torch.tensor([values], dtype=torch.float64, device=weight.device))


def _find_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers whose output is linear in a weight of their own, by its name."""
    names = {id(value): clean_name(name) for name, value in model.named_parameters()}
    seen = set()
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.is_complex():
            continue
        # of transformers, a Linear with the weight turned
        if isinstance(module, _LINEAR) or type(module).__name__ == "Conv1D":
            name = names.get(id(weight))
            if name is not None and name not in seen:
                seen.add(name)
                yield name, module


def _in_one_unit(*tensors: Tensor) -> list[Tensor]:
    """In a unit in which their squares are numbers; shares do not know of it."""
    rows, _ = in_one_unit(*(one.reshape(1, -1) for one in tensors))
    return [row.reshape(one.shape) for row, one in zip(rows, tensors, strict=True)]


def _apply(module: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    """The output of a layer with this weight and without its bias."""
    given = {"weight": weight}
    bias = getattr(module, "bias", None)
    if bias is not None:
        given["bias"] = torch.zeros_like(bias, dtype=weight.dtype)
    found: Tensor = functional_call(module, given, (x,))
    return found
