"""What a tensor is in its network: its role, the kind of its layer, its layout.

Types of modules tell it; where there is only a name, the names of the usual libraries.
"""

from __future__ import annotations

import re
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from birthmark.shapes import Kind, Role

Layout = Literal["OI", "IO", "transposed"]

_TYPES: tuple[tuple[tuple[type[nn.Module], ...], Kind], ...] = (
    ((nn.Embedding, nn.EmbeddingBag), "embedding"),
    ((_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm), "norm"),
    ((_ConvNd,), "convolution"),
    ((nn.RNNBase, nn.RNNCellBase), "recurrent"),
    ((nn.MultiheadAttention,), "attention"),
)
# a part of a dotted name, from its beginning or to its end
_NAMES: tuple[tuple[str, Kind], ...] = (
    (r"norm|(^|[._])(ln|bn)_?\w{0,2}([._]|$)", "norm"),
    (r"embed|(^|[._])(wte|wpe)([._]|$)|_emb([._]|$)", "embedding"),
    (r"(^|[._])(weight|bias)_(ih|hh)|recurrent_kernel", "recurrent"),
    (
        r"attn|attention|(^|[._])(q|k|v|o|qkv|query|key|value)(_?proj|_lin)?([._]|$)",
        "attention",
    ),
    (
        r"(^|[._])(lm_head|head|classifier|cls|score|logits|output|fc_out)([._]|$)",
        "head",
    ),
)
_BUFFERS = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked)$")
_HEAD_DEPTH = 2  # parts of the path of a last dense layer that is taken for the head


def is_buffer_name(name: str) -> bool:
    """Whether a state dict has it as a running statistic rather than a parameter."""
    return _BUFFERS.search(name) is not None


def role_of(name: str, value: Tensor, kind: Kind) -> Role:
    """What a tensor does in its layer; `value` is that of one replica."""
    last = name.rpartition(".")[2]
    if "bias" in last or (kind == "norm" and last == "beta"):
        return "bias"
    if value.ndim == 0:
        return "scalar"
    if kind == "norm":
        return "gain"
    return "weight" if value.ndim > 1 else "vector"


def kind_of(name: str, value: Tensor, owner: nn.Module | None) -> Kind:
    """The kind of the layer that a tensor belongs to, biases not yet apart."""
    if owner is not None:
        for types, kind in _TYPES:
            if isinstance(owner, types):
                return kind
        if "norm" in type(owner).__name__.lower():
            return "norm"
    elif value.ndim > 2 and name.endswith(("weight", "kernel")):
        return "convolution"
    lowered = name.lower()
    for pattern, kind in _NAMES:
        if re.search(pattern, lowered):
            return kind
    if owner is None and value.ndim == 1 and name.endswith(("weight", "gamma")):
        return "norm"
    is_dense = isinstance(owner, nn.Linear) or value.ndim == 2 or "bias" in lowered
    return "mlp" if is_dense else "other"


def layout_of(kind: Kind, owner: nn.Module | None, given: Layout) -> Layout:
    """Where the units of a tensor stand."""
    if isinstance(owner, _ConvTransposeNd):
        return "transposed"
    # transformers' Conv1D is a dense layer that keeps its weight [in, out]
    by_inputs = owner is not None and type(owner).__name__ == "Conv1D"
    return "IO" if kind == "embedding" or by_inputs else given


def is_last_layer(layer: str) -> bool:
    """Whether a last dense layer of this path is the head, not the end of a block."""
    return layer.count(".") < _HEAD_DEPTH
