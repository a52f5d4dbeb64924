"""The initial configuration: weights and biases drawn for a stack, mark included."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from birthmark.errors import SpecError
from birthmark.network.initializations import find_law
from birthmark.network.laws import Law, Orthogonal
from birthmark.network.marks import apply_mark, draw_mark
from birthmark.seeds import stream
from birthmark.shapes import Layer, Mark, Weights
from birthmark.spec import RunSpec


def find_laws(
    spec: RunSpec, num_inputs: int, num_classes: int
) -> dict[str, tuple[Law, Law, int, int]]:
    """By layer: laws of weights and of biases, fan-in, fan-out.

    Raises:
        SpecError: A rule is unknown, or does not fit.
    """
    sizes = [num_inputs, *spec.network.widths, num_classes]
    laws = {}
    for name, (fan_in, fan_out) in zip(
        spec.network.layer_names, pairwise(sizes), strict=True
    ):
        rule, bias_rule = spec.initialization.rules_of(name)
        bias_law = find_law(bias_rule, fan_in, fan_out)
        if isinstance(bias_law, Orthogonal):
            raise SpecError(f"{name}: biases are vectors and cannot be orthogonal")
        laws[name] = (find_law(rule, fan_in, fan_out), bias_law, fan_in, fan_out)
    return laws


def find_bounds(
    spec: RunSpec, num_inputs: int, num_classes: int
) -> dict[str, tuple[float, float]]:
    """By layer: half-widths of the laws of weights and biases, never 0.

    They scale the axes of histograms, so they follow from the spec alone, not from the
    draw. Where all is zero, the bound of `torch_default` stands in.
    """
    laws = find_laws(spec, num_inputs, num_classes)
    return {
        name: (law.bound or fan_in**-0.5, bias_law.bound or fan_in**-0.5)
        for name, (law, bias_law, fan_in, _) in laws.items()
    }


def find_mark(spec: RunSpec, num_inputs: int, num_classes: int) -> Mark | None:
    """The mark that the spec asks for, drawn to the size of its layer."""
    if spec.mark is None:
        return None
    _, _, fan_in, fan_out = find_laws(spec, num_inputs, num_classes)[spec.mark.layer]
    return draw_mark(spec.mark, fan_in, fan_out)


def draw_weights(
    spec: RunSpec,
    num_inputs: int,
    num_classes: int,
    *,
    replicas: Sequence[int],
    device: str = "cpu",
) -> Weights:
    """The initial configuration of the replicas with these numbers.

    Each tensor of each replica has a random stream of its own, so the mark, the other
    layers and the other replicas change nothing about its numbers.
    """
    dtype = getattr(torch, spec.run.dtype)
    mark = find_mark(spec, num_inputs, num_classes)
    layers = {}
    for name, (law, bias_law, fan_in, fan_out) in find_laws(
        spec, num_inputs, num_classes
    ).items():
        w_RIO = torch.empty(len(replicas), fan_in, fan_out, dtype=dtype)
        b_RO = torch.empty(len(replicas), fan_out, dtype=dtype)
        for row, replica in enumerate(replicas):
            w_stream = stream(spec.run.seed, replica, "initial", f"{name}.w")
            b_stream = stream(spec.run.seed, replica, "initial", f"{name}.b")
            w_IO = law.draw(w_stream, (fan_in, fan_out))
            if mark is not None and mark.layer == name:
                w_IO = apply_mark(mark, w_IO)
            w_RIO[row] = torch.from_numpy(w_IO)
            b_RO[row] = torch.from_numpy(bias_law.draw(b_stream, (fan_out,)))
        layers[name] = Layer(w_RIO.to(device), b_RO.to(device))
    return Weights(layers)
