"""The names by which torch, Keras and JAX know an initialization: data, no code.

`torch.xavier_uniform_`, `torch.nn.init.xavier_uniform_`, `keras.HeNormal`,
`jax.nn.initializers.lecun_normal` are exact: they mean the law of that framework with
its defaults. A bare name will do where all that have it mean the same law.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from birthmark.errors import SpecError, unknown_name
from birthmark.network.initializations.parametrizations import PARAMETRIZATIONS


@dataclass(frozen=True)
class Alias:
    """A rule of ours with the parameters that make it theirs.

    `renames` leads from their names of parameters to ours.
    """

    rule: str
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)


def _scaled(scale: float, mode: str) -> Alias:
    """The truncated normal law, made up for the cut, of Keras and JAX."""
    return Alias("variance_scaling", {"scale": scale, "mode": mode})


_SLOPE = {"a": "negative_slope"}
_STDDEV = {"stddev": "std"}
_LIMITS = {"minval": "low", "maxval": "high"}

# rules that are no law of one tensor
WHOLE_NETWORK = ("lsuv", "krahenbuhl", "metainit", "gradinit")
# framework -> its name -> ours
ALIASES: dict[str, dict[str, Alias]] = {
    "torch": {
        "uniform_": Alias("uniform", {"low": 0, "high": 1}, {"a": "low", "b": "high"}),
        "normal_": Alias("normal", {"std": 1}),
        # cut at the numbers a and b, not at two std
        "trunc_normal_": Alias(
            "truncated_normal",
            {"std": 1, "cut": "absolute"},
            {"a": "low", "b": "high"},
        ),
        "constant_": Alias("constant", {}, {"val": "value"}),
        "ones_": Alias("ones"),
        "zeros_": Alias("zeros"),
        "eye_": Alias("identity"),
        "dirac_": Alias("identity"),
        "xavier_uniform_": Alias("glorot_uniform"),
        "xavier_normal_": Alias("glorot_normal"),
        "kaiming_uniform_": Alias("he_uniform", {}, _SLOPE),
        "kaiming_normal_": Alias("he_normal", {}, _SLOPE),
        "orthogonal_": Alias("orthogonal"),
        "sparse_": Alias("torch_sparse"),
    },
    "keras": {
        "Zeros": Alias("zeros"),
        "Ones": Alias("ones"),
        "Constant": Alias("constant", {"value": 0}),
        "RandomUniform": Alias("uniform", {}, _LIMITS),
        "RandomNormal": Alias("normal", {}, _STDDEV),
        "TruncatedNormal": Alias("truncated_normal", {}, _STDDEV),
        "VarianceScaling": Alias("variance_scaling"),
        "LecunUniform": Alias("lecun_uniform"),
        "LecunNormal": _scaled(1, "fan_in"),
        "GlorotUniform": Alias("glorot_uniform"),
        "GlorotNormal": _scaled(1, "fan_avg"),
        "HeUniform": Alias("he_uniform"),
        "HeNormal": _scaled(2, "fan_in"),
        "Orthogonal": Alias("orthogonal"),
        "OrthogonalInitializer": Alias("orthogonal"),
        "Identity": Alias("identity"),
        "IdentityInitializer": Alias("identity"),
    },
    "jax": {
        "zeros": Alias("zeros"),
        "ones": Alias("ones"),
        "constant": Alias("constant"),
        "uniform": Alias("uniform", {"low": 0, "high": 0.01}, {"scale": "high"}),
        "normal": Alias("normal", {"std": 0.01}, _STDDEV),
        "truncated_normal": Alias(
            "truncated_normal",
            {"std": 0.01},
            {**_STDDEV, "lower": "low", "upper": "high"},
        ),
        "variance_scaling": Alias("variance_scaling"),
        "lecun_uniform": Alias("lecun_uniform"),
        "lecun_normal": _scaled(1, "fan_in"),
        "glorot_uniform": Alias("glorot_uniform"),
        "glorot_normal": _scaled(1, "fan_avg"),
        "xavier_uniform": Alias("glorot_uniform"),
        "xavier_normal": _scaled(1, "fan_avg"),
        "he_uniform": Alias("he_uniform"),
        "he_normal": _scaled(2, "fan_in"),
        "kaiming_uniform": Alias("he_uniform"),
        "kaiming_normal": _scaled(2, "fan_in"),
        "orthogonal": Alias("orthogonal", {}, {"scale": "gain"}),
        "delta_orthogonal": Alias("delta_orthogonal", {}, {"scale": "gain"}),
    },
    # names of papers and of other libraries
    "other": {
        "irnn": Alias("identity"),
        "ZerO": Alias("zero_hadamard"),
        "binary": Alias("signed_constant"),
        "martens": Alias("sparse"),
        "saxe": Alias("orthogonal"),
    },
}
_PREFIXES = {
    "torch.nn.init.": "torch",
    "torch.": "torch",
    "keras.initializers.": "keras",
    "keras.": "keras",
    "jax.nn.initializers.": "jax",
    "flax.linen.initializers.": "jax",
    "jax.": "jax",
}
# Keras takes `he_normal` for its HeNormal, and torch's underscore is often left out
_SPOKEN: dict[str, Callable[[str], str]] = {
    "torch": lambda name: name.removesuffix("_"),
    "keras": lambda name: "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in name
    ).removeprefix("_"),
}


def resolve_name(
    name: str, parameters: Mapping[str, Any], known: Mapping[str, object]
) -> tuple[str, dict[str, Any]]:
    """Our name and parameters of a rule that may be named as a framework does.

    Raises:
        SpecError: Nobody knows the name, or frameworks mean different laws by it.
    """
    if name in known:
        return name, dict(parameters)
    if name in WHOLE_NETWORK:
        raise SpecError(
            f"{name} adjusts a whole network to a batch: it cannot be the rule of one "
            "layer, of biases or of a start"
        )
    if name in PARAMETRIZATIONS:
        raise SpecError(
            f"{name} is a parametrization, a law with multipliers and learning rates: "
            "only a whole dense network that birthmark trains can start from it"
        )
    found = _find_aliases(name)
    if not found:
        bare = [alias for theirs in ALIASES.values() for alias in theirs]
        names = [*known, *WHOLE_NETWORK, *PARAMETRIZATIONS, *bare]
        raise unknown_name("initialization", name, names)
    meanings = {(alias.rule, *alias.parameters.items()) for alias in found.values()}
    if len(meanings) > 1:
        choices = " or ".join(f"{framework}.{name}" for framework in found)
        raise SpecError(f"{name!r} is not one law in all frameworks: say {choices}")
    renames = {
        theirs: ours
        for alias in found.values()
        for theirs, ours in alias.renames.items()
    }
    meant = next(iter(found.values()))
    given = {renames.get(key, key): value for key, value in parameters.items()}
    return meant.rule, {**meant.parameters, **given}


def _find_aliases(name: str) -> dict[str, Alias]:
    """By framework: what it means by the name."""
    frameworks, bare = list(ALIASES), name
    for prefix, framework in _PREFIXES.items():
        if name.startswith(prefix):
            frameworks, bare = [framework], name.removeprefix(prefix)
            break
    return {
        framework: alias
        for framework in frameworks
        for theirs, alias in ALIASES[framework].items()
        if bare in (theirs, _SPOKEN.get(framework, str)(theirs))
    }
