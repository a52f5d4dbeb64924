"""Ways to make the steps of a stack, and which of them a run takes.

- `compiled`: relu networks, softmax with cross-entropy and plain SGD, on a CPU with a C
  compiler;
- `graphed`: what `fast` trains, on a GPU, many steps at a time;
- `fast`: dense networks of any activation and loss, plain SGD, anywhere;
- `general`: any network (convolutions, skips, dropout), optimizer and parametrization,
  anywhere.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from birthmark.network import (
    Chain,
    find_lr_factors,
    find_scalings,
    is_parametrized,
    make_forward,
    name_parameters,
    scale_forward,
)
from birthmark.shapes import Weights
from birthmark.spec import RunSpec
from birthmark.training.accumulators import Accumulators
from birthmark.training.compiled import CompiledPath
from birthmark.training.dropout import Dropout
from birthmark.training.examples import Examples
from birthmark.training.fast import FastPath
from birthmark.training.general import GeneralPath, goes_in_turn
from birthmark.training.graphed import GraphedPath
from birthmark.training.parts import PartedPath
from birthmark.training.sizes import PathBytes, StackSizes
from birthmark.training.step_ranges import StepRange
from birthmark.training.stepwise import StepwisePath


class TrainingPath(Protocol):
    """A way to train a stack whose parameters are changed in place.

    A replica is frozen before the first update whose batch has a loss that is NaN or
    Inf; from then on it stays as it is, and adds nothing to the sums.
    """

    name: str
    parameters: dict[str, Tensor]  # [R, ...]
    state: dict[str, Tensor]  # of the optimizer; resuming needs it
    accumulators: Accumulators

    def make_steps(self, examples: Examples, step_range: StepRange) -> None:
        """Make the steps of a range.

        Args:
            examples: The training set.
            step_range: Which steps, and in which order the examples come.
        """

    def evaluate(self, examples: Examples) -> Tensor:
        """Mean losses and accuracies over all examples, as the weights are now.

        Returns:
            [2, R], float64, on the device.
        """


_COUNTS: dict[str, Callable[[StackSizes, int, int], PathBytes]] = {
    "compiled": CompiledPath.count_bytes,
    "graphed": GraphedPath.count_bytes,
    "fast": FastPath.count_bytes,
    "general": GeneralPath.count_bytes,
}


def count_bytes(name: str, sizes: StackSizes, rows: int, count: int) -> PathBytes:
    """What a path says that it would need for steps and evaluations.

    Args:
        name: Of the path.
        sizes: Of the stack.
        rows: Replicas that go through a step at once.
        count: Examples that are evaluated at once.
    """
    return _COUNTS[name](sizes, rows, count)


def find_path_name(spec: RunSpec, device: str, name: str = "") -> str:
    """The name of the path that `choose_path` takes."""
    if not spec.network.is_plain or is_parametrized(spec):
        return "general"
    plain = spec.training.is_plain_sgd
    if name in ("", "compiled") and CompiledPath.fits(spec, device):
        return "compiled"
    if plain and (name == "graphed" or (not name and device != "cpu")):
        return "graphed"
    return "fast" if name in ("", "fast", "compiled") and plain else "general"


def choose_path(
    spec: RunSpec,
    weights: Weights,
    device: str,
    name: str = "",
    num_parts: int = 1,
    *,
    image_shape: tuple[int, ...] = (),
    replicas: Sequence[int] = (),
) -> TrainingPath:
    """The quickest path for a spec; it starts from a copy of the weights.

    Args:
        spec: What to train.
        weights: The initial configuration.
        device: Where it is.
        name: The path to take, if it is already known: a resumed run must go on with
            the one that it began with, or its bits change.
        num_parts: Into how many parts to split the stack; the compiled path works on
            one replica a core anyway, and `fast` steps in for `graphed`.
        image_shape: Channels, height and width of an example, for convolutions.
        replicas: Numbers of the replicas in the run, for dropout; from 0 unless said.
    """
    name = find_path_name(spec, device, name)
    if name == "compiled":
        return CompiledPath(spec, weights)
    if name == "graphed" and num_parts == 1:
        return GraphedPath(spec, weights)
    path: StepwisePath
    if name in ("fast", "graphed"):
        path = FastPath(spec, weights)
    else:
        path = _make_general(
            spec, weights, device, Chain(spec.network, image_shape), replicas
        )
    return path if num_parts == 1 else PartedPath(path, num_parts)


def _make_general(
    spec: RunSpec, weights: Weights, device: str, chain: Chain, replicas: Sequence[int]
) -> GeneralPath:
    numbers = tuple(replicas) or tuple(range(weights.num_replicas))
    dropout = Dropout(chain, spec.run.seed, numbers, device)
    scalings = find_scalings(spec, *_outer_sizes(weights))
    in_turn = goes_in_turn(spec.network, device)
    # a convolution alone is quicker so, but not in float64
    forward = make_forward(chain, channels_last=in_turn and spec.run.dtype == "float32")
    return GeneralPath(
        spec,
        name_parameters(weights.clone()),
        scale_forward(forward, scalings),
        dropout=dropout if spec.network.dropout else None,
        lr_factors=find_lr_factors(scalings, spec.training.optimizer),
        in_turn=in_turn,
    )


def _outer_sizes(weights: Weights) -> tuple[int, int]:
    """Inputs of the first layer, units of the last."""
    layers = list(weights.layers.values())
    return int(layers[0].w.shape[1]), int(layers[-1].b.shape[1])
