"""What a batch is, and how the model takes it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birthmark.errors import SpecError, unknown_name
from birthmark.measurements import unwrap
from birthmark.seeds import batch_order
from birthmark.shapes import Array, Dataset

_SHAPES = ("auto", "flat", "image")
_UNSIGNED = {torch.uint16, torch.uint32, torch.uint64}
LABELS = ("labels", "label", "targets", "target", "y", "start_positions")


@dataclass(frozen=True)
class Batch:
    """What goes into the model and what should come out."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    target: Any = None  # a tensor, or what only the user's own loss understands
    given: Any = None  # as it came, its tensors on the model's device: for objectives
    others: tuple[Batch, ...] = ()  # how else it may be meant, if the model refuses it

    @property
    def has_tensors(self) -> bool:
        """Whether any tensor can be seen in it."""
        return bool(_tensors(self.arguments) or _tensors(self.keywords))

    @property
    def inputs(self) -> Tensor:
        """The first tensor that goes in, [B, ...]; floating ones go first."""
        tensors = [*_tensors(self.arguments), *_tensors(self.keywords)]
        floats = (t for t in tensors if t.is_floating_point() and t.ndim > 1)
        first = next(floats, None) if tensors else None
        if tensors:
            first = tensors[0] if first is None else first
            return first if first.layout is torch.strided else _dense(first)
        raise SpecError(
            "the batch holds no tensor or array: give x, (x, y) or a mapping of "
            "arguments, or objective=fn(model, batch)"
        )

    def __len__(self) -> int:
        return int(self.inputs.shape[0]) if self.inputs.ndim else 0


def _dense(tensor: Tensor) -> Tensor:
    if tensor.is_nested:
        padded: Tensor = torch.nested.to_padded_tensor(tensor, 0.0)
        return padded
    return tensor.to_dense()


def read_batch(batch: Any, model: nn.Module, *, is_opaque: bool = False) -> Batch:
    """Understand a batch, and bring it to the model's device and type.

    Args:
        batch: `x`, `(x, y)`, several inputs and y, or a mapping of keywords.
        model: Its forward pass says which keywords and how many inputs it takes.
        is_opaque: An objective will take the batch apart: only tensors are moved.

    Raises:
        SpecError: It is none of these, or has fewer than two examples.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    dtype = _compute_type(model)
    if is_opaque:
        placed = _place(batch, device, None)
        read = Batch((placed,), given=placed)
        return _checked(read) if read.has_tensors else read
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        batch = vars(batch)
    if isinstance(batch, Mapping) or hasattr(batch, "keys"):
        read = _read_mapping(dict(batch), model, device, dtype)
    elif isinstance(batch, tuple | list):
        read = _read_sequence(batch, model, device, dtype)
    elif isinstance(batch, Tensor | np.ndarray):
        read = Batch((_place(batch, device, dtype),))
    else:
        several = hasattr(batch, "__iter__") or hasattr(batch, "__getitem__")
        raise SpecError(
            f"a batch is x, (x, y) or a mapping, got {type(batch).__name__}: give "
            + ("one of its batches, next(iter(...))" if several else "tensors")
            + ", or objective=fn(model, batch), which takes any batch"
        )
    return _checked(read)


def _checked(read: Batch) -> Batch:
    if read.inputs.ndim and len(read) < 2:
        raise SpecError(
            f"a check-up compares inputs and needs at least 2 examples, got {len(read)}"
        )
    return read


def _read_mapping(
    batch: dict[str, Any],
    model: nn.Module,
    device: torch.device,
    dtype: torch.dtype | None,
) -> Batch:
    """Keywords that forward takes go in; labels that it does not are the target."""
    parameters = inspect.signature(model.forward).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    key = next((one for one in LABELS if one in batch), None)
    target = None if key is None else _place(batch[key], device, None)
    keywords = {}
    for name, value in batch.items():
        if name in parameters:
            keywords[name] = _place(value, device, None if name == key else dtype)
        elif takes_all and name != key:
            keywords[name] = _place(value, device, dtype)
    if not keywords:  # `{"x": x, "y": y}` for a forward pass with other names
        rest = [_place(v, device, dtype) for k, v in batch.items() if k != key]
        whole = Batch((_place(batch, device, dtype),), {}, target)
        return Batch(tuple(rest[:1]), {}, target, others=(whole,))
    return Batch((), keywords, target)


def _read_sequence(
    batch: tuple[Any, ...] | list[Any],
    model: nn.Module,
    device: torch.device,
    dtype: torch.dtype | None,
) -> Batch:
    """The last part is the target, unless forward needs them all."""
    if not batch:
        raise SpecError("the batch is empty: give x, (x, y) or a mapping of arguments")
    if all(map(_is_number, batch)):
        return Batch((_place(list(batch), device, dtype),))
    needed, taken = _positions(model)
    grouped = isinstance(batch[0], tuple | list | Mapping) and len(batch) == 2
    several = len(batch) > 1 and (grouped or needed < len(batch) <= max(taken + 1, 2))
    parts = batch[:-1] if several else batch
    if len(batch) > max(taken + 1, 2):
        raise SpecError(
            f"the batch has {len(batch)} parts, and forward takes {taken}: put inputs "
            "into a mapping by the names of its arguments, or give objective="
        )
    target = _place(batch[-1], device, None) if several else None
    if len(parts) == 1 and isinstance(parts[0], Mapping):
        inside = _read_mapping(dict(parts[0]), model, device, dtype)
        return replace(inside, target=inside.target if target is None else target)
    if len(parts) == 1 and isinstance(parts[0], tuple | list) and needed > 1:
        parts = parts[0]
    inputs = tuple(_place(one, device, dtype) for one in parts)
    # in training some models want their targets, which others take on request
    taking = (Batch((*inputs, target)),) if several and taken > len(inputs) else ()
    return Batch(inputs, {}, target, others=taking)


def _positions(model: nn.Module) -> tuple[int, int]:
    """How many arguments forward needs, and how many it takes at most."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(model.forward).parameters.values())
    plain = [p for p in parameters if p.kind in kinds]
    needed = sum(p.default is p.empty for p in plain)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return max(needed, 1), 64
    return max(needed, 1), max(len(plain), 1)


