"""The table of initializations, and how a rule finds its law.

Adding an initialization is one function and one line here; aliases are in `names`.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from birthmark.errors import SpecError, unknown_name
from birthmark.extensions import REGISTERED
from birthmark.network.initializations import (
    classical,
    deterministic,
    frameworks,
    trained,
)
from birthmark.network.initializations.names import WHOLE_NETWORK, resolve_name
from birthmark.network.initializations.parametrizations import PARAMETRIZATIONS
from birthmark.network.initializations.target import Target
from birthmark.network.laws import Law
from birthmark.spec import RuleSpec

INITIALIZATIONS: dict[str, Callable[..., Law]] = {
    "zeros": classical.zeros,
    "ones": classical.ones,
    "constant": classical.constant,
    "uniform": classical.uniform,
    "normal": classical.normal,
    "truncated_normal": classical.truncated_normal,
    "variance_scaling": classical.variance_scaling,
    "lecun_uniform": classical.lecun_uniform,
    "lecun_normal": classical.lecun_normal,
    "glorot_uniform": classical.glorot_uniform,
    "glorot_normal": classical.glorot_normal,
    "he_uniform": classical.he_uniform,
    "he_normal": classical.he_normal,
    "orthogonal": classical.orthogonal,
    "delta_orthogonal": classical.delta_orthogonal,
    "looks_linear": classical.looks_linear,
    "sparse": classical.sparse,
    "torch_sparse": classical.torch_sparse,
    "nguyen_widrow": classical.nguyen_widrow,
    "nguyen_widrow_bias": classical.nguyen_widrow_bias,
    "signed_constant": classical.signed_constant,
    "randomized_asymmetric": classical.randomized_asymmetric,
    "siren": classical.siren,
    "siren_first": classical.siren_first,
    "identity": deterministic.identity,
    "zero_hadamard": deterministic.zero_hadamard,
    "hadamard": deterministic.hadamard,
    "dct": deterministic.dct,
    "sobol": deterministic.sobol,
    "torch_default": frameworks.torch_default,
    "keras_default": frameworks.keras_default,
    "flax_default": frameworks.flax_default,
    "haiku_default": frameworks.haiku_default,
    "equinox_default": frameworks.equinox_default,
    "sklearn_default": frameworks.sklearn_default,
    "tiny_cuda_nn_default": frameworks.tiny_cuda_nn_default,
    "bert_default": frameworks.bert_default,
    "gpt2_default": frameworks.gpt2_default,
    "gpt2_residual": frameworks.gpt2_residual,
    "checkpoint": trained.checkpoint,
    "statistics_only": trained.statistics_only,
    "shuffled": trained.shuffled,
    "signs_only": trained.signs_only,
    "lottery_ticket": trained.lottery_ticket,
}


def register_initialization(rule: Callable[..., Law], *, name: str = "") -> None:
    """Put a rule of your own into the table, for specs, `initialize_` and `draw`.

    Its name then does in a spec what `he_normal` does, with its parameters beside it.

        @dataclass(frozen=True)
        class Laplace:
            scale: float
            mean, needs_matrix = 0.0, False

            @property
            def std(self): return self.scale * 2**0.5

            @property
            def bound(self): return 10 * self.scale

            def draw(self, generator, shape):
                return generator.laplace(0, self.scale, shape)

        def laplace(target, *, gain: float = 1.0):
            return Laplace(gain / target.fan_in)

        bm.register_initialization(laplace)

    Args:
        rule: Of a `Target`, what is to be filled, and of parameters by keyword only,
            numbers or texts; returns a `Law`: `mean`, `std`, `bound`, `needs_matrix`
            and `draw(generator, shape)`.
        name: The function's own unless given.

    Raises:
        SpecError: The name is taken, or a parameter is not by keyword.
    """
    name = name or rule.__name__
    taken = name in INITIALIZATIONS and INITIALIZATIONS[name] is not rule
    if taken or name in (*WHOLE_NETWORK, *PARAMETRIZATIONS):
        raise SpecError(f"there is an initialization {name!r}: give another name=")
    _, *others = inspect.signature(rule).parameters.values()
    for parameter in others:
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise SpecError(
                f"{name}: parameter {parameter.name!r} must be by keyword only: put "
                "a * behind the target"
            )
    INITIALIZATIONS[name] = rule
    REGISTERED[f"initialization {name}"] = None


def find_law(rule: RuleSpec, fan_in: int, fan_out: int) -> Law:
    """The law that a rule means for a dense layer [fan_in, fan_out].

    Laws of independent entries know a layer by its fans alone: for them the fans of a
    convolution will do.

    Raises:
        SpecError: Unknown name, unknown, missing or senseless parameter.
    """
    return find_law_for(rule, Target(fan_in, fan_out))


def find_law_for(rule: RuleSpec, target: Target) -> Law:
    """The law that a rule means for a tensor.

    Raises:
        SpecError: Unknown name, unknown, missing or senseless parameter, or a matrix
            is asked for where there is a vector.
    """
    name, given = resolve_name(rule.name, rule.parameters, INITIALIZATIONS)
    function = INITIALIZATIONS[name]
    law = function(target, **fit_parameters(function, name, given))
    if target.is_vector and law.needs_matrix:
        raise SpecError(
            f"{target.name or name}: biases are vectors and cannot be {name}"
        )
    return law


def fit_parameters(
    function: Callable[..., object], name: str, given: dict[str, Any]
) -> dict[str, Any]:
    """Parameters as a function wants them by keyword: all there, each of its kind.

    Raises:
        SpecError: Unknown, missing, or of the wrong kind.
    """
    known = {
        parameter.name: parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for key in given:
        if key not in known:
            raise unknown_name(f"parameter of {name}", key, [*known] or ["(none)"])
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in given:
            raise SpecError(f"{name} needs the parameter {key!r}")
    return {
        key: _fit(name, key, value, known[key].annotation)
        for key, value in given.items()
    }


def _fit(rule: str, key: str, value: float | str, kind: Any) -> float | int | str:
    """A parameter of the kind that the rule's signature wants."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            choices = ", ".join(map(str, get_args(kind)))
            raise SpecError(f"{rule}: {key} is one of {choices}, got {value!r}")
        return value
    if kind is str or isinstance(value, str):
        if kind is not str or not isinstance(value, str):
            wanted = "a text" if kind is str else "a number"
            raise SpecError(f"{rule}: {key} must be {wanted}, got {value!r}")
        return value
    if kind is int:
        if value != int(value):
            raise SpecError(f"{rule}: {key} must be a whole number, got {value:g}")
        return int(value)
    return float(value)
