"""The few dozen operations below autograd, and what a parameter does in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

UseKind = Literal["matrix", "lookup", "scale", "shift", "position", "token", "other"]

# operations and where their weight is: (data, weight)
_ADDING = {"addmm", "baddbmm", "addbmm", "addmv", "_sparse_addmm"}
PRODUCTS = {"mm", "bmm", "mv", "matmul", *_ADDING}
CONVOLUTIONS = {"convolution", "_convolution", "mkldnn_convolution"}
RECURRENT = {"mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"}
LOOKUPS = {"embedding", "index", "index_select", "gather", "_embedding_bag"}
NORMS = {
    "native_layer_norm",
    "native_group_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional",
    "batch_norm_with_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
    "_fused_rms_norm",
}
SCALES = {"mul", "mul_", "div", "div_", "_prelu_kernel", "addcmul", "pow"}
SHIFTS = {"add", "add_", "sub", "sub_", "rsub"}
# these move numbers or change their type, and keep each of them
SAME = {
    "view", "_unsafe_view", "reshape", "transpose", "permute", "t", "expand", "squeeze",
    "unsqueeze", "clone", "_to_copy", "alias", "detach", "movedim", "_reshape_alias",
    "contiguous", "slice", "select", "split", "split_with_sizes", "unbind", "chunk",
    "lift_fresh", "flatten", "constant_pad_nd", "unsafe_split",
    "unsafe_split_with_sizes", "view_as", "_reshape_copy", "roll", "copy_",
}  # fmt: skip
SOFTMAX = {"_softmax", "_safe_softmax"}
MASKS = {"masked_fill", "masked_fill_", "where", "add", "add_", "mul", "div", "mul_"}


# name, matrix as multiplied, its fan-in, data, output, axis of the units
OnProduct = Callable[[str, Tensor, int, Tensor, Tensor, int], None]


@dataclass(frozen=True)
class Use:
    """One operation in which a parameter meets the data."""

    tensor: str
    kind: UseKind
    units: tuple[int, ...] = ()  # its axes that number what comes out
    inputs: tuple[int, ...] = ()  # its axes that are summed over
    groups: int = 1
    is_convolution: bool = False
    transposed: bool = False  # of a transposed convolution
    node: int = -1  # number of the operation; -1: it works on parameters alone


@dataclass
class Node:
    """One operation on data; parents are numbers of nodes."""

    operation: str
    parents: tuple[int, ...]
    weights: tuple[str, ...] = ()  # parameters that are matrices here
    tensors: tuple[str, ...] = ()  # all parameters here
    is_norm: bool = False
    is_scores: bool = False  # products of data with data, on their way to a softmax
    is_single: bool = False  # a softmax over one key
    children: int = 0
    features: int = 0  # numbers that come out, along the axis that is not summed over


@dataclass(frozen=True)
class Sum:
    """Two lookups that are added, tokens and positions; or one, and a layer's output.

    Then the table comes first, and the other name is the nearest matrix before.
    """

    names: tuple[str, str]
    moments: tuple[float, float]
    is_of_tables: bool = True


def factors(name: str, args: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """The two that a product multiplies, without what it adds."""
    first = 1 if name in _ADDING else 0
    left, right = args[first : first + 2]
    return left, right


def summed_axes(
    name: str, args: tuple[Any, ...], place: int, tensor: Tensor
) -> tuple[int, ...] | None:
    """Axes of a parameter's tensor that the operation sums over; None: it is none."""
    if name in PRODUCTS:
        first = 1 if name in _ADDING else 0
        if place == first:
            return (tensor.ndim - 1,)
        if place == first + 1:
            return (max(tensor.ndim - 2, 0),)
        return None
    if name in CONVOLUTIONS and place == 1:
        kernel = tuple(range(2, tensor.ndim))
        return (0, *kernel) if len(args) > 6 and args[6] else (1, *kernel)
    if name == "_trilinear" and place == 1:
        return tuple(range(1, tensor.ndim))
    if name == "linear" and place == 1:
        return (tensor.ndim - 1,)
    if name in RECURRENT and tensor.ndim == 2:
        return (1,)
    if name == "_grouped_mm" and place == 1:
        return (tensor.ndim - 2,)
    return None


def unit_axis_of(name: str, result: Tensor) -> int:
    """The axis of the units in what comes out of a product."""
    return 1 if name in CONVOLUTIONS else result.ndim - 1


def groups_of(name: str, args: tuple[Any, ...]) -> int:
    """Of a convolution; 1 for all that is none."""
    if name == "convolution" and len(args) > 8:
        return int(args[8])
    return 1


def kind_of_use(name: str, word: str, tensor: Tensor, result: Tensor) -> UseKind:
    """What a parameter does that is not summed over."""
    if name in LOOKUPS:
        return "lookup"
    if name in NORMS:
        return "scale" if word == "weight" else "shift"
    if name in PRODUCTS or name in CONVOLUTIONS or name in RECURRENT:
        return "shift"
    if name in SCALES:
        return "scale"
    if name in SHIFTS:
        wide = sum(size > 1 for size in tensor.shape)
        return "position" if wide > 1 and not _is_channel(tensor) else "shift"
    if name in ("cat", "stack", "where", "masked_scatter", "index_put", "index_put_"):
        return "token"
    return "other"


def _is_channel(tensor: Tensor) -> bool:
    return tensor.numel() == max(tensor.shape, default=1)