def _compute_type(model: nn.Module) -> torch.dtype | None:
    """The type that inputs must have: of the first parameter that can be computed."""
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.element_size() > 1:
            return parameter.dtype
    return None


def _place(value: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """Arrays and tensors on the device, inside of tuples, lists and mappings too."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiubc":
            raise SpecError(
                f"the batch has an array of {value.dtype}: give numbers as arrays"
            )
        value = torch.from_numpy(
            np.ascontiguousarray(value, value.dtype.newbyteorder("="))
        )
    if isinstance(value, Tensor):
        value = value.detach().to(device)
        if value.dtype in _UNSIGNED:  # torch computes with hardly any of them
            value = value.long()
        if dtype is not None and value.is_floating_point():
            value = value.to(dtype)
        return value
    if isinstance(value, list) and _are_numbers(value):
        return _place(np.asarray(value), device, dtype)
    if isinstance(value, Mapping):
        return {key: _place(one, device, dtype) for key, one in value.items()}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_place(one, device, dtype) for one in value)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _are_numbers(value: list[Any]) -> bool:
    """Numbers, or rows of numbers that are equally long."""
    if value and all(isinstance(one, list) for one in value):
        same = len({len(one) for one in value}) == 1
        return same and all(map(_are_numbers, value))
    return bool(value) and all(map(_is_number, value))


def only_target(value: Any) -> Any:
    """A target that stands in a mapping: under a name for labels, or alone."""
    if not isinstance(value, Mapping):
        return value
    named = [value[one] for one in LABELS if one in value]
    alone = list(value.values()) if len(value) == 1 else []
    return (named or alone or [value])[0]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for one in value for tensor in _tensors(one)]
    return []


def first_tensor(value: Any) -> Tensor | None:
    """The first floating tensor in what a module gives back; `logits` goes first."""
    found = floating_tensors(value)
    return found[0] if found else None


def floating_tensors(value: Any) -> list[Tensor]:
    """All floating tensors in what a module gives back; `logits` first, no `loss`."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        first = [value[key] for key in ("logits", "out", "sample") if key in value]
        parts = first + [one for key, one in value.items() if key != "loss"]
    elif isinstance(value, tuple | list):
        parts = list(value)
    elif dataclasses.is_dataclass(value) or hasattr(value, "logits"):
        names = sorted(vars(value), key=lambda name: name != "logits")
        parts = [getattr(value, name) for name in names if name != "loss"]
    else:
        return []
    tensors = [tensor for part in parts for tensor in floating_tensors(part)]
    return list({id(tensor): tensor for tensor in tensors}.values())


def take_batch(
    dataset: Dataset, model: object, *, examples: int = 128, shape: str = "auto"
) -> tuple[Array, Array]:
    """Training examples as the data set's preprocessing shows them, and their classes.

    Args:
        dataset: As loaded.
        model: Whose first layer decides under `auto`: a dense one of as many inputs as
            there are pixels takes them flat, any other takes images [B, 1, H, W].
        examples: How many; always the same ones, from all over the training set.
        shape: `flat`, `image` or `auto`.

    Returns:
        Inputs, float32, and classes, int64.

    Raises:
        SpecError: Unknown shape.
    """
    if shape not in _SHAPES:
        raise unknown_name("shape", shape, _SHAPES)
    if examples < 2:
        raise SpecError(f"a check-up needs at least 2 examples, got {examples}")
    chosen = batch_order(0, 0, 0, len(dataset.y_train))[:examples]
    pixels = dataset.x_train[chosen].astype(np.float32) / dataset.full_scale
    x = (pixels - dataset.mean) / dataset.std
    if shape == "image" or (shape == "auto" and not _takes_flat(model, x.shape[1])):
        channels = x.shape[1] // int(np.prod(dataset.image_shape))
        x = x.reshape(len(x), channels, *dataset.image_shape)
    return x.astype(np.float32), dataset.y_train[chosen].astype(np.int64)


def _takes_flat(model: object, num_inputs: int) -> bool:
    if not isinstance(model, nn.Module):
        return False
    for module in unwrap(model).modules():
        if next(module.parameters(recurse=False), None) is not None:
            return isinstance(module, nn.Linear) and module.in_features == num_inputs
    return False
