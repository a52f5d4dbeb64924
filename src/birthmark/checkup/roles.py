"""What each parameter is for, and along which axes: from the trace, else by its class.

A parameter that no operation touched, or that is read without a batch, has the role
that its module gives it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from birthmark.checkup.layers import find_layers, role_of
from birthmark.checkup.operations import Use
from birthmark.checkup.trace import Trace

TensorRole = Literal[
    "weight", "embedding", "scale", "bias", "position", "token", "other"
]
_BY_USE: dict[str, TensorRole] = {
    "matrix": "weight",
    "lookup": "embedding",
    "scale": "scale",
    "shift": "bias",
    "position": "position",
    "token": "token",
    "other": "other",
}


@dataclass(frozen=True)
class Axes:
    """Which axes of a matrix number its outputs, and which are summed over."""

    units: tuple[int, ...]
    inputs: tuple[int, ...]
    groups: int = 1
    is_convolution: bool = False
    transposed: bool = False

    def fan_in(self, shape: tuple[int, ...]) -> int:
        """Numbers that one output adds up (for transposed ones: at stride 1)."""
        product = math.prod(shape[axis] for axis in self.inputs)
        return product // self.groups if self.transposed else product

    def fan_out(self, shape: tuple[int, ...]) -> int:
        """Outputs that one input enters, within one expert."""
        units = shape[self.units[-1]] if self.units else 1
        kernel = math.prod(shape[2:]) if self.is_convolution else 1
        return units * kernel // (1 if self.transposed else self.groups)

    def rows(self, values: Tensor) -> Tensor:
        """The incoming weights of each unit, [O, I]."""
        order = (*self.units, *self.inputs)
        if sorted(order) != list(range(values.ndim)):
            return values.flatten(1)
        if self.transposed and self.groups > 1:
            # [in, out / groups, ...]: the units of each group beside each other
            split = values.reshape(self.groups, -1, *values.shape[1:]).transpose(1, 2)
            return split.flatten(0, 1).flatten(1)
        count = math.prod(values.shape[axis] for axis in self.units)
        return values.permute(order).reshape(count, -1)


class Roles:
    """Roles and axes of all parameters of a model."""

    def __init__(
        self, model: nn.Module, leaves: Mapping[str, Tensor], trace: Trace | None
    ):
        self._leaves = leaves
        self._trace = trace
        self._modules: dict[str, nn.Module] = dict(model.named_modules())
        self._rows: dict[str, tuple[str, str]] = {}
        self._layers = {
            name: module
            for name, module in find_layers(model)
            if role_of(module) != "other"
        }

    @cached_property
    def _uses(self) -> dict[str, Use]:
        return {} if self._trace is None else self._trace.roles()

    def owner(self, name: str) -> nn.Module:
        """The module that holds a parameter; of a parametrized one the layer itself."""
        path = name.rpartition(".")[0]
        if ".parametrizations." in f".{name}":
            path = f".{path}".partition(".parametrizations.")[0].lstrip(".")
        return self._modules[path]

    def is_used(self, name: str) -> bool:
        """Whether some operation of the forward pass took this parameter."""
        return name in self._uses

    def first_use(self, name: str) -> int | None:
        """The number of the operation that took this parameter first."""
        return self._first_uses.get(name)

    @cached_property
    def _first_uses(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for use in () if self._trace is None else self._trace.uses:
            found.setdefault(use.tensor, use.node)
        return found

    def role(self, name: str) -> TensorRole:
        """What the parameter does."""
        use = self._uses.get(name)
        if use is not None:
            return _BY_USE[use.kind]
        return self._role_by_class(name)

    def axes(self, name: str) -> Axes | None:
        """Axes of a matrix; None for all that is none."""
        use = self._uses.get(name)
        value = self._leaves[name]
        if use is not None:
            if use.kind != "matrix" or not use.inputs:
                return None
            return Axes(
                use.units, use.inputs, use.groups, use.is_convolution, use.transposed
            )
        if self._role_by_class(name) != "weight" or value.ndim < 2:
            return None
        module = self.owner(name)
        rest = tuple(range(1, value.ndim))
        if isinstance(module, _ConvTransposeNd):
            kernel = tuple(range(2, value.ndim))
            return Axes((1,), (0, *kernel), module.groups, True, transposed=True)
        if isinstance(module, _ConvNd):
            return Axes((0,), rest, module.groups, is_convolution=True)
        return Axes((0,), rest)

    def units(self, name: str, values: Tensor) -> Tensor | None:
        """One row a unit, for parameters whose units could be copies of each other.

        Rows of an embedding are looked up one by one, and units of a grouped
        convolution see different inputs: they are parted, whatever they hold.
        """
        axes = self.axes(name)
        if axes is None or not axes.units or axes.groups > 1:
            return None
        shape = tuple(values.shape)
        if values.is_complex() or min(shape) == 0 or axes.fan_in(shape) < 2:
            return None
        return axes.rows(values)

    def fans(self, name: str) -> list[tuple[int, int]]:
        """Fan-in and fan-out: as they are, as torch.nn.init counts, of packed parts."""
        axes, shape = self.axes(name), tuple(self._leaves[name].shape)
        if axes is None or min(shape) == 0 or len(shape) < 2:
            return []
        true = (axes.fan_in(shape), axes.fan_out(shape))
        field = math.prod(shape[2:])
        found = [true, (shape[1] * field, shape[0] * field)]
        if len(shape) == 3 and len(axes.inputs) == 1:  # stacked experts
            found.append((shape[-2], shape[-1]))
        both = axes.inputs and axes.units
        if len(shape) > 2 and both and max(axes.units) > max(axes.inputs):
            # kernels in front, as Keras has them
            field = math.prod(shape[:-2])
            found.append((shape[-2] * field, shape[-1] * field))
        if axes.is_convolution and axes.groups > 1 and shape[1] == 1:  # Keras' count
            found.append((axes.groups * field, shape[0] // axes.groups * field))
        if len(shape) == 3 and len(axes.inputs) == 2 and not axes.is_convolution:
            found.append((shape[1], shape[0]))  # as torch counts a bilinear form
        if len(shape) == 2:
            parts = [n for n in (2, 3, 4) if true[1] % n == 0 and true[1] > n]
            found += [(true[0], true[1] // n) for n in parts]
        return list(dict.fromkeys(found))

    def row_of(self, name: str) -> tuple[str, str]:
        """Row and kind of a product with this matrix; '' where a module has its row."""
        if name not in self._rows:
            self._rows[name] = self._find_row(name)
        return self._rows[name]

    def _find_row(self, name: str) -> tuple[str, str]:
        path = name
        while path:
            path = path.rpartition(".")[0]
            if path in self._layers:
                return "", ""
        module = self.owner(name)
        path = name.rpartition(".")[0]
        matrices = [p for p in module.parameters(recurse=False) if p.ndim > 1]
        leaf = next(module.children(), None) is None
        row = path if leaf and len(matrices) == 1 and path else name
        return row, type(module).__name__

    def _role_by_class(self, name: str) -> TensorRole:
        value, last = self._leaves[name], name.rpartition(".")[2]
        module = self.owner(name)
        kind = role_of(module)
        if ".parametrizations." in f".{name}":
            last = name.split(".parametrizations.")[-1].split(".")[0]
        if kind == "embedding":
            return "embedding"
        if kind == "norm":
            return "bias" if last == "bias" else "scale"
        if "bias" in last:
            return "bias"
        if kind == "other":
            return "weight" if value.ndim > 1 and "weight" in last else "other"
        return "weight" if value.ndim > 1 else "other"
