"""The one converter: from any model, state dict or mapping of arrays to `Parameters`.

`measure`, `extend_path` and `fingerprint` take whatever `to_parameters` takes:

    before = bm.to_parameters(model).clone()
    ...                                     # train
    records = bm.measure(before, model)     # dims (replica, parameter)
    records.distance.sel(parameter="head.weight")

Tied tensors count once, under the first of their names; names are those of
`named_parameters`, without what `torch.compile` and parallel wrappers put in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from birthmark.errors import WeightsError
from birthmark.measurements.kinds import (
    Layout,
    is_buffer_name,
    is_last_layer,
    kind_of,
    layout_of,
    role_of,
)
from birthmark.measurements.shards import find_shard, to_local
from birthmark.shapes import (
    OUTPUT,
    Kind,
    Parameter,
    Parameters,
    Role,
    Shard,
    Weights,
)

# what can be measured; of a sequence each member is a replica
Source = Weights | Parameters | nn.Module | Mapping[str, Any] | Sequence[Any]

_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


@dataclass(frozen=True)
class _Named:
    """A tensor of one model, before replicas are stacked."""

    value: Tensor
    owner: nn.Module | None
    aliases: tuple[str, ...] = ()
    shard: Shard | None = None


def to_parameters(
    source: Source,
    *,
    layout: Layout = "OI",
    stacked: bool = False,
    buffers: bool = False,
) -> Parameters:
    """Tensors of a network by name, without a copy wherever a view will do.

    Tensors of whole numbers and empty ones are left out; complex ones get a last axis
    of two.

    Args:
        source: A module, a state dict or any mapping of tensors or arrays, `Weights`;
            several of one architecture, as a list, are the replicas of a stack.
        layout: Of a mapping: `OI` is torch's [out, in, *kernel], `IO` the
            [*kernel, in, out] of Keras and JAX. Modules tell their own.
        stacked: Whether the arrays of a mapping have a first axis of replicas.
        buffers: Also running statistics, with the role `buffer`.

    Raises:
        WeightsError: There is nothing to measure, a tensor holds no numbers yet, or
            the members of a list are not of one architecture.
    """
    if isinstance(source, Parameters):
        return source
    if isinstance(source, Weights):
        return _from_weights(source)
    if isinstance(source, nn.Module | Mapping):
        members = [_find_tensors(source, buffers=buffers)]
    elif isinstance(source, Sequence) and source and not isinstance(source, str):
        members = [_find_tensors(one, buffers=buffers) for one in source]
    else:
        raise WeightsError(
            f"cannot measure {type(source).__name__}: give a torch module, a state "
            "dict, a mapping of arrays, or a list of them"
        )
    first = members[0]
    if not first:
        raise WeightsError("there is no tensor of floating point: nothing to measure")
    _check_one_architecture(members)
    tensors = {}
    for name, one in first.items():
        stack = (
            torch.stack([member[name].value for member in members])
            if len(members) > 1
            else one.value
            if stacked
            else one.value.unsqueeze(0)
        )
        tensors[name] = _describe(name, one, stack, layout)
    return Parameters(_with_head(tensors))


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module inside of `torch.compile` and of parallel wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(inner, nn.Module):
            model = inner
        elif isinstance(model, _PARALLEL):
            model = model.module
        else:
            return model


def clean_name(name: str) -> str:
    """A dotted path without what `torch.compile` and wrappers of torch put between."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _find_tensors(source: Any, *, buffers: bool) -> dict[str, _Named]:
    """By the first name of each tensor; the others are its aliases."""
    found: dict[str, _Named] = {}
    first_names: dict[Any, str] = {}
    for name, value, owner in _walk(source, buffers=buffers):
        tensor = _as_tensor(name, value)
        if tensor is None:
            continue
        key = _identity(value, tensor)
        if key in first_names:
            one = found[first_names[key]]
            aliases = (*one.aliases, name)
            found[first_names[key]] = replace(one, aliases=aliases)
        else:
            first_names[key] = name
            found[name] = _Named(tensor, owner, shard=find_shard(value))
    return found


