"""One draw for all frameworks: NumPy makes the numbers, frameworks take them.

A tensor's numbers depend on (rule, seed, replica, tensor name) alone. The streams are
those of a run: `draw("glorot_uniform", (784, 256), seed=0, tensor="hidden1.w")` is what
replica 0 of a run with seed 0 starts with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from birthmark.errors import SpecError
from birthmark.network.initializations.table import find_law_for
from birthmark.network.initializations.target import (
    Layout,
    Target,
    describe_target,
    to_layout,
)
from birthmark.network.laws import Law
from birthmark.seeds import stream
from birthmark.shapes import Array
from birthmark.spec import RuleSpec, make_rule

Rule = str | Mapping[str, Any] | RuleSpec


def draw(
    rule: Rule,
    shape: tuple[int, ...],
    *,
    tensor: str,
    seed: int = 0,
    replica: int = 0,
    layout: Layout = "IO",
    weights_shape: tuple[int, ...] | None = None,
    dtype: Any = np.float32,
) -> Array:
    """Draw one tensor.

    Args:
        rule: A name, or a table `{"name": "he_normal", "mode": "fan_out"}`.
        shape: As the layout says; one axis is a vector.
        tensor: Its name. Tensors of one name and seed have the same numbers.
        seed: Seed of the run.
        replica: Number of the replica.
        layout: `IO` is [*kernel, in, out] of NumPy, Keras and JAX, `OI` is
            [out, in, *kernel] of torch; the numbers are the same.
        weights_shape: For a vector of biases: the weights whose fans they have.
        dtype: Of the result; the numbers are drawn in float64 and rounded.

    Raises:
        SpecError: The rule is unknown or does not fit the shape.
    """
    target = describe_target(tuple(shape), layout=layout, name=tensor, replica=replica)
    if target.is_vector and weights_shape is not None:
        beside = describe_target(tuple(weights_shape), layout=layout)
        target = beside_weights(target, beside)
    law = find_law_for(make_rule(rule), target)
    values = draw_target(law, target, seed=seed)
    return to_layout(values, layout).astype(dtype)


@dataclass(frozen=True)
class Initializer:
    """One tensor's draw in the form in which JAX, Flax and Keras call initializers.

    JAX calls it with (key, shape, dtype), Keras with (shape, dtype). Seed and tensor
    name decide about the numbers, not the key: take one object for each tensor.
    """

    rule: Rule
    tensor: str
    seed: int = 0
    replica: int = 0

    def __call__(self, *arguments: Any, shape: Any = None, dtype: Any = None) -> Array:
        """A NumPy array in the layout [*kernel, in, out], which both frameworks take.

        Raises:
            SpecError: No shape among the arguments, or the rule does not fit it.
        """
        given = list(arguments)
        if given and not _is_shape(given[0]):
            given.pop(0)  # the key of JAX
        if shape is None and given:
            shape = given.pop(0)
        if dtype is None and given:
            dtype = given.pop(0)
        if given or not _is_shape(shape):
            raise SpecError(
                "an Initializer is called with (shape, dtype), as Keras does, or with "
                "(key, shape, dtype), as JAX does"
            )
        return draw(
            self.rule,
            tuple(int(side) for side in shape),
            tensor=self.tensor,
            seed=self.seed,
            replica=self.replica,
            dtype=_numpy_dtype(dtype),
        )


def beside_weights(vector: Target, weights: Target) -> Target:
    """The target of biases, with the fans of their weights."""
    return Target(
        weights.num_in,
        vector.num_out,
        weights.kernel,
        vector.name,
        vector.replica,
        is_vector=True,
        groups_in=weights.groups_in,
    )


def draw_target(law: Law, target: Target, *, seed: int) -> Array:
    """Draw a target at its address, [*kernel, I, O] or [O], float64."""
    generator = stream(seed, target.replica, "initial", target.name)
    return law.draw(generator, target.shape)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(
        isinstance(side, int | np.integer) for side in value
    )


def _numpy_dtype(dtype: Any) -> Any:
    """What NumPy does not know (bfloat16 by name) is narrowed by the framework."""
    try:
        return np.float32 if dtype is None else np.dtype(dtype)
    except TypeError:
        return np.float32
