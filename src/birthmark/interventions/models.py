"""A model whose weights are put elsewhere for a while, and evaluated there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from birthmark.errors import WeightsError
from birthmark.measurements import Source, align, to_parameters
from birthmark.shapes import Parameters, Tensor
from birthmark.tracking import undisturbed

# a number of the model as it stands, the smaller the better: a loss, an error rate
Evaluate = Callable[[nn.Module], float]
_NORMS = (nn.modules.batchnorm._BatchNorm,)


class Bench:
    """A model, other weights for it, and the number that it is judged by."""

    def __init__(
        self, model: nn.Module, evaluate: Evaluate, batches: Iterable[Any] | None
    ) -> None:
        """Look at the model; nothing in it is changed until `evaluate`.

        Args:
            model: Trained; it is given back as it was.
            evaluate: Gives a number for the model as it stands.
            batches: Inputs, or tuples that begin with them, from which the running
                statistics of batch norms are computed anew at each place.
        """
        self._model, self._evaluate = model, evaluate
        self._batches = None if batches is None else list(batches)
        self.has_batch_norm = any(isinstance(m, _NORMS) for m in model.modules())
        self.current = to_parameters(model)
        self.end = self.current.clone()

    @property
    def notes(self) -> tuple[str, ...]:
        """What limits the reading."""
        if self.has_batch_norm and self._batches is None:
            return (
                "the model has batch norms, and their running statistics are those of "
                "the trained weights: give batches=..., or a barrier may be theirs",
            )
        return ()

    def match(self, source: Source, what: str) -> Parameters:
        """Weights of the same names and shapes, on the model's device.

        Raises:
            WeightsError: They are of another architecture.
        """
        try:
            given = to_parameters(source)
            device = next(iter(self.current.values())).values.device
            buffers = {name for name, _ in self._model.named_buffers()}
            moved = {
                name: replace(one, values=_precise(one.values.to(device)))
                for name, one in given.items()
                if name in self.current or name not in buffers
            }
            return align(self.current, Parameters(moved))[1]
        except WeightsError as error:
            raise WeightsError(f"{what} does not fit the model: {error}") from error

    def groups(self, layers: Sequence[str] | None) -> dict[str, list[str]]:
        """Names of tensors by layer, or by the beginnings of names that are given.

        Raises:
            WeightsError: No tensor begins so.
        """
        if layers is None:
            found: dict[str, list[str]] = {}
            for name, one in self.current.items():
                found.setdefault(one.layer or name, []).append(name)
            return found
        found = {
            prefix: [n for n in self.current if f"{n}.".startswith(f"{prefix}.")]
            for prefix in layers
        }
        empty = [prefix for prefix, names in found.items() if not names]
        if empty:
            known = ", ".join(dict.fromkeys(one.layer for one in self.current.values()))
            raise WeightsError(
                f"no tensor begins with {empty[0]!r}: layers are {known}"
            )
        return found

    def try_at(self, values: Mapping[str, Tensor]) -> float:
        """The number with these tensors in place of the model's own."""
        with self._restored(), undisturbed(self._model):
            for name, tensor in values.items():
                self.current[name].values.copy_(tensor)
            if self.has_batch_norm and self._batches is not None:
                self._recompute()
                self._model.eval()
            return float(self._evaluate(self._model))

    def _recompute(self) -> None:
        """Running statistics as means over the batches, at the weights of now."""
        from torch.optim.swa_utils import update_bn

        device = next(iter(self.current.values())).values.device
        update_bn(self._batches or [], self._model, device=device)

    @contextmanager
    def _restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            with torch.no_grad():
                for name, one in self.end.items():
                    self.current[name].values.copy_(one.values)


def _precise(values: Tensor) -> Tensor:
    """A copy in float32 at least: half precision would round on the way."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    return values.detach().to(dtype, copy=True)
