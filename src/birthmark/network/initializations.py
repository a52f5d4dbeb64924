"""Initializations: one function each, one line in one table.

A rule takes `fan_in` and `fan_out` of a layer, and parameters by keyword with their
defaults; it returns the law from which each weight is drawn. The draws themselves are
`laws`. Adding an initialization is one function and one line in `INITIALIZATIONS`.
"""

import inspect
import math
from collections.abc import Callable

from birthmark.errors import SpecError, unknown_name
from birthmark.network.laws import (
    Constant,
    Law,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
)
from birthmark.spec import RuleSpec


def zeros(fan_in: int, fan_out: int) -> Law:
    """W = 0. Usual for biases; as weights all units of a layer stay equal."""
    return Constant(0.0)


def constant(fan_in: int, fan_out: int, *, value: float) -> Law:
    """W = value. All units of a layer stay equal."""
    return Constant(value)


def uniform(
    fan_in: int, fan_out: int, *, low: float = -0.05, high: float = 0.05
) -> Law:
    """U(low, high); the defaults are those of Keras' RandomUniform."""
    if low >= high:
        raise SpecError(f"uniform needs low < high, got {low} and {high}")
    return Uniform(low, high)


def normal(fan_in: int, fan_out: int, *, mean: float = 0.0, std: float = 0.05) -> Law:
    """N(mean, std^2); the defaults are those of Keras' RandomNormal."""
    return Normal(mean, _positive("std", std))


def truncated_normal(
    fan_in: int, fan_out: int, *, mean: float = 0.0, std: float = 0.05
) -> Law:
    """N(mean, std^2) cut at two std: what is left has the std 0.8796 std.

    As Keras' TruncatedNormal, the draw is not rescaled to make up for the cut.
    """
    return TruncatedNormal(mean, _positive("std", std))


def lecun_uniform(fan_in: int, fan_out: int) -> Law:
    """U(-a, a), a = sqrt(3 / fan_in): variance 1 / fan_in (LeCun et al. 1998, §4.6)."""
    return _symmetric_uniform(1 / fan_in)


def lecun_normal(fan_in: int, fan_out: int) -> Law:
    """N(0, 1 / fan_in) (LeCun et al. 1998, Efficient BackProp, eq. 16)."""
    return Normal(0.0, math.sqrt(1 / fan_in))


def glorot_uniform(fan_in: int, fan_out: int) -> Law:
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _symmetric_uniform(2 / (fan_in + fan_out))


def glorot_normal(fan_in: int, fan_out: int) -> Law:
    """N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return Normal(0.0, math.sqrt(2 / (fan_in + fan_out)))


def he_uniform(fan_in: int, fan_out: int, *, negative_slope: float = 0.0) -> Law:
    """U(-a, a), a = sqrt(6 / ((1 + s^2) fan_in)) (He et al. 1502.01852, eq. 15)."""
    return _symmetric_uniform(2 / ((1 + negative_slope**2) * fan_in))


def he_normal(fan_in: int, fan_out: int, *, negative_slope: float = 0.0) -> Law:
    """N(0, 2 / ((1 + s^2) fan_in)) (He et al. 1502.01852, eq. 15); not truncated."""
    return Normal(0.0, math.sqrt(2 / ((1 + negative_slope**2) * fan_in)))


def orthogonal(fan_in: int, fan_out: int, *, gain: float = 1.0) -> Law:
    """`gain` times a random orthogonal matrix (Saxe et al. 1312.6120)."""
    return Orthogonal(_positive("gain", gain), max(fan_in, fan_out))


def torch_default(fan_in: int, fan_out: int) -> Law:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as torch.nn.Linear for weights and biases.

    torch writes it as kaiming_uniform with a = sqrt(5): variance 1 / (3 fan_in).
    """
    return _symmetric_uniform(1 / (3 * fan_in))


INITIALIZATIONS: dict[str, Callable[..., Law]] = {
    "zeros": zeros,
    "constant": constant,
    "uniform": uniform,
    "normal": normal,
    "truncated_normal": truncated_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "orthogonal": orthogonal,
    "torch_default": torch_default,
    "keras_default": glorot_uniform,  # Dense: weights; its biases are zero
}


def find_law(rule: RuleSpec, fan_in: int, fan_out: int) -> Law:
    """The law that a rule means for a layer of this size.

    Raises:
        SpecError: Unknown name, unknown, missing or senseless parameter.
    """
    if rule.name not in INITIALIZATIONS:
        raise unknown_name("initialization", rule.name, INITIALIZATIONS)
    function = INITIALIZATIONS[rule.name]
    known = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for name in rule.parameters:
        if name not in [parameter.name for parameter in known]:
            kind = f"parameter of {rule.name}"
            raise unknown_name(kind, name, [p.name for p in known] or ["(none)"])
    for parameter in known:
        if (
            parameter.default is parameter.empty
            and parameter.name not in rule.parameters
        ):
            raise SpecError(f"{rule.name} needs the parameter {parameter.name!r}")
    return function(fan_in, fan_out, **rule.parameters)


def _symmetric_uniform(variance: float) -> Uniform:
    bound = math.sqrt(3 * variance)
    return Uniform(-bound, bound)


def _positive(name: str, value: float) -> float:
    if value <= 0:
        raise SpecError(f"{name} must be above 0, got {value}")
    return value
