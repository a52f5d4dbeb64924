"""The parameters of a torch module by what they are for, as rules address them.

Matrices of any class, biases beside them, and what stays: gains and shifts of norms of
any shape, gates, padding rows. A parametrized layer has one slot for the tensor that it
computes with, under the name that it would have without. `draw_module_` fills them in
place, with overrides by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from birthmark.errors import SpecError
from birthmark.network.initializations.drawing import Rule, beside_weights, draw_target
from birthmark.network.initializations.table import find_law_for
from birthmark.network.initializations.target import Target, describe_target, to_layout
from birthmark.network.laws import Law
from birthmark.spec import make_rule, match_pattern

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TABLES = (nn.Embedding, nn.EmbeddingBag)
# their weights are [in, out, *kernel]
_INPUTS_FIRST = (*_TABLES, *_TRANSPOSED)
_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
)


Write = Callable[[Tensor], object]
Held = dict[str, tuple[Tensor, Write]]


@dataclass(frozen=True)
class Slot:
    """A tensor to be drawn, and what it is to a rule."""

    target: Target
    inputs_first: bool
    stays: bool  # unless an override names it
    has_weights: bool  # a vector of biases beside weights
    write: Write


def find_slots(module: nn.Module, replica: int) -> dict[str, Slot]:
    """By name: the parameters that are no integers; tied ones once, by their first.

    Raises:
        SpecError: A parameter has no memory yet.
    """
    slots: dict[str, Slot] = {}
    seen: dict[int, Tensor] = {}  # tied ones; kept, so that no number is given twice
    hidden = set(_originals(module))
    for path, owner in module.named_modules():
        if path in hidden:
            continue
        held = dict(_tensors_of(owner))
        for key, (parameter, write) in held.items():
            name = f"{path}.{key}" if path else key
            if id(parameter) in seen or not parameter.is_floating_point():
                continue
            seen[id(parameter)] = parameter
            slots[name] = _make_slot(name, key, parameter, owner, held, replica, write)
    return slots


def _originals(module: nn.Module) -> Iterator[str]:
    """Paths of the modules that hold what parametrized tensors are computed from."""
    for path, owner in module.named_modules():
        if parametrize.is_parametrized(owner):
            inside = owner.parametrizations.named_modules()
            for name, _ in inside:
                yield f"{path}.parametrizations.{name}".strip(".")


def _tensors_of(
    owner: nn.Module,
) -> Iterator[tuple[str, tuple[Tensor, Write]]]:
    """The tensors that a module computes with, and how each is set."""
    own = dict(owner.named_parameters(recurse=False))
    for key, parameter in own.items():
        if key.endswith("_g") and f"{key[:-2]}_v" in own:
            continue  # the magnitude is set together with its direction
        if key.endswith("_v") and f"{key[:-2]}_g" in own:
            magnitude, dim = own[f"{key[:-2]}_g"], _weight_norm_dim(owner, key[:-2])
            yield key[:-2], (parameter, _write_both(parameter, magnitude, dim))
        elif key.endswith("_orig") and hasattr(owner, f"{key[:-5]}_mask"):
            yield key[:-5], (parameter, parameter.copy_)  # pruned: the mask stays
        elif key.endswith("_orig") and hasattr(owner, f"{key[:-5]}_u"):
            yield key[:-5], (parameter, parameter.copy_)  # the older spectral norm
        else:
            yield key, (parameter, parameter.copy_)
    if parametrize.is_parametrized(owner):
        for key in owner.parametrizations:  # type: ignore[union-attr]
            yield str(key), _parametrized(owner, str(key))


def _parametrized(owner: nn.Module, key: str) -> tuple[Tensor, Write]:
    """Set through the parametrization, which knows what its originals must be."""
    value: Tensor = getattr(owner, key)

    def write(values: Tensor) -> None:
        try:
            setattr(owner, key, values.to(value))
        except (NotImplementedError, RuntimeError) as error:
            kind = type(owner.parametrizations[key][0]).__name__  # type: ignore
            raise SpecError(
                f"{key} of {type(owner).__name__} is parametrized by {kind}, which "
                "cannot be set: give it a right_inverse, or initialize before it"
            ) from error

    return value, write


def _weight_norm_dim(owner: nn.Module, key: str) -> int | None:
    for hook in owner._forward_pre_hooks.values():
        if getattr(hook, "name", None) == key and hasattr(hook, "dim"):
            dim: int | None = hook.dim
            return dim
    return 0


def _write_both(direction: Tensor, magnitude: Tensor, dim: int | None) -> Write:
    def write(values: Tensor) -> None:
        direction.copy_(values)
        size = torch.norm_except_dim(direction, 2, -1 if dim is None else dim)
        magnitude.copy_(size.reshape(magnitude.shape))

    return write


def _make_slot(
    name: str,
    key: str,
    parameter: Tensor,
    owner: nn.Module,
    held: Held,
    replica: int,
    write: Write,
) -> Slot:
    inputs_first = isinstance(owner, _INPUTS_FIRST)
    target = _describe(name, parameter, owner, inputs_first, replica)
    # `bias` has the fans of `weight`, `bias_ih_l0` of an LSTM of `weight_ih_l0`
    weights = held.get(key.replace("bias", "weight")) if "bias" in key else None
    beside = target.is_vector and weights is not None and weights[0].ndim > 1
    if weights is not None and beside and not isinstance(owner, _NORMS):
        other = _describe(name, weights[0], owner, inputs_first, replica)
        target = beside_weights(target, other)
    else:
        beside = False
    stays = not beside and _stays(parameter, owner, held)
    padding = getattr(owner, "padding_idx", None)
    if isinstance(owner, _TABLES) and padding is not None:
        write = _write_but(write, int(padding))
    return Slot(target, inputs_first, stays, beside, write)


def _write_but(write: Write, row: int) -> Write:
    def written(values: Tensor) -> None:
        values = values.clone()
        values[row] = 0
        write(values)

    return written


def _stays(parameter: Tensor, owner: nn.Module, held: Held) -> bool:
    """Whether a parameter is a gain, a shift or a gate, whatever its shape."""
    if parameter.ndim < 2 or isinstance(owner, _NORMS):
        return True
    if sum(size > 1 for size in parameter.shape) < 2 and parameter.ndim > 2:
        return True  # one number a channel, as [C, 1, 1]
    if parameter.is_meta or not parameter.numel() or _is_layer(owner):
        return False
    if _is_constant(parameter, 1.0):
        return True  # the gain of a norm of one's own
    twins = [one for one, _ in held.values() if one.shape == parameter.shape]
    is_shift = _is_constant(parameter, 0.0)
    return is_shift and any(_is_constant(one, 1.0) for one in twins)


def _is_layer(owner: nn.Module) -> bool:
    known = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase)
    return isinstance(owner, (*known, nn.RNNCellBase, nn.MultiheadAttention, *_TABLES))


def _is_constant(parameter: Tensor, value: float) -> bool:
    return bool((parameter == value).all())


def _describe(
    name: str, parameter: Tensor, owner: nn.Module, inputs_first: bool, replica: int
) -> Target:
    lazy = isinstance(parameter, nn.parameter.UninitializedParameter)
    if lazy or parameter.is_meta:
        what = "run a batch through the module" if lazy else "call to_empty(device=...)"
        raise SpecError(f"{name} has no memory yet: {what} first")
    shape = tuple(parameter.shape) or (1,)
    if inputs_first and len(shape) > 1:
        shape = (shape[1], shape[0], *shape[2:])
    target = describe_target(shape, layout="OI", name=name, replica=replica)
    groups = int(getattr(owner, "groups", 1)) if len(shape) > 2 else 1
    if groups > 1 and isinstance(owner, _TRANSPOSED):
        return replace(target, groups_in=groups)
    if groups > 1 and isinstance(owner, nn.modules.conv._ConvNd):
        return replace(target, groups_out=groups)
    return target


def draw_module_(
    module: nn.Module,
    rule: Rule,
    *,
    seed: int = 0,
    replica: int = 0,
    bias: Rule = "zeros",
    overrides: Mapping[str, Rule] | None = None,
) -> dict[str, Law]:
    """Draw parameters of a module, as `initialize_` does for rules without a batch.

    All laws are found before the first number is written.

    Returns:
        By name of parameter: the law from which it was drawn.

    Raises:
        SpecError: A rule does not fit, a pattern matches nothing, or parameters are
            not there yet (lazy modules, meta device).
    """
    slots = find_slots(module, replica)
    overrides = overrides or {}
    laws = {}
    unused = set(overrides)
    for name, slot in slots.items():
        pattern = match_pattern(name, overrides)
        if pattern is not None:
            unused.discard(pattern)
            chosen: Rule | None = overrides[pattern]
        elif slot.has_weights:
            chosen = bias
        else:
            chosen = None if slot.stays else rule
        if chosen is not None:
            laws[name] = find_law_for(make_rule(chosen), slot.target)
    if unused:
        raise SpecError(
            f"no parameter is named {min(unused)!r}: known are {', '.join(slots)}"
        )
    for name, law in laws.items():
        _fill(slots[name], law, seed)
    return laws


def _fill(slot: Slot, law: Law, seed: int) -> None:
    values = torch.from_numpy(to_layout(draw_target(law, slot.target, seed=seed), "OI"))
    if slot.inputs_first and values.ndim > 1:
        values = values.transpose(0, 1)
    with torch.no_grad():
        slot.write(values)
