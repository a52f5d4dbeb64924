"""The initial configuration: weights and biases drawn for a stack, mark included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from birthmark.errors import SpecError
from birthmark.marks import apply_mark, draw_mark
from birthmark.network.chain import Chain
from birthmark.network.dense import gather_layers, name_parameters
from birthmark.network.initializations import (
    DATA_DEPENDENT,
    Target,
    adjust_,
    find_law_for,
    plan,
)
from birthmark.network.laws import Law
from birthmark.network.parametrized import find_scalings
from birthmark.network.sequential import to_module, write_module
from birthmark.seeds import stream
from birthmark.shapes import OUTPUT, Array, Layer, Mark, Weights
from birthmark.spec import RunSpec, match_pattern

_BATCH_EXAMPLES = 1024  # of the training set, where a rule does not say how many


@dataclass(frozen=True)
class LayerLaws:
    """What the weights and biases of one layer are drawn from."""

    weights: Law
    biases: Law
    target: Target  # of the weights: [*kernel, I, O]

    @property
    def fan_in(self) -> int:
        """Rows of the layer's matrix: what enters one unit."""
        return self.target.fan_in

    @property
    def num_out(self) -> int:
        """Columns of the layer's matrix: units, or channels."""
        return self.target.num_out


def find_laws(
    spec: RunSpec,
    num_inputs: int,
    num_classes: int,
    *,
    num_channels: int = 1,
    replica: int = 0,
) -> dict[str, LayerLaws]:
    """By layer: the laws of weights and of biases.

    Rules that look at a batch have the law of their start. The replica counts only
    where a file has a replica axis.

    Args:
        spec: Whose network and initialization.
        num_inputs: Pixels of an example.
        num_classes: Units of the output layer.
        num_channels: Colours of an example, for convolutions.
        replica: Its number.

    Raises:
        SpecError: A rule is unknown, or does not fit.
    """
    network, laws = spec.network, {}
    kernel = (network.kernel,) * 2 if network.is_convolutional else ()
    first = num_channels if network.is_convolutional else num_inputs
    sizes = [first, *network.widths, num_classes]
    scalings = find_scalings(spec, num_inputs, num_classes)
    for name, (num_in, num_out) in zip(
        network.layer_names, pairwise(sizes), strict=True
    ):
        rule, bias_rule = spec.initialization.rules_of(name)
        if rule is spec.initialization and batch_examples(spec):
            rule = plan(rule).start
        shape = (num_in, num_out, () if name == OUTPUT else kernel)
        weights = Target(*shape, f"{name}.w", replica)
        biases = Target(*shape, f"{name}.b", replica, is_vector=True)
        law = scalings[name].law if scalings else find_law_for(rule, weights)
        laws[name] = LayerLaws(law, find_law_for(bias_rule, biases), weights)
    return laws


def find_bounds(
    spec: RunSpec, num_inputs: int, num_classes: int, *, num_channels: int = 1
) -> dict[str, tuple[float, float]]:
    """By layer: half-widths of the laws of weights and biases, never 0.

    They scale the axes of histograms, so they follow from the spec alone, not from the
    draw. Where all is zero, the bound of `torch_default` stands in.
    """
    laws = find_laws(spec, num_inputs, num_classes, num_channels=num_channels)
    return {
        name: (
            layer.weights.bound or layer.fan_in**-0.5,
            layer.biases.bound or layer.fan_in**-0.5,
        )
        for name, layer in laws.items()
    }


def find_mark(
    spec: RunSpec, num_inputs: int, num_classes: int, *, num_channels: int = 1
) -> Mark | None:
    """The mark that the spec asks for, drawn to the size of its layer's matrix."""
    if spec.mark is None:
        return None
    laws = find_laws(spec, num_inputs, num_classes, num_channels=num_channels)
    layer = laws[spec.mark.layer]
    return draw_mark(spec.mark, layer.fan_in, layer.num_out)


def batch_examples(spec: RunSpec) -> int:
    """How many training examples `draw_weights` wants to look at; 0 for most rules."""
    if spec.initialization.name not in DATA_DEPENDENT:
        return 0
    return plan(spec.initialization).examples or _BATCH_EXAMPLES


