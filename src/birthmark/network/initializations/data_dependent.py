"""Initializations that look at a batch: a start, and what is done to it then."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from birthmark.errors import SpecError
from birthmark.network.initializations.drawing import Rule
from birthmark.network.initializations.learned_scales import gradinit, metainit
from birthmark.network.initializations.observing import Loss, as_in_training
from birthmark.network.initializations.slots import draw_module_
from birthmark.network.initializations.table import fit_parameters
from birthmark.network.initializations.unit_variance import krahenbuhl, lsuv
from birthmark.network.laws import Law
from birthmark.spec import RuleSpec, make_rule, match_pattern


@dataclass(frozen=True)
class DataDependent:
    """A rule for the draw, and a function that adjusts the module to a batch."""

    start: str
    adjust: Callable[..., None]


DATA_DEPENDENT: dict[str, DataDependent] = {
    "lsuv": DataDependent("orthogonal", lsuv),
    "krahenbuhl": DataDependent("lecun_normal", krahenbuhl),
    "metainit": DataDependent("he_normal", metainit),
    "gradinit": DataDependent("he_normal", gradinit),
}


def initialize_(
    module: nn.Module,
    rule: Rule,
    *,
    seed: int = 0,
    replica: int = 0,
    bias: Rule = "zeros",
    overrides: Mapping[str, Rule] | None = None,
    batch: tuple[Tensor, Tensor] | None = None,
    loss: Loss = cross_entropy,
) -> dict[str, Law]:
    """Initialize any torch module in place; nothing is touched if a rule is refused.

    Args:
        module: Parameters with two axes or more are drawn by `rule`, biases beside them
            by `bias`; others, as the gains of norms, stay unless overridden.
        rule: A name, or a table with parameters. `lsuv`, `krahenbuhl`, `metainit` and
            `gradinit` need a batch; they take `start`, the rule of the draw, and
            `examples`, how many of the batch, too.
        seed: Together with the name of a parameter it decides about its numbers.
        replica: Number of the replica.
        bias: For the biases.
        overrides: By name or pattern of a parameter (`head.weight`, `blocks.*.bias`).
            Weights named here are not adjusted to the batch.
        batch: Inputs and what the loss compares with.
        loss: Of (outputs, y), for MetaInit and GradInit.

    Returns:
        By name of parameter: the law from which it was drawn.

    Raises:
        SpecError: A rule does not fit, a pattern matches nothing, the batch is missing,
            or parameters are not there yet (lazy modules, meta device).
        WeightsError: The batch does not do, as where a layer gives one number for all.
    """
    spec = make_rule(rule)
    if spec.name not in DATA_DEPENDENT:
        return draw_module_(
            module, spec, seed=seed, replica=replica, bias=bias, overrides=overrides
        )
    if batch is None:
        raise SpecError(f"{spec.name} needs a batch: pass batch=(x, y)")
    planned = plan(spec)
    x, y = batch
    cut = planned.examples
    before = {name: value.clone() for name, value in module.state_dict().items()}
    laws = draw_module_(
        module,
        planned.start,
        seed=seed,
        replica=replica,
        bias=bias,
        overrides=overrides,
    )
    names = {
        name
        for name, parameter in module.named_parameters()
        if name in laws
        and parameter.ndim > 1
        and match_pattern(name, overrides or {}) is None
    }
    try:
        adjust_(
            module,
            spec.name,
            planned.parameters,
            batch=(x[:cut], y[:cut]),
            names=names,
            loss=loss,
        )
    except Exception:
        module.load_state_dict(before)
        raise
    return laws


@dataclass(frozen=True)
class Plan:
    """A rule that looks at a batch, taken apart."""

    start: RuleSpec  # the rule of the draw
    examples: int | None  # of the batch; None: all of it
    parameters: Mapping[str, Any]  # of the adjustment


def plan(rule: RuleSpec) -> Plan:
    """What a rule of `DATA_DEPENDENT` asks for.

    Raises:
        SpecError: Unknown, missing or senseless parameters.
    """
    entry = DATA_DEPENDENT[rule.name]
    given: dict[str, Any] = rule.parameters
    start, examples = given.pop("start", entry.start), given.pop("examples", None)
    if not isinstance(start, str):
        raise SpecError(f"{rule.name}: start must be the name of a rule, got {start!r}")
    whole = isinstance(examples, float) and examples.is_integer() and examples > 0
    if examples is not None and not whole:
        raise SpecError(
            f"{rule.name}: examples must be a whole number above 0, got {examples!r}"
        )
    return Plan(
        RuleSpec(name=start),
        None if examples is None else int(examples),
        fit_parameters(entry.adjust, rule.name, given),
    )


def adjust_(
    module: nn.Module,
    name: str,
    parameters: Mapping[str, Any],
    *,
    batch: tuple[Tensor, Tensor],
    names: Collection[str],
    loss: Loss = cross_entropy,
) -> None:
    """Adjust weights that are drawn already to a batch, by the rule of this name.

    Args:
        module: Changed in place; modes and buffers come back as they were.
        name: A rule of `DATA_DEPENDENT`.
        parameters: As `plan` gives them.
        batch: Inputs and what the loss compares with.
        names: Of the weights that may change.
        loss: Of (outputs, y).

    Raises:
        WeightsError: The batch or the start does not do.
    """
    with as_in_training(module):
        DATA_DEPENDENT[name].adjust(module, *batch, names, loss, **parameters)
