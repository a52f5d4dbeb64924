"""The tables of a spec: frozen, typed, with the paper's protocol as defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from birthmark.shapes import layer_names
from birthmark.spec.files import checksum_file

# Bounds far beyond any use, within which nothing overflows: counts and seeds are 64-bit
# numbers in files, and every epoch of a run may have to be listed.
LARGEST, SMALLEST = 1e30, 1e-30
MOST = 2**63 - 1
MOST_EPOCHS = 10_000_000

Epochs = Literal["every", "log"] | tuple[Annotated[int, Field(ge=0)], ...]


def _in_range(value: float) -> float:
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise ValueError(f"must be 0 or lie between {SMALLEST:g} and {LARGEST:g}")
    return value


Number = Annotated[float, AfterValidator(_in_range)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=MOST)]
EpochCount = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]


class _Part(BaseModel):
    """A table of the spec."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: object) -> object:
        # TOML and JSON know only lists, and a strict field wants the tuple itself
        return tuple(value) if isinstance(value, list) else value


class DataSpec(_Part):
    """Which examples, and how their pixels enter."""

    name: str
    """A data set by name; `birthmark data list` has them."""
    preprocessing: Literal["unit", "inverted", "standardized"] = "unit"
    """How pixels enter: as stored over the full scale, inverted, or with the mean and
    standard deviation of the training set removed.
    """
    fold: Annotated[int, Field(ge=1, le=10)] = 1
    """Which of HASYv2's ten folds is the test set; only HASYv2 has them."""
    classes: Annotated[int, Field(ge=2)] | None = None
    """The first so many classes; all of them unless given."""
    examples_per_class: Count | None = None
    """The first so many training examples of each class; all unless given."""


