"""The length of the way through the recorded steps."""

from collections.abc import Mapping

from birthmark.errors import WeightsError
from birthmark.measurements.facts import check_comparable, check_path, path_key
from birthmark.measurements.parameters import Source, to_parameters
from birthmark.measurements.shards import add_squares
from birthmark.measurements.sums import sum_up
from birthmark.measurements.tensors import align
from birthmark.shapes import Tensor, Weights


def extend_path(
    path: Mapping[str, Tensor],
    previous: Source,
    current: Source,
    *,
    growths: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """The path lengths after one more recorded move; `path` itself is left alone.

    Start with `{}` at the initial configuration, call it at each recorded step, and
    give the result to `measure`. What happens between two recorded steps is not seen,
    so the length depends on how densely one records.

    Args:
        path: So far.
        previous: The weights at the last recorded step.
        current: The weights now.
        growths: By name of parameter how many numbers each one given stands for, where
            these are a sample.

    Returns:
        `{"hidden1": [R], "bias hidden1": [R], ...}` of two `Weights`, otherwise by name
        of parameter, `{"hidden1.weight": [R], ...}`, float64 on the weights' device:
        the sums of the L2 norms of the moves. A replica with NaN or Inf keeps NaN or
        Inf from then on.

    Raises:
        WeightsError: The two do not have the same layers and shapes, or `path` is
            neither empty nor theirs.
    """
    moves: dict[str, Tensor] = {}
    if isinstance(previous, Weights) and isinstance(current, Weights):
        check_comparable(previous, current)
        if path:
            check_path(path, current)
        for name, before in previous.items():
            after = current[name]
            moves[path_key(name, bias=False)] = _distance(before.w, after.w)
            moves[path_key(name, bias=True)] = _distance(before.b, after.b)
    else:
        start, end = align(to_parameters(previous), to_parameters(current))
        if path and path.keys() != start.keys():
            raise WeightsError("the path is of other parameters: begin with {}")
        for name, one in start.items():
            growth = growths[name] ** 0.5 if growths else 1.0
            moves[name] = _distance(one.values, end[name].values) * growth
        moves = add_squares(start, moves)
    return {key: path[key] + move if path else move for key, move in moves.items()}


def _distance(before: Tensor, after: Tensor) -> Tensor:
    # by the sums of `measure`, so that it is rounded as its distance is
    return sum_up(before.contiguous(), after.contiguous()).distance
