"""What can be read of a Keras 3 model without importing Keras.

Its weights, whatever the backend; and whether its loss clips the probabilities that a
softmax gives. Its signal is not read: Keras holds its variables beside the parameters
that torch sees, so that they could not be left as they are.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.checkup.readings import CheckUp, Outcome
from birthmark.checkup.tensors import read_tensors
from birthmark.errors import WeightsError

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel")
_NAMES = {
    **dict.fromkeys((*_KERNELS, "gamma", "embeddings"), "weight"),
    "beta": "bias",
}
_CONVOLUTIONS: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: tuple[Any, ...] = (
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_UNREAD = "signal, gradients and initial loss: this is a Keras model"


def is_keras(model: object) -> bool:
    """Whether a model is made of Keras 3, told by where its classes come from."""
    return any(base.__module__.split(".")[0] == "keras" for base in type(model).__mro__)


def read_keras(model: Any) -> CheckUp:
    """The weights and the loss of a Keras model, without findings.

    Raises:
        WeightsError: It has not been built.
    """
    if not model.weights:
        raise WeightsError(
            "the Keras model has no weights yet: build it, or call it on one batch"
        )
    owners = _owners(model)
    frozen = {v.path for v in model.weights if not _moves(v, owners)}
    shells = nn.ModuleDict()
    held: dict[str, Any] = {}
    for layer, variables in _by_layer(model.weights).items():
        kept = {n: v for n, v in variables.items() if not _is_state(v, owners)}
        for part in _parts(kept):
            key = f"{layer or 'model'}/{next(iter(part))}".replace(".", "_")
            shells[key], names = _shell(part, owners)
            held |= {f"{key}.{ours}": part[theirs] for ours, theirs in names}
    tensors = tuple(
        replace(
            reading,
            name=held[reading.name].path,
            layer=held[reading.name].path.rpartition("/")[0],
            shape=tuple(map(int, held[reading.name].shape)),
            is_default=None,  # what is said of defaults is torch's
            trainable=held[reading.name].path not in frozen,
        )
        for reading in read_tensors(shells, None)
    )
    clip, unread = _read_clip(model)
    return CheckUp(
        model=type(model).__name__,
        num_parameters=sum(tensor.size for tensor in tensors),
        num_examples=0,
        training=True,
        layers=(),
        tensors=tensors,
        outcome=None if clip is None else Outcome(clip=clip, are_probabilities=True),
        unread=(_UNREAD, *unread),
    )


def _by_layer(variables: list[Any]) -> dict[str, dict[str, Any]]:
    layers: dict[str, dict[str, Any]] = {}
    for variable in variables:
        layer, _, name = variable.path.rpartition("/")
        layers.setdefault(layer, {})[name] = variable
    return layers


def _owners(model: Any) -> dict[int, Any]:
    """The layer that holds each variable: the innermost one."""
    flat = getattr(model, "_flatten_layers", None)
    layers = list(flat()) if flat is not None else [model, *model.layers]
    return {id(v): layer for layer in layers for v in layer.variables}


def _moves(variable: Any, owners: dict[int, Any]) -> bool:
    return bool(
        variable.trainable and getattr(owners.get(id(variable)), "trainable", 1)
    )


def _is_state(variable: Any, owners: dict[int, Any]) -> bool:
    """Statistics and counters: no gradient moves them though their layer is trained."""
    layer = owners.get(id(variable))
    return not variable.trainable and bool(getattr(layer, "trainable", False))


def _parts(variables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each kernel of a layer by itself, the first one with all that is no kernel."""
    kernels = [name for name in _KERNELS if name in variables]
    if variables:
        yield {n: v for n, v in variables.items() if n not in kernels[1:]}
    yield from ({name: variables[name]} for name in kernels[1:])


def _shell(
    variables: dict[str, Any], owners: dict[int, Any]
) -> tuple[nn.Module, list[tuple[str, str]]]:
    """A torch module of the same kind with the numbers, and both names of each."""
    values = {name: _numbers(variable) for name, variable in variables.items()}
    kernel = next((name for name in _KERNELS if name in values), None)
    shell: nn.Module = nn.Module()
    names = [(name, name) for name in values]
    if kernel is not None:
        layer = owners.get(id(variables[kernel]))
        shell, values[kernel] = _as_torch(kernel, values[kernel], layer)
    elif "gamma" in values or "beta" in values:
        shell = nn.BatchNorm1d(1, track_running_stats=False)
    elif "embeddings" in values:
        shell = nn.Embedding(1, 1)
    for name in list(shell._parameters):
        del shell._parameters[name]
    if type(shell) is not nn.Module:
        names = [(_NAMES.get(name, name), name) for name in values]
    for ours, theirs in names:
        value = values[theirs]
        floats = value.is_floating_point()
        shell._parameters[ours] = nn.Parameter(value.contiguous(), requires_grad=floats)
    return shell, names


def _as_torch(name: str, kernel: Tensor, layer: Any) -> tuple[nn.Module, Tensor]:
    """The torch layer of a kernel, and its numbers with units and inputs in front.

    Keras has [*places, in, out]; a depthwise kernel has [*places, in, units an input],
    a transposed one [*places, out, in], and of an einsum the equation says it.
    """
    equation = getattr(layer, "equation", "")
    if "->" in equation:
        terms, given = equation.split("->")
        letters = terms.split(",")[1]
        inner = [i for i, letter in enumerate(letters) if letter not in given]
        outer = [i for i, letter in enumerate(letters) if letter in given]
        rows = kernel.permute(*outer, *inner).reshape(
            math.prod(kernel.shape[i] for i in outer), -1
        )
        return nn.Linear(1, 1), rows
    dims = kernel.ndim - 2
    if dims == 0:
        return nn.Linear(1, 1), kernel.T
    if not 1 <= dims <= 3 or not hasattr(layer, "kernel_size"):
        return nn.Module(), kernel
    places = tuple(range(dims))
    sizes = tuple(int(kernel.shape[place]) for place in places)
    by_depth = hasattr(layer, "depth_multiplier") and name != "pointwise_kernel"
    if by_depth:
        groups = int(kernel.shape[-2])
        shell = _CONVOLUTIONS[dims - 1](groups, groups, sizes, groups=groups)
        return shell, kernel.permute(dims, dims + 1, *places).flatten(0, 1)[:, None]
    is_transposed = hasattr(layer, "output_padding")
    make = (_TRANSPOSED if is_transposed else _CONVOLUTIONS)[dims - 1]
    return make(1, 1, sizes), kernel.permute(dims + 1, dims, *places)


def _numbers(variable: Any) -> Tensor:
    return torch.tensor(variable.numpy())


def _read_clip(model: Any) -> tuple[float | None, tuple[str, ...]]:
    """The eps of a loss on probabilities; None and why where there is none."""
    last = model.layers[-1] if model.layers else None
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if activation != "softmax" and type(last).__name__ != "Softmax":
        return None, ()
    loss = getattr(model, "loss", None)
    if loss is None:
        return None, ("loss: the model is not compiled, and ends in a softmax",)
    name = loss if isinstance(loss, str) else getattr(loss, "name", type(loss).__name__)
    if "crossentropy" not in str(name) or getattr(loss, "from_logits", False):
        return None, ()
    backend = sys.modules["keras"].backend
    if backend.backend() == "tensorflow":
        return None, ("loss: on TensorFlow Keras goes back to the logits by itself",)
    return float(backend.epsilon()), ()
