"""A user's model as it starts: made, initialized, and held against its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birthmark.checkup import take_batch
from birthmark.errors import BirthmarkError, SpecError, say_error
from birthmark.measurements import fingerprint
from birthmark.network import initialize_, stack_modules
from birthmark.seeds import stream
from birthmark.shapes import Dataset
from birthmark.spec import RuleSpec, RunSpec
from birthmark.sweeps.one_by_one import (
    OneByOnePath,
    find_losses,
    make_optimizer,
    read_lrs,
)
from birthmark.sweeps.own_parts import OwnData, OwnParts, name_function
from birthmark.training import GeneralPath, TrainingPath

AS_BUILT = "as_built"  # the rule that leaves the factory's own initialization
_BATCH = 256  # examples for rules that look at a batch

Factory = Callable[[], nn.Module]
Initialize = Callable[[nn.Module], object]  # a user's own, in the place of a rule


def build_models(
    factory: Factory,
    rule: RuleSpec | Initialize,
    spec: RunSpec,
    dataset: Dataset | OwnData,
    *,
    shape: str = "auto",
    own_loss: bool = False,
) -> tuple[list[nn.Module], tuple[int, ...]]:
    """The replicas as they start, and the shape of one example as they take it.

    They are of the dtype in which the run is trained. What the factory itself draws,
    and what the rule leaves alone, comes from a stream of each (seed, replica), so that
    all rules share it; a user's own rule draws from another one.

    Raises:
        SpecError: The spec has a mark, the factory makes no module or one that does not
            take the data, or a rule does not fit.
    """
    if spec.mark is not None:
        raise SpecError("mark: only the built-in networks can be marked; leave it out")
    modules = []
    for replica in range(spec.run.replicas):
        with _drawing(spec, replica, "factory"):
            module = factory()
        if not isinstance(module, nn.Module):
            raise SpecError(
                f"the factory must make a torch module, it made {type(module).__name__}"
            )
        x, y = first_examples(dataset, module, shape)
        if not isinstance(rule, RuleSpec):
            with _drawing(spec, replica, "own rule"):
                _apply(rule, module)
        elif rule.name != AS_BUILT:
            initialize_(
                module,
                rule,
                seed=spec.run.seed,
                replica=replica,
                bias=spec.initialization.bias,
                batch=(x, y),
            )
        _refuse_complex(module)
        module = module.to(dtype=getattr(torch, spec.run.dtype))
        if replica == 0:
            outputs = _outputs(module, x[:2])
            if not own_loss:
                _check_outputs(outputs, dataset)
        modules.append(module)
    return modules, tuple(x.shape[1:])


def _refuse_complex(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if parameter.is_complex():
            raise SpecError(
                f"the model's {name} is of {parameter.dtype}, and a comparison trains "
                "real numbers: give it real and imaginary parts apart"
            )


@contextmanager
def _drawing(spec: RunSpec, replica: int, purpose: str) -> Iterator[None]:
    """What torch draws inside comes from a stream of this replica."""
    draws = stream(spec.run.seed, replica, "initial", purpose)
    with torch.random.fork_rng():
        torch.manual_seed(int(draws.integers(2**63)))
        yield


def first_examples(
    dataset: Dataset | OwnData, module: nn.Module, shape: str
) -> tuple[Tensor, Tensor]:
    """Inputs as the model takes them, and targets, on the host."""
    if isinstance(dataset, OwnData):
        return dataset.x_train[:_BATCH], dataset.y_train[:_BATCH]
    x, y = take_batch(dataset, module, examples=_BATCH, shape=shape)
    return torch.from_numpy(x), torch.from_numpy(y)


def _apply(rule: Initialize, module: nn.Module) -> None:
    """Call a user's rule with the model, or as `model.apply` would.

    Raises:
        SpecError: It fails, or changes nothing either way.
    """
    before = fingerprint(module)
    name = name_function(rule)
    for apply in (rule, module.apply):
        try:
            with torch.no_grad():
                apply(module if apply is rule else rule)  # type: ignore[arg-type]
        except Exception as error:
            said = say_error(error)
            raise SpecError(f"the initialization {name} failed: {said}") from error
        if fingerprint(module) != before:
            return
    raise SpecError(
        f"the initialization {name} changed no weight: write into the parameters of "
        "the model that it is given"
    )


def _outputs(module: nn.Module, x: Tensor) -> Any:
    """What a model gives for two examples, in evaluation.

    Raises:
        SpecError: It does not take them.
    """
    numbers = (one for one in module.parameters() if one.is_floating_point())
    first = next(numbers, torch.empty(0))
    inputs = x.to(first.device, first.dtype if x.is_floating_point() else x.dtype)
    module.eval()
    try:
        with torch.no_grad():
            return module(inputs)
    except Exception as error:
        reason = say_error(error)
        raise SpecError(
            f"the model does not take examples of shape {tuple(x.shape[1:])} in "
            f"{str(inputs.dtype).removeprefix('torch.')} ({reason}): "
            "mend it, or say shape='flat' or 'image'"
        ) from error
    finally:
        module.train()


def _are_classes(outputs: Any, num_classes: int) -> bool:
    shape = tuple(getattr(outputs, "shape", ()))
    return len(shape) == 2 and shape[1] >= num_classes > 1


def _check_outputs(outputs: Any, dataset: Dataset | OwnData) -> None:
    """Refuse what the spec's losses do not take."""
    num_classes = dataset.num_classes
    if not num_classes:
        raise SpecError(
            "the targets are no classes 0, 1, ...: give loss=, a function of (outputs, "
            "targets)"
        )
    if not _are_classes(outputs, num_classes):
        shape = tuple(getattr(outputs, "shape", ()))
        raise SpecError(
            f"the model gives {shape} for 2 examples; it must give one number for each "
            f"of the {num_classes} classes: (2, {num_classes})"
        )


