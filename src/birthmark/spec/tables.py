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
    preprocessing: Literal["unit", "inverted", "standardized"] = "unit"
    fold: Annotated[int, Field(ge=1, le=10)] = 1
    classes: Annotated[int, Field(ge=2)] | None = None
    examples_per_class: Count | None = None


class NetworkSpec(_Part):
    """A dense or convolutional network; its inputs and outputs follow from the data.

    The hidden layers are followed by one dense output layer; a convolutional network
    gives it the mean of each channel over all places. Residual networks have skips
    around blocks of layers, behind the first layer, in the form of He et al.
    1603.05027: the activation comes before the layer, and nothing after the sum.
    """

    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (256, 256)
    activation: Literal["relu", "tanh", "gelu", "sigmoid", "identity"] = "relu"
    kind: Literal["dense", "convolutional"] = "dense"  # widths are units or channels
    kernel: Count = 3  # odd; maps keep their size, beyond the edge there are zeros
    downsample: tuple[Count, ...] = ()  # numbers of hidden layers with stride 2, from 1
    residual: Literal["none", "identity"] = "none"
    block: Count = 2  # layers in a branch
    branch_scale: NotNegative = 1.0  # what each branch is multiplied by before the sum
    train_scales: bool = False  # whether it is trained, one scalar a branch
    dropout: Share = 0.0  # share of the activations of hidden layers, in training

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
    image: str | None = None
    # part of the run key, so that a changed picture is another run
    image_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    layer: str = "hidden2"
    mode: Literal["zero", "scale", "shift"] = "zero"
    value: Number | None = None

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
    epochs: EpochCount | None = (
        None  # step: between two cuts; warmup: until lr is reached
    )
    factor: Positive = 0.1  # step: lr is multiplied by it at each cut
    floor: NotNegative = 0.0  # cosine: the share of lr at the end

    @model_validator(mode="after")
    def _has_epochs(self) -> Self:
        if (self.name in ("step", "warmup")) != (self.epochs is not None):
            verb = "takes no" if self.epochs is not None else "needs"
            raise ValueError(f"schedule {self.name!r} {verb} epochs")
        return self


class TrainingSpec(_Part):
    """Loss, optimizer, and the way through the data."""

    loss: str = "clipped_cross_entropy"
    eps: Annotated[float, Field(gt=0, lt=0.5)] = 1e-7
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Positive = 0.1
    momentum: Share = 0.0
    nesterov: bool = False
    weight_decay: NotNegative = 0.0
    betas: tuple[Share, Share] = (0.9, 0.999)
    adam_eps: Positive = 1e-8
    batch_size: Count = 128
    epochs: EpochCount = 1000
    batch_order: Literal["independent", "shared"] = "independent"
    # of a stream in one order for all epochs; without it, each has an order of its own
    shuffle_buffer: Count | None = None
    schedule: ScheduleSpec = ScheduleSpec()

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
    seed: Annotated[int, Field(ge=0, le=MOST)] = 0
    # of the orders of batches alone; without it, they follow from the seed
    order_seed: Annotated[int, Field(ge=0, le=MOST)] | None = None
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["full", "tf32", "bf16"] = "full"
    device: Annotated[str, Field(pattern=r"^[a-z]+(:\d+)?$")] = "auto"


class RecordSpec(_Part):
    """What to record, and when; epoch 0 and the last are always in each list."""

    epochs: Epochs = "every"
    distributions: Epochs = "log"
    weights: Epochs = ()
    weights_layers: tuple[str, ...] = ()  # of which layers; none named means all
    evaluate_train: bool = False  # losses over the whole training set there as well


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
