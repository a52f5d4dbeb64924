"""The outputs and the loss against what knowing nothing costs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from birthmark.checkup.batches import Batch
from birthmark.checkup.losses import LossFunction, apply_loss, classes_of
from birthmark.checkup.passes import Pass
from birthmark.checkup.readings import Outcome
from birthmark.checkup.second_moments import second_moment
from birthmark.checkup.separation import read_geometry

_LOWEST = 37.0  # p = 1e-37: float32's smallest normal number is 1.2e-38
_HALVINGS = 12  # of 36 decades: eps to 2 %


@torch.no_grad()
def read_outcome(seen: Pass, batch: Batch) -> Outcome | None:
    """What came out of the model; None when it gave nothing."""
    outputs = seen.outputs
    if outputs is None or outputs.ndim == 0:
        return _loss_alone(seen, batch)
    flat = outputs.double()
    x = batch.inputs
    floats = x.is_floating_point()
    geometry = read_geometry(x) if floats else None
    probable = are_probabilities(outputs)
    function = seen.evaluation.function if seen.evaluation else None
    target = batch.target if seen.loss_name else None
    labels = target if isinstance(target, Tensor) else None
    classes = classes_of(outputs, labels)
    spread = _logit_std(flat, classes)
    invariant = False
    clip = None
    ignorance = None
    if (
        function is not None
        and target is not None
        and classes
        and math.isfinite(seen.loss or 0)
    ):
        exact = outputs.float() if outputs.element_size() < 4 else outputs
        plain = float(apply_loss(function, exact, target))
        shifted = float(apply_loss(function, exact + 1.0, target))
        invariant = abs(shifted - plain) < 1e-3 * max(1.0, abs(shifted))
        if invariant and plain and seen.loss:
            equal = float(apply_loss(function, torch.zeros_like(exact), target))
            ignorance = equal * seen.loss / plain  # sums are told as means are
        if labels is not None:
            with torch.enable_grad():
                clip = find_clip(function, classes, labels, of_logits=invariant)
    output_moment, target_moment = _find_moments(seen, outputs, batch.target)
    expected = error = None
    if classes and spread is not None and labels is not None and ignorance:
        factor = ignorance / math.log(classes)
        expected = ignorance + factor * (1 - 1 / classes) * spread**2 / 2
        error = factor * spread * _label_error(labels, classes)
    return Outcome(
        loss=seen.loss,
        loss_name=seen.loss_name,
        loss_of_equal=ignorance,
        loss_expected=expected,
        loss_error=error,
        logit_std=spread,
        num_classes=classes,
        are_probabilities=probable,
        loss_takes_logits=invariant,
        clip=clip,
        nonfinite=int((~torch.isfinite(flat)).sum()),
        constant=bool((outputs == outputs[:1]).all()),
        input_moment=second_moment(x) if floats else None,
        input_mean=float(x.double().mean()) if floats else None,
        input_gap=None if geometry is None else geometry.gap,
        inputs_differ=bool((x != x[:1]).any()),
        steps=next((v.steps for v in seen.layers.values() if v.steps), None),
        output_moment=output_moment,
        target_moment=target_moment,
        num_labels=_num_labels(labels, classes),
    )


def _loss_alone(seen: Pass, batch: Batch) -> Outcome:
    """Of a model that gives its loss and nothing else."""
    x = batch.inputs
    floats = x.is_floating_point()
    return Outcome(
        loss=seen.loss,
        loss_name=seen.loss_name,
        input_moment=second_moment(x) if floats else None,
        input_mean=float(x.double().mean()) if floats else None,
        inputs_differ=bool((x != x[:1]).any()) if x.ndim else True,
    )


def _find_moments(
    seen: Pass, outputs: Tensor, target: object
) -> tuple[float, float | None]:
    """Second moments of outputs and floating targets; of the tasks the worst one."""
    if isinstance(target, Tensor) and target.is_floating_point() and target.numel():
        return second_moment(outputs), second_moment(target)
    pairs = seen.evaluation.pairs if seen.evaluation else ()
    moments = [(second_moment(o.detach()), second_moment(t)) for o, t in pairs]
    default = (second_moment(outputs), None)
    return max(moments, key=lambda pair: pair[1] / max(pair[0], 1), default=default)


def _num_labels(target: Tensor | None, classes: int | None) -> int | None:
    """Different classes in the batch; None where the target holds none."""
    if target is None or not classes or target.is_floating_point():
        return None
    if target.ndim > 1 and target.shape[1] == classes:
        return int((target != 0).any(dim=0).sum())
    labels: Tensor = target[target >= 0].unique()  # type: ignore[no-untyped-call]
    return labels.numel()


def _logit_std(outputs: Tensor, classes: int | None) -> float | None:
    """Spread of the logits over classes, root mean square over examples."""
    if not classes or classes < 2:
        return None
    axis = outputs.ndim - 1 if outputs.shape[-1] == classes else 1
    variance = float(outputs.var(dim=axis, correction=1).mean())
    return math.sqrt(variance) if math.isfinite(variance) and variance >= 0 else None


def _label_error(target: Tensor, classes: int) -> float:
    """Standard error of the mean loss in units of the logits' spread.

    When all inputs share their logits, the mean over examples of the true class's logit
    scatters by the imbalance of the labels; when each has its own, by 1 / sqrt(N).
    """
    if target.is_floating_point() or (target.ndim > 1 and target.shape[1] == classes):
        shares = target.double().reshape(-1, classes).mean(dim=0)
        return math.sqrt(
            max(float(shares.square().sum()) - 1 / classes, 0) + 1 / len(target)
        )
    labels = target[(target >= 0) & (target < classes)].flatten()
    count = max(int(labels.numel()), 1)
    shares = torch.bincount(labels, minlength=classes).double() / count
    return math.sqrt(max(float(shares.square().sum()) - 1 / classes, 0) + 1 / count)


def are_probabilities(outputs: Tensor) -> bool:
    """Whether outputs [B, C] (or [B, T, C]) lie in [0, 1] and add up to 1."""
    flat = outputs.detach().double()
    if flat.ndim < 2 or flat.shape[-1] < 2 or not torch.isfinite(flat).all():
        return False
    inside = bool(((flat >= 0) & (flat <= 1)).all())
    return inside and bool(((flat.sum(dim=-1) - 1).abs() < 1e-3).all())


def find_clip(
    loss: LossFunction, num_classes: int, target: Tensor, *, of_logits: bool
) -> float | None:
    """The probability of the true class below which the loss gives no gradient.

    A loss that moves p into [eps, 1 - eps] before the logarithm has none outside, as
    Keras 3 has on its PyTorch and JAX backends (eps = 1e-7): such examples are
    abandoned. Found by asking the loss itself, at one example whose true class has this
    probability.

    Args:
        loss: Of outputs [B, C] and classes [B].
        num_classes: C.
        target: The batch's, for its type.
        of_logits: Whether the loss takes logits; otherwise it takes probabilities.

    Returns:
        The eps; None when each probability down to 1e-37 keeps its gradient, or the
        loss does not take one class an example.
    """
    if target.is_floating_point() or num_classes < 2:
        return None
    y = torch.zeros(1, dtype=target.dtype, device=target.device)

    def has_gradient(exponent: float) -> bool:
        p = 10.0**-exponent
        row = torch.full((1, num_classes), (1 - p) / (num_classes - 1))
        row[0, 0] = p
        row = (row.log() if of_logits else row).to(target.device).requires_grad_(True)
        torch.autograd.backward(loss(row, y).mean())
        assert row.grad is not None
        return bool(row.grad[0, 0] != 0)

    try:
        low, high = 1.0, _LOWEST
        if not has_gradient(low) or has_gradient(high):
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if has_gradient(middle) else (low, middle)
    except Exception:  # a user's loss may refuse a single example in any way
        return None
    return float(10.0**-low)
