"""Which loss is meant: by name, as given, or as outputs and target suggest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from birthmark.errors import SpecError, WeightsError, unknown_name

LossFunction = Callable[[Any, Any], Tensor]


def _cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point() or target.shape == outputs.shape:
        return functional.cross_entropy(outputs, target.to(outputs.dtype))
    return functional.cross_entropy(*_as_classes(outputs, target))


def _nll(outputs: Tensor, target: Tensor) -> Tensor:
    return functional.nll_loss(*_as_classes(outputs, target))


def _mean_squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(outputs, target.to(outputs.dtype).reshape(outputs.shape))


def _binary_cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(
        outputs, target.to(outputs.dtype).reshape(outputs.shape)
    )


LOSSES: dict[str, LossFunction] = {
    "cross_entropy": _cross_entropy,
    "nll": _nll,
    "mean_squared_error": _mean_squared_error,
    "binary_cross_entropy": _binary_cross_entropy,
}


def find_loss(
    loss: str | LossFunction | None, outputs: Tensor, target: Any
) -> tuple[str, LossFunction | None]:
    """The loss by name, as given, or as outputs and target suggest; '' and None: none.

    Raises:
        SpecError: No loss has this name, or it is a class.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise unknown_name("loss", loss, LOSSES)
        return loss, LOSSES[loss]
    if isinstance(loss, type):
        raise SpecError(
            f"loss={loss.__name__} is a class: give one made of it, {loss.__name__}()"
        )
    if loss is not None:
        name = getattr(loss, "__name__", type(loss).__name__)
        return str(name), loss
    if not isinstance(target, Tensor):
        return "", None
    name = _suggest(outputs, target)
    return name, LOSSES.get(name)


def _suggest(outputs: Tensor, target: Tensor) -> str:
    """The loss that fits the shapes and the numbers of a target; '' when none does."""
    same = target.shape == outputs.shape or target.numel() == outputs.numel()
    if not target.is_floating_point():
        binary = target.numel() > 0 and bool(((target == 0) | (target == 1)).all())
        if _count_classes(outputs, target):
            return "cross_entropy"
        if same and binary:
            many = outputs.ndim > 1 and outputs.shape[-1] > 1
            one_hot = many and bool((target.sum(dim=-1) == 1).all())
            return "cross_entropy" if one_hot else "binary_cross_entropy"
        return "mean_squared_error" if same else ""
    if not same:
        return ""
    if _are_distributions(outputs, target):
        return "cross_entropy"
    return "mean_squared_error"


def _are_distributions(outputs: Tensor, target: Tensor) -> bool:
    """One-hot or soft labels: each row is at least 0 and adds up to 1."""
    if target.shape != outputs.shape or target.ndim != 2 or target.shape[-1] < 2:
        return False
    inside = bool(((target >= 0) & (target <= 1)).all())
    return inside and bool(((target.double().sum(dim=-1) - 1).abs() < 1e-3).all())


def _count_classes(outputs: Tensor, target: Tensor) -> int:
    """C where target holds one class an example or place; 0 where it does not."""
    if target.dtype == torch.bool or outputs.ndim < 2:
        return 0
    shape = tuple(_without_channel(outputs, target).shape)
    last = (*outputs.shape[:-1],) == shape and outputs.shape[-1] > 1
    second = (outputs.shape[0], *outputs.shape[2:]) == shape and outputs.shape[1] > 1
    return int(outputs.shape[-1] if last else outputs.shape[1] if second else 0)


def classes_of(outputs: Tensor, target: Any) -> int | None:
    """C, where the target holds classes, one-hot rows or distributions."""
    if not isinstance(target, Tensor):
        return None
    if not target.is_floating_point():
        found = _count_classes(outputs, target)
        if found:
            return found
    return int(outputs.shape[-1]) if _are_distributions(outputs, target) else None


