"""Axis letters, tensor types and the values that pass between rooms.

R replica, N example, B example of a batch, I fan-in, O fan-out, K class, L layer,
T recorded step, M bin, Q quantile: suffixes inside the arithmetic (`w_RIO`).

torch is named for type checkers only: rooms without it import this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor
else:
    Tensor = Any

Array = np.ndarray[Any, np.dtype[Any]]

OUTPUT = "output"


def layer_names(num_hidden: int) -> list[str]:
    """`hidden1`, `hidden2`, ..., `output`: the layers of a dense network."""
    return [f"hidden{i}" for i in range(1, num_hidden + 1)] + [OUTPUT]


@dataclass(frozen=True)
class Dataset:
    """A data set as stored, with the affine map that its preprocessing asks for.

    What the network sees is `(x / full_scale - mean) / std`, with x already inverted
    when the preprocessing is `inverted`.
    """

    name: str
    x_train: Array  # [N, I] uint8
    y_train: Array  # [N] int64, in 0 ... num_classes - 1
    x_test: Array  # [N, I] uint8
    y_test: Array  # [N] int64
    num_classes: int
    image_shape: tuple[int, ...]  # (height, width); flat pixels are channel by channel
    full_scale: int  # the pixel value that becomes 1: 255, digits 16
    mean: float = 0.0  # subtracted after division by the full scale
    std: float = 1.0  # divided by at the end
    checksum: str = ""  # sha256 of all pixels and labels as given here

    @property
    def num_inputs(self) -> int:
        """Numbers of one example, the fan-in of a first dense layer."""
        return int(self.x_train.shape[1])

    @property
    def num_channels(self) -> int:
        """Colours: 1 or 3."""
        return self.num_inputs // math.prod(self.image_shape)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Channels, height and width of one example, as a convolution takes it."""
        return (self.num_channels, *self.image_shape)


@dataclass(frozen=True)
class Layer:
    """Weights and biases of one layer for all replicas.

    A convolution is the matrix of its patches: I counts (channel, row, column of the
    kernel), the last the fastest, and O the channels that it makes.
    """

    w: Tensor  # [R, I, O]; may be a strided view
    b: Tensor  # [R, O]
    scale: Tensor | None = None  # [R]; trained, of the residual branch that ends here


@dataclass(frozen=True)
class Weights:
    """A configuration of a stack: `weights["hidden1"].w` has the shape [R, I, O]."""

    layers: Mapping[str, Layer]  # in the order of the forward pass

    def __getitem__(self, name: str) -> Layer:
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def items(self) -> Iterator[tuple[str, Layer]]:
        """Pairs of layer name and layer, in the order of the forward pass."""
        return iter(self.layers.items())

    @property
    def num_replicas(self) -> int:
        """The size of the stack, R."""
        return int(next(iter(self.layers.values())).b.shape[0])

    def rows(self, rows: slice) -> Weights:
        """Those of some replicas, in the same memory."""
        return Weights(
            {
                name: Layer(
                    layer.w[rows],
                    layer.b[rows],
                    None if layer.scale is None else layer.scale[rows],
                )
                for name, layer in self.layers.items()
            }
        )

    def clone(self) -> Weights:
        """A copy that owns its contiguous tensors."""
        return Weights(
            {
                name: Layer(
                    layer.w.detach().clone(),
                    layer.b.detach().clone(),
                    None if layer.scale is None else layer.scale.detach().clone(),
                )
                for name, layer in self.layers.items()
            }
        )


Role = Literal["weight", "bias", "gain", "vector", "scalar", "buffer"]
Kind = Literal[
    "embedding", "attention", "mlp", "convolution", "recurrent", "norm", "head",
    "bias", "other",
]  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """What a process has of a tensor that lies in several: its place in the whole."""

    shape: tuple[int, ...]  # of the whole tensor
    groups: tuple[Any, ...]  # process groups of torch, over each of which it is split


