"""One forward pass: the model on its batch, and the number that is differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.checkup.batches import Batch, floating_tensors, only_target
from birthmark.checkup.losses import (
    LossFunction,
    apply_loss,
    believed_loss,
    check_target,
    find_loss,
    scale_of,
    whole_loss,
)
from birthmark.errors import BirthmarkError, WeightsError

Objective = Callable[[nn.Module, Any], Any]
NO_LOSS = (
    "loss: no target and loss that fit each other; gradients are those of a random "
    "direction of the outputs: give (x, y), loss= or objective="
)


@dataclass(frozen=True)
class Evaluation:
    """What came out; `value` is the mean over examples whose gradient is taken."""

    outputs: Tensor | None  # the first floating tensor
    value: Tensor
    loss: Tensor | None  # as the loss says it: None for a random direction
    loss_name: str
    function: LossFunction | None  # of outputs and target alone, where there is one
    unread: tuple[str, ...] = ()
    pairs: tuple[tuple[Tensor, Tensor], ...] = ()  # outputs and targets of each task


class RefusedBatchError(WeightsError):
    """The model does not take the batch in this way."""


class _Met(BaseException):
    """The model was called: enough is known."""


def meet_inputs(objective: Objective, model: nn.Module, batch: Batch) -> Batch:
    """With what the objective calls the model with, for a batch that hides its tensors.

    Nothing is computed: the objective is left where it calls the model first.
    """
    met: list[Any] = []

    def meet(_: nn.Module, arguments: Any, keywords: Any) -> None:
        met.extend((arguments, keywords))
        raise _Met

    handle = model.register_forward_pre_hook(meet, with_kwargs=True)
    try:
        objective(model, batch.given)
    except _Met:
        return replace(batch, arguments=met[0], keywords=met[1])
    except Exception:
        return batch  # said when it is asked in earnest
    finally:
        handle.remove()
    return batch


@dataclass(frozen=True)
class Problem:
    """A model, a batch, and what is to become small."""

    model: nn.Module
    batch: Batch
    loss: str | LossFunction | None = None
    objective: Objective | None = None

    @property
    def target(self) -> Any:
        """What the loss takes; a loss of one's own gets it as it came."""
        target = self.batch.target
        return target if callable(self.loss) else only_target(target)

    def evaluate(self) -> Evaluation:
        """Run forward, with the parameters that the model has now.

        Raises:
            WeightsError: Model, loss or objective refuses the batch.
            SpecError: No loss has the name that was asked for.
        """
        if self.objective is not None:
            return self._ask(self.objective)
        given = self._call()
        believed = believed_loss(given) if self.loss is None else None
        if believed is not None:
            tensors = [one for one in floating_tensors(given) if one is not given]
            outputs = tensors[0] if tensors else None
            return Evaluation(outputs, believed, believed, "the model's own loss", None)
        tensors = floating_tensors(given)
        if not tensors:
            raise WeightsError(
                f"the model gives {type(given).__name__}, and no floating tensor: give "
                "objective=fn(model, batch)"
            )
        return self._lose(given, tensors)

    def _lose(self, given: Any, tensors: list[Tensor]) -> Evaluation:
        outputs, target = tensors[0], self.target
        name, function = find_loss(self.loss, outputs, target)
        if function is None or target is None:
            return self._point(tensors)
        check_target(outputs, target, name)
        if callable(self.loss) and given is not outputs:
            try:  # a loss of one's own may take all that the model gives
                value = self.loss(given, target)
                pairs = _pair_by_name(given, target)
                loss = value.mean()
                return Evaluation(outputs, loss, loss, name, None, pairs=pairs)
            except Exception:
                pass
        value = apply_loss(function, outputs, target)
        scale = scale_of(function, outputs, target, float(value.detach()))
        return Evaluation(outputs, value / scale, value / scale, name, function)

    def _point(self, tensors: list[Tensor]) -> Evaluation:
        """The signal back still has its law: random directions of unit variance."""
        generator = torch.Generator().manual_seed(0)
        total: Any = 0
        for one in tensors:
            direction = torch.randn(one.shape, generator=generator).to(one)
            total = total + (one * direction).sum()
        value = total / max(len(self.batch), 1)
        return Evaluation(tensors[0], value, None, "", None, (NO_LOSS,))

    def _ask(self, objective: Objective) -> Evaluation:
        """The user's own loss of model and batch; outputs are caught on their way."""
        seen: list[Any] = []
        hook = self.model.register_forward_hook(lambda _m, _i, out: seen.append(out))
        name = str(getattr(objective, "__name__", type(objective).__name__))
        try:
            given = objective(self.model, self.batch.given)
        except BirthmarkError:
            raise
        except Exception as error:
            raise WeightsError(
                f"the objective {name} fails: {type(error).__name__}: {error}"
            ) from error
        finally:
            hook.remove()
        value = whole_loss(given, name)
        tensors = floating_tensors(seen[0]) if seen else []
        return Evaluation(tensors[0] if tensors else None, value, value, name, None)

    def _call(self) -> Any:
        batch = self.batch
        try:
            return self.model(*batch.arguments, **dict(batch.keywords))
        except BirthmarkError:
            raise
        except Exception as error:
            x, kind = batch.inputs, type(error).__name__
            how = "" if x.is_floating_point() else f" and type {x.dtype}"
            raise RefusedBatchError(
                f"the model refuses a batch of shape {tuple(x.shape)}{how}: {kind}: "
                f"{error}"
            ) from error


def _pair_by_name(given: Any, target: Any) -> tuple[tuple[Tensor, Tensor], ...]:
    """Outputs and floating targets that stand under one name, in one shape."""
    if not isinstance(given, Mapping) or not isinstance(target, Mapping):
        return ()
    both = ((given[name], target[name]) for name in given if name in target)
    return tuple(
        (out, wanted)
        for out, wanted in both
        if isinstance(out, Tensor)
        and isinstance(wanted, Tensor)
        and wanted.is_floating_point()
        and out.shape == wanted.shape
        and wanted.numel()
    )