def _walk(source: Any, *, buffers: bool) -> Iterator[tuple[str, Any, nn.Module | None]]:
    if isinstance(source, nn.Module):
        module = unwrap(source)
        _refuse_flat(module)
        owners = dict(module.named_modules(remove_duplicate=False))
        named: list[tuple[str, Tensor]] = []
        named += module.named_parameters(remove_duplicate=False)
        if buffers:
            named += module.named_buffers(remove_duplicate=False)
        for name, value in named:
            yield clean_name(name), value, owners[name.rpartition(".")[0]]
    elif isinstance(source, Mapping):
        for name, value in source.items():
            if buffers or not is_buffer_name(str(name)):
                yield clean_name(str(name)), value, None
    else:
        raise WeightsError(
            f"a replica is a torch module or a mapping of arrays, not "
            f"{type(source).__name__}"
        )


def _refuse_flat(module: nn.Module) -> None:
    for one in module.modules():
        if type(one).__name__ == "FullyShardedDataParallel":
            raise WeightsError(
                "FullyShardedDataParallel keeps its tensors flat, without shapes: "
                "shard the model by torch.distributed.fsdp.fully_shard (FSDP2)"
            )


def _as_tensor(name: str, value: Any) -> Tensor | None:
    """Without its gradient; None for what has no floating numbers."""
    if not isinstance(value, Tensor):
        array = np.asarray(value)
        if array.dtype.kind == "V" or array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        if array.dtype.kind not in "fc":
            return None
        # torch refuses read-only memory and negative strides
        value = torch.from_numpy(np.require(array, requirements=("C", "W")))
    if is_lazy(value):
        raise WeightsError(
            f"{name} is lazy and has no shape yet: run a batch through the model first"
        )
    if value.is_meta:
        raise WeightsError(
            f"{name} is on the meta device and holds no numbers: materialize it with "
            "model.to_empty(device=...) and initialize it first"
        )
    if not value.numel():
        return None
    # views that torch conjugates or negates only when they are used
    tensor = to_local(value.detach()).resolve_conj().resolve_neg()
    if tensor.is_complex():
        return torch.view_as_real(tensor)
    return tensor if tensor.is_floating_point() else None


def _identity(value: Any, tensor: Tensor) -> Any:
    """Equal for two names of one tensor: the same object, or the same memory."""
    if isinstance(value, nn.Parameter) or not tensor.numel():  # an empty shard
        return id(value)
    return (
        tensor.device,
        tensor.data_ptr(),
        tuple(tensor.shape),
        tensor.stride(),
        tensor.dtype,
    )


def _check_one_architecture(members: Sequence[Mapping[str, _Named]]) -> None:
    shapes = [
        {name: one.value.shape for name, one in member.items()} for member in members
    ]
    for number, other in enumerate(shapes):
        if other != shapes[0]:
            odd = sorted(dict(other.items() ^ shapes[0].items()))
            raise WeightsError(
                f"replica {number} differs from the first in {', '.join(odd[:3])}: "
                "replicas of one stack have the same names and shapes"
            )


def _describe(name: str, one: _Named, stack: Tensor, layout: Layout) -> Parameter:
    kind = kind_of(name, stack[0], one.owner)
    role: Role = "buffer" if is_buffer_name(name) else role_of(name, stack[0], kind)
    return Parameter(
        stack,
        layer=name.rpartition(".")[0],
        role=role,
        kind="bias" if role == "bias" and kind != "norm" else kind,
        layout=layout_of(kind, one.owner, layout),
        aliases=one.aliases,
        shard=one.shard,
    )


def _with_head(tensors: dict[str, Parameter]) -> dict[str, Parameter]:
    """The last dense layer is the head, where no name says which one is."""
    if any(one.kind == "head" for one in tensors.values()):
        return tensors
    weights = [name for name, one in tensors.items() if one.role == "weight"]
    last = tensors[weights[-1]] if weights else None
    if last is None or last.kind != "mlp" or not is_last_layer(last.layer):
        return tensors
    return {**tensors, weights[-1]: replace(last, kind="head")}


def _from_weights(weights: Weights) -> Parameters:
    """A stack of ours: `hidden1.weight`, `hidden1.bias`, in layers as they follow."""
    tensors = {}
    for layer, values in weights.items():
        kind: Kind = "head" if layer == OUTPUT else "mlp"
        w, b = torch.as_tensor(values.w), torch.as_tensor(values.b)
        tensors[f"{layer}.weight"] = Parameter(w, layer, "weight", kind, "IO")
        tensors[f"{layer}.bias"] = Parameter(b, layer, "bias", "bias")
        if values.scale is not None:
            scale = torch.as_tensor(values.scale)
            tensors[f"{layer}.scale"] = Parameter(scale, layer, "scalar", "other")
    return Parameters(tensors)