@dataclass(frozen=True)
class Parameter:
    """One tensor of all replicas, as its framework keeps it, and what it is.

    `layout` says where units stand: `OI` is torch's [O, I, *kernel], `IO` that of
    Keras, JAX and embeddings, [*kernel, I, O], `transposed` a transposed convolution's
    [I, O, *kernel]. A vector or a scalar has none.
    """

    values: Tensor  # [R, *shape]; of a shard, what this process has of it
    layer: str = ""  # dotted path of the module that owns it; empty for the root
    role: Role = "weight"
    kind: Kind = "other"  # of its layer; `bias` for biases, unless they are a norm's
    layout: Literal["OI", "IO", "transposed"] = "OI"
    aliases: tuple[str, ...] = ()  # other names of the same tensor
    shard: Shard | None = None  # None where it lies in this process whole

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one replica, all its shards together."""
        return self.shard.shape if self.shard else tuple(self.values.shape[1:])

    @property
    def size(self) -> int:
        """Numbers of one replica."""
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """Numbers that enter one unit; 1 for vectors and scalars."""
        return self.size // self.num_units if len(self.shape) > 1 else 1

    @property
    def num_units(self) -> int:
        """Size of the axis of units; the length of a vector."""
        if not self.shape:
            return 1
        axis = {"OI": 0, "IO": -1, "transposed": 1}[self.layout]
        return self.shape[axis if len(self.shape) > 1 else 0]

    @property
    def matrix(self) -> Tensor:
        """[R, I, O], a vector [R, O], a scalar [R, 1]; a view wherever one will do."""
        values = self.values
        if values.ndim <= 2:
            return values.reshape(len(values), -1)
        if self.layout == "IO":
            by_input = values.movedim(-2, 1)
            return by_input.reshape(len(values), -1, values.shape[-1])
        if self.layout == "transposed":
            values = values.transpose(1, 2)
        return values.flatten(2).mT


@dataclass(frozen=True)
class Parameters(Mapping[str, Parameter]):
    """Tensors of any network by name, in the order of its own."""

    tensors: Mapping[str, Parameter]

    def __getitem__(self, name: str) -> Parameter:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def num_replicas(self) -> int:
        """The size of the stack, R; 1 for a single model."""
        return int(next(iter(self.tensors.values())).values.shape[0])

    def clone(self) -> Parameters:
        """A copy that owns its tensors."""
        return Parameters(
            {
                name: replace(one, values=one.values.detach().clone())
                for name, one in self.tensors.items()
            }
        )


@dataclass(frozen=True)
class Mark:
    """Weights that were changed in the initial configuration, and how."""

    layer: str
    mask_IO: Array  # [I, O] bool: True under the mark
    mode: Literal["zero", "scale", "shift"]
    value: float  # the factor or the shift; 0 for `zero`


@dataclass(frozen=True)
class EpochMetrics:
    """Losses and counts of one epoch, one number a replica.

    Training metrics are means (or counts) over the examples as they were visited in
    the epoch that ends here, and NaN (or 0) at epoch 0, where none was visited.
    """

    epoch: int
    step: int  # optimizer steps made so far
    train_loss: Array  # [R]
    test_loss: Array  # [R], with the weights at the end of the epoch
    train_accuracy: Array  # [R] in 0 ... 1
    test_accuracy: Array  # [R] in 0 ... 1
    below_eps: Array  # [R] examples whose true class had a probability below eps
    saturated: Array  # [R] ... above 1 - eps
    abandoned: Array  # [R] below_eps under the clipped loss, 0 under any other
    nonfinite_step: Array  # [R] step at which NaN or Inf froze the replica, else -1
    # the whole training set with the weights at the end of a recorded epoch, when asked
    # (record.evaluate_train); otherwise NaN
    train_loss_evaluated: Array  # [R]
    train_accuracy_evaluated: Array  # [R]


@dataclass(frozen=True)
class StepMetrics:
    """Whatever was noted at one step; the names are free."""

    step: int  # optimizer steps made so far
    values: Mapping[str, Array]  # [R] each
    epoch: int | None = None  # epochs finished, where there are any


@dataclass(frozen=True)
class Snapshot:
    """What the engine yields at a recorded step; it owns its arrays."""

    weights: Weights
    metrics: EpochMetrics
    # every epoch since the snapshot before this one, this one's last
    history: tuple[EpochMetrics, ...] = field(default=(), repr=False)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.metrics.epoch

    @property
    def step(self) -> int:
        """Optimizer steps made."""
        return self.metrics.step

    def __getattr__(self, name: str) -> Array:
        """`snapshot.train_loss` is `snapshot.metrics.train_loss`, for each metric."""
        if name.startswith("_") or name == "metrics":
            raise AttributeError(name)
        return getattr(self.metrics, name)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Finding:
    """One thing found, in plain words, with its number and where it comes from."""

    what: str  # one sentence, the number and its interval in it
    why: str  # why it matters
    how: str  # statistic, threshold, n
    source: str = ""  # paper and equation or figure
    # info and good state a result; note, warning and error ask for something
    level: Literal["info", "good", "note", "warning", "error"] = "info"
    values: Mapping[str, float] = field(default_factory=dict)  # for programs
    name: str = ""  # which kind of finding, for programs
    where: tuple[str, ...] = ()  # names of layers or tensors
    advice: str = ""  # what to do
    details: str = ""  # the same number by value of an axis, with intervals and n
    figure: str = ""  # kind of the figure that shows it
