"""What a check-up reads: one row a layer, one row a tensor, the outcome, findings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from birthmark.checkup import texts
from birthmark.checkup.depth_plot import draw_depth
from birthmark.shapes import Finding

LEVELS = ("note", "warning", "error")  # of a check-up's findings, in rising order


@dataclass(frozen=True)
class LayerReading:
    """One layer on the batch, before the first step.

    Moments are means over examples, positions and units. Gradients are those of one
    example's loss, averaged over examples: they do not depend on the batch size.
    None means not read; `unread` says why where a reader would expect a number.
    """

    name: str  # dotted path in the model
    kind: str  # class of the module
    role: str  # dense, conv, norm, embedding, recurrent, attention or other
    shape: tuple[int, ...]  # of the output for one example
    num_units: int | None  # features or channels
    input: float | None  # second moment of what comes in
    forward: float  # second moment of what goes out
    forward_predicted: float | None
    backward: float | None  # second moment of the loss gradient by the output
    backward_predicted: float | None
    correlation: float | None  # cosine of two inputs' outputs, mean over pairs
    correlation_predicted: float | None
    distortion: float | None  # std over mean of distance out / distance in, over pairs
    neighbours: float | None  # share of nearest neighbours kept, in 0 ... 1
    activation: str  # what follows: relu, tanh, ...; '' when nothing known does
    dead: float | None  # share of units that are silent on the whole batch
    dead_expected: float | None  # ... of fresh symmetric units on the same input
    half_dead: float | None  # share of units active on less than 1 % of the batch
    saturated: float | None  # share of outputs with less than 1 % of the largest slope
    zero_gradient: float | None  # share of units whose gradient is exactly 0
    source: str  # the layer before, if only activations and pooling lie between
    nonfinite: int  # NaN and Inf among the outputs
    followed_by_norm: bool
    unread: str  # why there is no prediction

    @property
    def size(self) -> int:
        """Numbers that come out for one example."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class TensorReading:
    """One parameter as it stands before the first step."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str  # weight, bias, scale, embedding or other
    layer: str  # the module that holds it
    layer_kind: str
    fan_in: int | None
    fan_out: int | None
    trainable: bool
    mean: float
    std: float
    near_zero: float  # share below 1 % of the root mean square
    nonfinite: int
    family: str  # constant, uniform, normal, truncated_normal, orthogonal, ... or ''
    law: str  # in words, with its numbers
    rules: tuple[str, ...]  # names of the library that fit, the likeliest first
    is_default: bool | None  # as torch draws it for this kind of layer
    shares_draw_with: tuple[str, ...]
    rank: int | None
    condition: float | None  # largest over smallest singular value
    nullity: int | None  # dimension of the null space of W (inputs that vanish)
    nullity_transposed: int | None  # ... of W^T (outputs that are never reached)
    distinct_units: int | None
    num_units: int | None
    distinct_gradients: int | None
    distinct_jointly: int | None  # units that differ in their weights or their gradient
    gradient: float | None  # root mean square; None: no path to the loss
    gradient_flushed: float | None  # share exactly 0 or below the smallest normal
    reach: float  # largest over median absolute value
    gates: tuple[float, ...]  # LSTM biases: means over input, forget, cell, output
    is_used: bool | None = None  # by an operation of the forward pass; None: not known
    first_use: int | None = None  # number of the operation that took it first
    is_upstream: bool = False  # the outputs are computed from it
    is_output: bool = False  # its products are the model's outputs
    is_inside: bool = False  # a matrix before the outputs too: tied to itself
    is_followed: bool = True  # gradients of its kind of tensor can be read here
    is_moot: bool = False  # it only decides over a single key: nothing, in this batch
    opens: bool = False  # it gets no gradient at first, and one after a few steps
    outliers: int = 0  # numbers far beyond the law of the others; std is without them
    denormal: float = 0.0  # share below the smallest normal number, without zeros
    update: float | None = None  # root mean square of the optimizer's first update
    is_optimized: bool | None = None  # whether the optimizer has it; None: none given

    @property
    def size(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Outcome:
    """What comes out of the model on the batch, and its loss."""

    loss: float | None = None
    loss_name: str = ""  # '' when no loss could be computed
    loss_expected: float | None = None  # ln C + (1 - 1/C) s^2 / 2
    loss_error: float | None = None  # standard error of the mean loss over examples
    logit_std: float | None = None  # s: over classes, root mean square over examples
    num_classes: int | None = None
    are_probabilities: bool = False  # outputs lie in [0, 1] and sum to 1
    loss_takes_logits: bool = False  # a constant added to the outputs is nothing
    clip: float | None = None  # eps below which there is no gradient; None: none
    nonfinite: int = 0  # NaN and Inf among the outputs
    constant: bool = False  # the outputs are the same for all inputs
    input_moment: float | None = None  # second moment of the inputs
    input_mean: float | None = None
    input_gap: float | None = None  # 1 - cosine of two inputs, mean over pairs
    inputs_differ: bool = True
    steps: int | None = None  # length of the sequences that recurrent layers see
    output_moment: float | None = None  # second moment of the outputs
    target_moment: float | None = None  # ... of a target of floating numbers
    num_labels: int | None = None  # different classes in the batch
    loss_of_equal: float | None = None  # the loss where all classes are alike: ln C


@dataclass(frozen=True)
class Curvature:
    """What only a deep check-up computes."""

    jacobian: Mapping[str, float] | None  # largest, smallest, mean, spread, condition
    sharpness: float | None  # largest eigenvalue of the Hessian of the loss
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attention:
    """The softmax of one attention, averaged over its queries."""

    tensors: tuple[str, ...]  # matrices of queries and keys
    largest: float  # mean of the largest probability
    entropy: float  # over ln(keys): 1 where all weigh the same, 0 where one has all
    spread: float  # standard deviation of the logits over keys
    keys: float  # mean number of keys


@dataclass(frozen=True)
class Circuits:
    """What the trace says about how tensors work together."""

    attention: tuple[Attention, ...] = ()
    linear_chains: tuple[tuple[str, ...], ...] = ()  # matrices with nothing between
    wide_chains: tuple[tuple[str, ...], ...] = ()  # those that widen between
    sums: tuple[tuple[str, float, str, float], ...] = ()  # two lookups, their moments
    # a table and what it is added to, with their moments
    positions: tuple[tuple[str, float, str, float], ...] = ()
    hidden: tuple[str, ...] = ()  # matrices whose scale a norm behind them hides
    squeezed: tuple[str, str] = ("", "")  # outputs: by what, and by what again
    unlikely: tuple[str, float] | None = None  # a likelihood, what its p add up to
    statistics: tuple[tuple[str, float], ...] = ()  # norm, ln(running / batch variance)
    radii: tuple[tuple[str, float, int], ...] = ()  # recurrent matrix, radius, steps
    equal_experts: tuple[str, ...] = ()
    unregistered: tuple[str, ...] = ()  # tensors that learn and are no parameters
    is_cut: bool = False  # the loss, or the outputs, depend on no parameter


@dataclass(frozen=True)
class CheckUp:
    """A model before its first step: readings by layer and by tensor, and findings."""

    model: str
    num_parameters: int
    num_examples: int
    training: bool  # the mode in which the model was given
    layers: tuple[LayerReading, ...]  # in the order of the forward pass
    tensors: tuple[TensorReading, ...]
    outcome: Outcome | None
    curvature: Curvature | None = None
    findings: tuple[Finding, ...] = ()
    unread: tuple[str, ...] = ()  # what could not be read, and why
    seconds: float = 0.0
    lr: float | None = None
    expected: Mapping[str, str] = field(default_factory=dict)
    circuits: Circuits = field(default_factory=Circuits)
    has_optimizer: bool = False

    def at_or_above(self, level: str) -> tuple[Finding, ...]:
        """Findings of this level (`note`, `warning`, `error`) or a graver one."""
        lowest = LEVELS.index(level)
        return tuple(f for f in self.findings if LEVELS.index(f.level) >= lowest)

    @property
    def verdict(self) -> str:
        """One line: whether it will train, what was read, and what was not."""
        return texts.say_verdict(self)

    def worst(self, count: int = 5) -> tuple[list[str], list[list[str]]]:
        """Header and rows: the layers and tensors that findings name, gravest first."""
        return texts.worst_table(self, count)

    def layer_table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows as text, one row a layer; `~` marks predictions."""
        return texts.layer_table(self)

    def tensor_table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows as text, one row a parameter."""
        return texts.tensor_table(self)

    def legends(self) -> Mapping[str, str]:
        """What each column of the tables says."""
        return texts.LEGEND

    def sentences(self) -> list[str]:
        """What was checked and what came out, in a few sentences."""
        return texts.summarize(self)

    def summary(self) -> str:
        """The verdict, the five worst rows, and where the rest is."""
        return texts.write_summary(self)

    def text(self) -> str:
        """The findings and the tables, as plain text."""
        return texts.write_text(self)

    def to_json(self) -> str:
        """All readings and findings as JSON; what is not finite becomes null."""
        return texts.write_json(self)

    def svg(self) -> str:
        """Signal and gradient by depth as a drawing; bad layers are marked."""
        return draw_depth(self)

    def _repr_html_(self) -> str:
        """As notebooks show it: the verdict, the drawing, the findings."""
        return texts.write_fragment(self)