class NetworkSpec(_Part):
    """A dense or convolutional network; its inputs and outputs follow from the data.

    The hidden layers are followed by one dense output layer; a convolutional network
    gives it the mean of each channel over all places. Residual networks have skips
    around blocks of layers, behind the first layer, in the form of He et al.
    1603.05027: the activation comes before the layer, and nothing after the sum.
    """

    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (256, 256)
    """Units (dense) or channels (convolutional) of each hidden layer, any depth."""
    activation: Literal["relu", "tanh", "gelu", "sigmoid", "identity"] = "relu"
    """Behind each hidden layer."""
    kind: Literal["dense", "convolutional"] = "dense"
    """Dense, or convolutional with one dense output layer."""
    kernel: Count = 3
    """Side of a convolution's kernel, odd; maps keep their size, beyond the edge there
    are zeros.
    """
    downsample: tuple[Count, ...] = ()
    """Numbers of hidden layers with stride 2, from 1."""
    residual: Literal["none", "identity"] = "none"
    """Whether there are skips around blocks of layers, behind the first layer."""
    block: Count = 2
    """Layers in a residual branch."""
    branch_scale: NotNegative = 1.0
    """What each branch is multiplied by before the sum."""
    train_scales: bool = False
    """Whether that factor is trained, one scalar a branch."""
    dropout: Share = 0.0
    """Share of the activations of hidden layers that is dropped in training."""

    @property
    def layer_names(self) -> list[str]:
        """`hidden1`, ..., `output`."""
        return layer_names(len(self.widths))

    @property
    def is_convolutional(self) -> bool:
        """Whether the hidden layers are convolutions."""
        return self.kind == "convolutional"

    @property
    def is_plain(self) -> bool:
        """Whether it is a chain of dense layers, without skips and without dropout."""
        return self.kind == "dense" and self.residual == "none" and not self.dropout

    @property
    def branch_ends(self) -> tuple[str, ...]:
        """The hidden layers behind which a branch joins its skip."""
        if self.residual == "none":
            return ()
        return tuple(self.layer_names[self.block : len(self.widths) : self.block])

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        depth = len(self.widths)
        if self.kind == "dense":
            for key in ("kernel", "downsample"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{key} belongs to kind 'convolutional'")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if list(self.downsample) != sorted({*self.downsample} & {*range(1, depth + 1)}):
            raise ValueError(
                f"downsample must name hidden layers from 1 to {depth} in order"
            )
        if self.residual == "none":
            for key in ("block", "branch_scale", "train_scales"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{key} belongs to residual 'identity'")
            return self
        if depth == 1 or (depth - 1) % self.block:
            raise ValueError(
                f"a residual network has one hidden layer and then blocks of "
                f"{self.block}: {depth} widths do not go up"
            )
        ends = self.widths[:: self.block]
        if list(ends) != sorted(ends):
            raise ValueError("widths must not shrink across a skip")
        return self


class MarkSpec(_Part):
    """A text or an image to be drawn into the weights of one layer."""

    text: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Drawn in DejaVu Sans, as large as the matrix allows."""
    image: str | None = None
    """A picture instead of a text; its dark pixels are the mark."""
    image_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Checksum of the picture, taken when the spec is made: it is part of the run key,
    so that a changed picture is another run.
    """
    layer: str = "hidden2"
    """Whose weights are marked."""
    mode: Literal["zero", "scale", "shift"] = "zero"
    """Marked weights become zero, are multiplied by `value`, or have `value` added."""
    value: Number | None = None
    """Of `scale` and `shift`."""

    @model_validator(mode="before")
    @classmethod
    def _take_checksum(cls, fields: Any) -> Any:
        given = isinstance(fields, Mapping) and isinstance(fields.get("image"), str)
        if not given or fields.get("image_sha256"):
            return fields
        return {**fields, "image_sha256": checksum_file("image", fields["image"])}

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("give one of text and image")
        if self.mode == "zero" and self.value is not None:
            raise ValueError("mode 'zero' takes no value; leave it out")
        if self.mode != "zero" and self.value is None:
            raise ValueError(f"mode {self.mode!r} needs a value")
        return self


class ScheduleSpec(_Part):
    """How the learning rate goes on from `lr`, step by step."""

    name: Literal["constant", "step", "cosine", "warmup"] = "constant"
    """Constant, cut every `epochs`, half a cosine down to `floor`, or a linear rise
    over `epochs`.
    """
    epochs: EpochCount | None = (
        None  # step: between two cuts; warmup: until lr is reached
    )
    """Of `step`, between two cuts; of `warmup`, until lr is reached."""
    factor: Positive = 0.1
    """Of `step`: lr is multiplied by it at each cut."""
    floor: NotNegative = 0.0
    """Of `cosine`: the share of lr at the end."""

    @model_validator(mode="after")
    def _has_epochs(self) -> Self:
        if (self.name in ("step", "warmup")) != (self.epochs is not None):
            verb = "takes no" if self.epochs is not None else "needs"
            raise ValueError(f"schedule {self.name!r} {verb} epochs")
        return self


class TrainingSpec(_Part):
    """Loss, optimizer, and the way through the data."""

    loss: str = "clipped_cross_entropy"
    """Mean over the batch; the clipped one clips probabilities as Keras does."""
    eps: Annotated[float, Field(gt=0, lt=0.5)] = 1e-7
    """Where the clipped loss clips probabilities."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """As in `torch.optim`."""
    lr: Positive = 0.1
    """Learning rate."""
    momentum: Share = 0.0
    """Of SGD."""
    nesterov: bool = False
    """Of SGD with momentum."""
    weight_decay: NotNegative = 0.0
    """L2 penalty, as torch adds it to the gradient."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Of Adam."""
    adam_eps: Positive = 1e-8
    """Of Adam, beside the root of the second moment."""
    batch_size: Count = 128
    """Examples a step; the last batch of an epoch may be smaller."""
    epochs: EpochCount = 1000
    """Passes through the training examples."""
    batch_order: Literal["independent", "shared"] = "independent"
    """Whether each replica has an order of its own, or all share one."""
    shuffle_buffer: Count | None = None
    """Of a stream in one order for all epochs, shuffled as `tf.data` does; without it,
    each epoch has an order of its own.
    """
    schedule: ScheduleSpec = ScheduleSpec()
    """How lr changes: the table `[training.schedule]`."""

    @property
    def is_plain_sgd(self) -> bool:
        """Whether a step is -lr times the gradient, and nothing else."""
        return self.optimizer == "sgd" and not (self.momentum or self.weight_decay)

    @model_validator(mode="after")
    def _fits_the_optimizer(self) -> Self:
        if self.optimizer == "adam" and (self.momentum or self.nesterov):
            raise ValueError("momentum and nesterov belong to optimizer 'sgd'")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class ReplicasSpec(_Part):
    """How many replicas, from which seed, on which machine: the table [run]."""

    replicas: Count = 10
    """Networks trained side by side, each with its own start and order."""
    seed: Annotated[int, Field(ge=0, le=MOST)] = 0
    """From which all random streams of the run follow."""
    order_seed: Annotated[int, Field(ge=0, le=MOST)] | None = None
    """Of the orders of batches alone; without it, they follow from the seed."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of weights and arithmetic."""
    precision: Literal["full", "tf32", "bf16"] = "full"
    """Of products: full, or quicker with fewer bits where the device has them."""
    device: Annotated[str, Field(pattern=r"^[a-z]+(:\d+)?$")] = "auto"
    """`cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU where there is one."""


class RecordSpec(_Part):
    """What to record, and when; epoch 0 and the last are always in each list."""

    epochs: Epochs = "every"
    """When scalars are measured: `every`, `log`, or a list; 0 and the last are always
    in.
    """
    distributions: Epochs = "log"
    """When arrays with a bin axis and spectra are, likewise."""
    weights: Epochs = ()
    """When the weights themselves are kept, likewise; never unless asked."""
    weights_layers: tuple[str, ...] = ()
    """Of which layers; none named means all."""
    evaluate_train: bool = False
    """Whether losses over the whole training set are recorded there as well."""


def expand_epochs(epochs: Epochs, last: int) -> list[int]:
    """The epochs that `every`, `log` or a list mean; 0 and the last are always in.

    `log` gives about 60 of 1000 epochs: each one at first, then ever rarer.
    """
    if epochs == "every":
        return list(range(last + 1))
    if epochs == "log":
        spaced = np.geomspace(1, last, num=max(2, round(24 * math.log10(last + 1))))
        return sorted({0, *np.rint(spaced).astype(int).tolist()})
    return sorted({0, last, *(int(epoch) for epoch in epochs)})