def draw_weights(
    spec: RunSpec,
    num_inputs: int,
    num_classes: int,
    *,
    replicas: Sequence[int],
    image_shape: tuple[int, ...] = (),
    device: str = "cpu",
    batch: tuple[Tensor, Tensor] | None = None,
) -> Weights:
    """The initial configuration of the replicas with these numbers.

    Each tensor of each replica has a random stream of its own, so the mark, the other
    layers and the other replicas change nothing about its numbers.

    Args:
        spec: What to draw.
        num_inputs: Pixels of an example.
        num_classes: Units of the output layer.
        replicas: Their numbers in the run.
        image_shape: Channels, height and width of an example, for convolutions.
        device: Where the weights go; they are drawn and adjusted on the host.
        batch: Training examples as the network sees them, x [B, I] and y [B], for rules
            that look at one (`batch_examples`); all replicas see the same.

    Raises:
        SpecError: A rule does not fit, or the batch it needs is missing.
        WeightsError: The batch does not do for the rule.
    """
    if batch_examples(spec) and batch is None:
        raise SpecError(
            f"initialization {spec.initialization.name!r} looks at training examples: "
            "its weights follow from spec and data together"
        )
    chain = Chain(spec.network, image_shape)
    sizes: dict[str, int] = {"num_inputs": num_inputs, "num_classes": num_classes}
    if spec.network.is_convolutional:
        sizes["num_channels"] = image_shape[0]
    mark = find_mark(spec, **sizes)
    dtype, count = getattr(torch, spec.run.dtype), len(replicas)
    layers = {
        name: Layer(
            torch.empty(count, laws.fan_in, laws.num_out, dtype=dtype),
            torch.empty(count, laws.num_out, dtype=dtype),
            _branch_scale(spec, name, count, dtype),
        )
        for name, laws in find_laws(spec, **sizes).items()
    }
    for row, replica in enumerate(replicas):
        one = _draw_replica(spec, find_laws(spec, **sizes, replica=replica), replica)
        if batch is not None and batch_examples(spec):
            _adjust(spec, one, batch, chain)
        for name, layer in one.items():
            w_IO = layer.w[0].numpy()
            if mark is not None and mark.layer == name:
                w_IO = apply_mark(mark, w_IO)
            layers[name].w[row] = torch.from_numpy(w_IO)
            layers[name].b[row] = layer.b[0]
    return gather_layers(
        {
            name: value.to(device)
            for name, value in name_parameters(Weights(layers)).items()
        }
    )


def to_matrix(w: Array) -> Array:
    """A kernel [*kernel, I, O] as the matrix of its patches, as `Layer` has it.

    The rows are those of torch's `weight.flatten(1).T`. A matrix stays what it is.
    """
    return np.moveaxis(w, -2, 0).reshape(-1, w.shape[-1])


def _branch_scale(
    spec: RunSpec, name: str, count: int, dtype: torch.dtype
) -> Tensor | None:
    network = spec.network
    if not network.train_scales or name not in network.branch_ends:
        return None
    return torch.full((count,), network.branch_scale, dtype=dtype)


def _draw_replica(
    spec: RunSpec, laws: Mapping[str, LayerLaws], replica: int
) -> Weights:
    """A stack of one, in float64, so that the run's dtype rounds what was adjusted."""

    def draw(tensor: str, law: Law, shape: tuple[int, ...]) -> Array:
        return law.draw(stream(spec.run.seed, replica, "initial", tensor), shape)

    def draw_layer(name: str, layer: LayerLaws) -> Layer:
        w_IO = to_matrix(draw(f"{name}.w", layer.weights, layer.target.shape))
        b_O = draw(f"{name}.b", layer.biases, (layer.num_out,))
        return Layer(
            torch.from_numpy(w_IO)[None],
            torch.from_numpy(b_O)[None],
            _branch_scale(spec, name, 1, torch.float64),
        )

    return Weights({name: draw_layer(name, layer) for name, layer in laws.items()})


def _adjust(
    spec: RunSpec, one: Weights, batch: tuple[Tensor, Tensor], chain: Chain
) -> None:
    """Adjust a replica to the batch; layers with a rule of their own stay."""
    rule = spec.initialization
    module = to_module(one, chain)
    x, y = batch
    adjust_(
        module,
        rule.name,
        plan(rule).parameters,
        batch=(x.to("cpu", torch.float64), y.to("cpu")),
        names={
            f"{name}.weight" for name in one if match_pattern(name, rule.layers) is None
        },
    )
    write_module(module, one)