def check_target(outputs: Tensor, target: Any, name: str) -> None:
    """Refuse classes that the outputs do not have.

    Raises:
        WeightsError: A class is negative (and not the ignored -100) or too large.
    """
    if name not in ("cross_entropy", "nll") or not isinstance(target, Tensor):
        return
    if target.is_floating_point() or target.shape == outputs.shape:
        return
    classes = target[target != -100]
    count = _as_classes(outputs, target)[0].shape[1]
    if classes.numel() and (classes.min() < 0 or classes.max() >= count):
        raise WeightsError(
            f"the model has {count} outputs, but the batch has classes "
            f"{int(classes.min())} to {int(classes.max())}: mend its last layer; if "
            "one of them marks what to leave out, give "
            "loss=torch.nn.CrossEntropyLoss(ignore_index=...)"
        )


def apply_loss(function: LossFunction, outputs: Any, target: Any) -> Tensor:
    """The loss as one number.

    Raises:
        WeightsError: The loss refuses outputs and target.
    """
    try:
        value = function(outputs, target)
    except Exception as error:
        raise WeightsError(
            f"the loss refuses outputs {_say_shape(outputs)} and target "
            f"{_say_shape(target)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, Tensor):
        raise WeightsError(
            f"the loss gives {type(value).__name__}: return the tensor, so that its "
            "gradient can be taken"
        )
    return value.mean()


def scale_of(
    function: LossFunction, outputs: Tensor, target: Any, value: float
) -> float:
    """The number by which a loss exceeds a mean over examples: B for a sum, else 1.

    Told by asking it: of the same examples twice a sum is twice as large.
    """
    if not isinstance(target, Tensor) or not target.ndim or value == 0:
        return 1.0
    try:
        with torch.no_grad():
            twice = function(torch.cat([outputs, outputs]), torch.cat([target, target]))
        ratio = float(twice.mean()) / value
    except Exception:  # a loss of one's own may want exactly this batch
        return 1.0
    return float(len(outputs)) if abs(ratio - 2) < 1e-3 else 1.0


def believed_loss(given: Any) -> Tensor | None:
    """The loss that a model returns itself: `out.loss`, or one number."""
    if isinstance(given, Tensor):
        return given if _is_number(given) else None
    if isinstance(given, tuple | list) and given and _is_number(given[0]):
        return believed_loss(given[0])  # (loss, outputs), as without a named output
    loss = given.get("loss") if isinstance(given, Mapping) else None
    loss = getattr(given, "loss", None) if loss is None else loss
    if isinstance(given, Mapping) and given and all(map(_is_number, given.values())):
        loss = given  # one loss for each part of the task, as detectors give them
    if isinstance(loss, Mapping):
        loss = sum(loss.values())
    if isinstance(loss, Tensor) and loss.numel() >= 1 and loss.is_floating_point():
        return loss.mean()
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()


def whole_loss(given: Any, name: str) -> Tensor:
    """What an objective returned, as one number.

    Raises:
        SpecError: It is no tensor that depends on the model.
    """
    if isinstance(given, tuple | list) and given:
        given = given[0]
    if isinstance(given, Mapping):
        given = given.get("loss", next(iter(given.values()), None))
    if not isinstance(given, Tensor) or not given.is_floating_point():
        raise SpecError(
            f"{name} returns {type(given).__name__}: an objective(model, batch) "
            "returns the loss as a tensor"
        )
    return given.mean()


def _as_classes(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """[B, C, ...] and whole numbers [B, ...], in whatever order classes come."""
    target = _without_channel(outputs, target.long())
    if outputs.ndim > 2 and (*outputs.shape[:-1],) == tuple(target.shape):
        outputs = outputs.movedim(-1, 1)
    return outputs, target


def _without_channel(outputs: Tensor, target: Tensor) -> Tensor:
    """Classes without the axis of size 1 that a column or a grey image has."""
    if target.ndim == outputs.ndim > 1:
        for axis in (-1, 1):
            if target.shape[axis] == 1 < outputs.shape[axis]:
                return target.squeeze(axis)
    return target


def _say_shape(value: Any) -> str:
    return (
        str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
    )