def choose_path(
    spec: RunSpec,
    modules: Sequence[nn.Module],
    shape: tuple[int, ...],
    dataset: Dataset | OwnData,
    own: OwnParts,
) -> TrainingPath:
    """A stack, if two examples go through it and all parts are the spec's."""
    if own:
        x, _ = first_examples(dataset, modules[0], "auto")
        classes = isinstance(dataset, Dataset) or _are_classes(
            _outputs(modules[0], x[:2]), dataset.num_classes
        )
        return OneByOnePath(spec, modules, shape, own, has_classes=classes)
    try:
        parameters, forward = stack_modules(modules)

        def shaped(one: Mapping[str, Tensor], x_BI: Tensor) -> Tensor:
            return forward(one, x_BI.reshape(len(x_BI), *shape))

        path = GeneralPath(spec, parameters, shaped)
        first = next(iter(parameters.values()))
        x_BI = torch.zeros(2, int(np.prod(shape)), dtype=first.dtype)
        y_RB = torch.zeros(len(modules), 2, dtype=torch.int64)
        path.differentiate(x_BI.to(first.device), y_RB.to(first.device))
    except Exception:  # of what a stack does not take there is no list
        return OneByOnePath(spec, modules, shape)
    return path


def try_own(
    module: nn.Module,
    spec: RunSpec,
    dataset: Dataset | OwnData,
    own: OwnParts,
    shape: str,
) -> tuple[float, str]:
    """Make one step with a user's loss and optimizer on a model that nobody needs.

    Returns:
        The largest learning rate of the optimizer, and what it is in words.

    Raises:
        SpecError: A part of the user's does not do what it is for; says which.
    """
    x, y = first_examples(dataset, module, shape)
    size = min(spec.training.batch_size, len(x))
    x, y = (
        one.to(getattr(torch, spec.run.dtype)) if one.is_floating_point() else one
        for one in (x[:size], y[:size])
    )
    with _saying("optimizer", own.optimizer):
        optimizer = make_optimizer(spec, module, own.optimizer)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"it made {type(optimizer).__name__}")
        lr = max(read_lrs(optimizer))
        _check_optimized(optimizer, module)
    with _saying("model", None):
        outputs = module(x)
    with _saying("loss", own.loss):
        losses = find_losses(spec, own.loss)(outputs, y)
        torch.autograd.backward(losses.mean())
    with _saying("optimizer", own.optimizer):
        optimizer.step()
    return lr, _say_optimizer(optimizer)


def _check_optimized(optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
    """Refuse one that would train nothing: it was made of another model."""
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if stepped.isdisjoint(map(id, module.parameters())):
        raise ValueError("none of its parameters is one of the model that it is given")


def _say_optimizer(optimizer: torch.optim.Optimizer) -> str:
    """`AdamW (betas (0.9, 0.999), weight_decay 0.01)`, of its first group."""
    plain = (int, float, tuple)
    settings = [
        f"{name} {value}"
        for name, value in optimizer.param_groups[0].items()
        if name not in ("params", "lr")
        and isinstance(value, plain)
        and value is not False
    ]
    groups = len(optimizer.param_groups)
    settings += [f"{groups} groups, their learning rates in proportion"][: groups > 1]
    return f"{type(optimizer).__name__} ({', '.join(settings)})"


@contextmanager
def _saying(what: str, function: object) -> Iterator[None]:
    try:
        yield
    except BirthmarkError:
        raise
    except Exception as error:
        said = say_error(error)
        named = f" {name_function(function)}" if function is not None else ""
        raise SpecError(
            f"the {what}{named} failed on the first batch: {said}"
        ) from error
