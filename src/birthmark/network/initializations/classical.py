"""Classical initializations: independent entries, and random matrices.

A rule takes the target and its parameters by keyword, and returns the law from which
the tensor is drawn.
"""

import math
from typing import Literal

from birthmark.errors import SpecError
from birthmark.network.initializations.target import Mode, Target
from birthmark.network.laws import (
    Constant,
    Law,
    Normal,
    SignedConstant,
    TruncatedNormal,
    Uniform,
)
from birthmark.network.matrix_laws import (
    AtCentre,
    EqualNorms,
    Mirrored,
    OnePositive,
    Orthogonal,
    Sparse,
)

Nonlinearity = Literal[
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu", "conv1d", "conv2d"
]
# torch.nn.init.calculate_gain, squared
_SQUARED_GAINS = {"relu": 2.0, "tanh": 25 / 9, "selu": 9 / 16}

_LEAST_KEPT = 0.01  # a window that keeps less is drawn again and again


def zeros(target: Target) -> Law:
    """W = 0. Usual for biases; as weights all units of a layer stay equal."""
    return Constant(0.0)


def ones(target: Target) -> Law:
    """W = 1. Usual for the gains of norms; as weights all units stay equal."""
    return Constant(1.0)


def constant(target: Target, *, value: float) -> Law:
    """W = value. All units of a layer stay equal."""
    return Constant(value)


def uniform(target: Target, *, low: float = -0.05, high: float = 0.05) -> Law:
    """U(low, high); the defaults are those of Keras' RandomUniform."""
    if low >= high:
        raise SpecError(f"uniform needs low < high, got {low} and {high}")
    return Uniform(low, high)


def normal(target: Target, *, mean: float = 0.0, std: float = 0.05) -> Law:
    """N(mean, std^2); the defaults are those of Keras' RandomNormal."""
    return Normal(mean, positive("std", std))


def truncated_normal(
    target: Target,
    *,
    mean: float = 0.0,
    std: float = 0.05,
    low: float = -2.0,
    high: float = 2.0,
    cut: Literal["std", "absolute"] = "std",
) -> Law:
    """N(mean, std^2) cut at mean + low std and mean + high std, not rescaled.

    At the usual two std what is left has the std 0.8796 std, as in Keras'
    TruncatedNormal and in JAX; `variance_scaling` makes up for the cut. Under
    cut=absolute, low and high are the numbers themselves, as torch's a and b: at std
    0.02 its -2 and 2 lie a hundred deviations out.
    """
    if cut == "absolute":
        low, high = ((edge - mean) / positive("std", std) for edge in (low, high))
    law = TruncatedNormal(mean, positive("std", std), low, high)
    if low >= high or law.kept < _LEAST_KEPT:
        raise SpecError(
            f"truncated_normal keeps {max(law.kept, 0):.1g} of a normal law between "
            f"{low:g} and {high:g} std: it needs {_LEAST_KEPT:g} at least"
        )
    return law


def variance_scaling(
    target: Target,
    *,
    scale: float = 1.0,
    mode: Mode = "fan_in",
    distribution: Literal[
        "truncated_normal", "untruncated_normal", "normal", "uniform"
    ] = "truncated_normal",
) -> Law:
    """Variance scale / fan, of any of three shapes (Keras, JAX).

    The truncated normal is cut at two std and widened by 1 / 0.8796, so that its
    variance is what is asked for.
    """
    variance = positive("scale", scale) / target.fan(mode)
    if distribution == "uniform":
        return symmetric_uniform(variance)
    if distribution in ("normal", "untruncated_normal"):
        return Normal(0.0, math.sqrt(variance))
    return TruncatedNormal(0.0, math.sqrt(variance) / TruncatedNormal(0.0, 1.0).std)


def lecun_uniform(target: Target) -> Law:
    """U(-a, a), a = sqrt(3 / fan_in): variance 1 / fan_in (LeCun et al. 1998, §4.6)."""
    return symmetric_uniform(1 / target.fan_in)


def lecun_normal(target: Target) -> Law:
    """N(0, 1 / fan_in), not truncated (LeCun et al. 1998, eq. 16; SELU 1706.02515)."""
    return Normal(0.0, math.sqrt(1 / target.fan_in))


