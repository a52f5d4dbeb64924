"""The length of the way through the recorded steps."""

from collections.abc import Mapping

import torch

from birthmark.errors import WeightsError
from birthmark.measurements.blocks import split_replicas
from birthmark.measurements.facts import check_comparable, check_path, path_key
from birthmark.measurements.moments import norm, scale_of
from birthmark.measurements.pair import rows
from birthmark.measurements.parameters import Source, to_parameters
from birthmark.measurements.tensors import align
from birthmark.shapes import Tensor, Weights


def extend_path(
    path: Mapping[str, Tensor], previous: Source, current: Source
) -> dict[str, Tensor]:
    """The path lengths after one more recorded move; `path` itself is left alone.

    Start with `{}` at the initial configuration, call it at each recorded step, and
    give the result to `measure`. What happens between two recorded steps is not seen,
    so the length depends on how densely one records.

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
            moves[name] = _distance(one.matrix, end[name].matrix)
    return {key: path[key] + move if path else move for key, move in moves.items()}


def _distance(before: Tensor, after: Tensor) -> Tensor:
    # by the blocks of `measure`, so that sums are rounded as in its distance
    wide = torch.float64 in (before.dtype, after.dtype)
    moves = (rows(after[part]) - rows(before[part]) for part in split_replicas(before))
    return torch.cat(
        [norm(move, scale_R1=scale_of(move) if wide else None) for move in moves]
    )
