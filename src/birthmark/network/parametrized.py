"""A parametrization as the rule of a run: what it says of each layer and parameter."""

from collections.abc import Mapping

from torch import Tensor

from birthmark.errors import SpecError
from birthmark.network.forward import Forward
from birthmark.network.initializations import PARAMETRIZATIONS, Scaling, parametrize
from birthmark.spec import RunSpec


def is_parametrized(spec: RunSpec) -> bool:
    """Whether the rule is a parametrization, as `mup`, and not a law alone."""
    return spec.initialization.name in PARAMETRIZATIONS


def find_scalings(
    spec: RunSpec, num_inputs: int, num_classes: int
) -> dict[str, Scaling]:
    """By layer: law, multiplier and factors on the learning rate; {} for other rules.

    Raises:
        SpecError: The network has convolutions; layers have rules of their own, or the
            rule parameters, of which parametrizations have none.
    """
    rule, network = spec.initialization, spec.network
    if not is_parametrized(spec):
        return {}
    if network.is_convolutional:
        raise SpecError(f"initialization {rule.name!r} is for dense networks alone")
    if rule.parameters:
        raise SpecError(
            f"initialization {rule.name!r} has no parameters, got "
            f"{', '.join(rule.parameters)}"
        )
    if rule.layers:
        raise SpecError(
            f"initialization {rule.name!r} sets laws, multipliers and learning rates "
            f"of all layers together: leave out initialization.layers"
        )
    sizes = [num_inputs, *network.widths, num_classes]
    scalings = parametrize(rule.name, sizes)
    return dict(zip(network.layer_names, scalings, strict=True))


def find_lr_factors(
    scalings: Mapping[str, Scaling], optimizer: str
) -> dict[str, float]:
    """By name of parameter: what the learning rate is multiplied by.

    Args:
        scalings: By layer.
        optimizer: `sgd` or `adam`.
    """
    factors = {}
    for name, one in scalings.items():
        is_sgd = optimizer == "sgd"
        factors[f"{name}.w"] = one.lr_sgd if is_sgd else one.lr_adam
        factors[f"{name}.b"] = one.bias_lr_sgd if is_sgd else 1.0
    return factors


def scale_forward(forward: Forward, scalings: Mapping[str, Scaling]) -> Forward:
    """The network that applies each layer's multiplier to its weights."""
    multipliers = {f"{name}.w": one.multiplier for name, one in scalings.items()}

    def scaled(
        parameters: Mapping[str, Tensor], x_BI: Tensor, *masks: Tensor
    ) -> Tensor:
        applied = {
            name: multipliers.get(name, 1.0) * value
            for name, value in parameters.items()
        }
        return forward(applied, x_BI, *masks)

    return scaled if multipliers else forward