def glorot_uniform(target: Target, *, gain: float = 1.0) -> Law:
    """U(-a, a), a = gain sqrt(6/(fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return symmetric_uniform(positive("gain", gain) ** 2 / target.fan("fan_avg"))


def glorot_normal(target: Target, *, gain: float = 1.0) -> Law:
    """N(0, 2 gain^2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return Normal(0.0, positive("gain", gain) / math.sqrt(target.fan("fan_avg")))


def he_uniform(
    target: Target,
    *,
    negative_slope: float = 0.0,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
) -> Law:
    """U(-a, a), a = sqrt(6 / ((1 + s^2) fan)) (He et al. 1502.01852, eqs. 10, 14)."""
    gain = _squared_gain(nonlinearity, negative_slope)
    return symmetric_uniform(gain / target.fan(mode))


def he_normal(
    target: Target,
    *,
    negative_slope: float = 0.0,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
) -> Law:
    """N(0, 2 / ((1 + s^2) fan)), not truncated (He et al. 1502.01852, eqs. 10, 14)."""
    gain = _squared_gain(nonlinearity, negative_slope)
    return Normal(0.0, math.sqrt(gain / target.fan(mode)))


def _squared_gain(nonlinearity: str, negative_slope: float) -> float:
    if nonlinearity == "leaky_relu":
        return 2 / (1 + negative_slope**2)
    return _SQUARED_GAINS.get(nonlinearity, 1.0)


def orthogonal(target: Target, *, gain: float = 1.0) -> Law:
    """A random orthogonal matrix [kernel x I, O] times gain (Saxe et al. 1312.6120)."""
    longer = max(target.fan_in, target.num_out)
    return Orthogonal(positive("gain", gain), longer)


def delta_orthogonal(target: Target, *, gain: float = 1.0) -> Law:
    """An orthogonal matrix [I, O] at the kernel's centre (Xiao et al. 1806.05393, §3).

    A norm-preserving convolution where O is not below I; `orthogonal` in dense layers.
    """
    longer = max(target.num_in, target.num_out)
    inner = Orthogonal(positive("gain", gain), longer)
    return AtCentre(inner, target.receptive_field)


def looks_linear(
    target: Target,
    *,
    gain: float = 1.0,
    mirror: Literal["both", "inputs", "outputs"] = "both",
) -> Law:
    """[[U, -U], [-U, U]], U orthogonal: a ReLU network that starts as a linear one.

    The first layer mirrors its outputs alone, the last its inputs alone (Balduzzi et
    al. 1702.08591, §4.2). In a convolution it stands at the kernel's centre.
    """
    rows, columns = mirror != "outputs", mirror != "inputs"
    for wanted, size, what in (
        (rows, target.num_in, "inputs"),
        (columns, target.num_out, "outputs"),
    ):
        if wanted and size % 2:
            raise SpecError(f"looks_linear pairs the {what}, which are {size}: odd")
    halves = (target.num_in // (1 + rows), target.num_out // (1 + columns))
    inner = Mirrored(Orthogonal(positive("gain", gain), max(halves)), rows, columns)
    return AtCentre(inner, target.receptive_field) if target.kernel else inner


def sparse(target: Target, *, num_inputs: int = 15, std: float = 1.0) -> Law:
    """N(0, std^2) at `num_inputs` random inputs a unit, else 0 (Martens 2010, §5).

    Where a unit has no more inputs than that, all are drawn.
    """
    if num_inputs < 1:
        raise SpecError(f"num_inputs must be at least 1, got {num_inputs}")
    kept = min(num_inputs, target.fan_in)
    inner = Normal(0.0, positive("std", std))
    return Sparse(inner, kept, target.fan_in, by_unit=True)


def torch_sparse(target: Target, *, sparsity: float = 0.9, std: float = 0.01) -> Law:
    """N(0, std^2) with the share `sparsity` of each input's weights 0: torch's sparse_.

    It counts along the units, not along the inputs as Martens does: units differ in
    how many inputs they have.
    """
    if not 0 <= sparsity < 1:
        raise SpecError(f"sparsity must be at least 0 and below 1, got {sparsity}")
    kept = target.num_out - math.ceil(sparsity * target.num_out)
    inner = Normal(0.0, positive("std", std))
    return Sparse(inner, kept, target.num_out, by_unit=False)


def nguyen_widrow(target: Target) -> Law:
    """Uniform directions of norm 0.7 O^(1/fan_in) (Nguyen & Widrow, IJCNN 1990).

    For tanh units and inputs in -1 ... 1, with `nguyen_widrow_bias` beside it.
    """
    return EqualNorms(_nguyen_widrow_norm(target), target.fan_in)


def nguyen_widrow_bias(target: Target) -> Law:
    """U(-b, b), b = 0.7 O^(1/fan_in): biases that spread the units over the inputs."""
    norm = _nguyen_widrow_norm(target)
    return Uniform(-norm, norm)


def signed_constant(
    target: Target, *, scale: float = 2.0, mode: Mode = "fan_in"
) -> Law:
    """±sqrt(scale / fan) with equal odds (Zhou et al. 1905.01067).

    As `binary` of open_lth. The default has the variance of `he_normal`.
    """
    return SignedConstant(math.sqrt(positive("scale", scale) / target.fan(mode)))


def randomized_asymmetric(target: Target) -> Law:
    """N(0, 0.36/fan_in), one weight a unit Beta(2, 1): fewer dead ReLUs (1903.06733).

    Lu et al., §4; they choose among the weights and the bias, here weights alone.
    """
    return OnePositive(0.6007 / math.sqrt(target.fan_in), target.fan_in)


def siren(target: Target, *, omega: float = 30.0) -> Law:
    """U(-a, a), a = sqrt(6 / fan_in) / omega: hidden sine layers (2006.09661, §3.2)."""
    return symmetric_uniform(2 / target.fan_in / positive("omega", omega) ** 2)


def siren_first(target: Target) -> Law:
    """U(-1/fan_in, 1/fan_in): the first sine layer (2006.09661, supplement §1.5)."""
    return Uniform(-1 / target.fan_in, 1 / target.fan_in)


def symmetric_uniform(variance: float) -> Uniform:
    """U(-a, a) of this variance, a^2 / 3."""
    bound = math.sqrt(3 * variance)
    return Uniform(-bound, bound)


def positive(name: str, value: float) -> float:
    """The value, or a refusal by the name of the parameter."""
    if value <= 0:
        raise SpecError(f"{name} must be above 0, got {value}")
    return value


def _nguyen_widrow_norm(target: Target) -> float:
    return float(0.7 * target.num_out ** (1 / target.fan_in))
