"""How much is measured at a time: blocks of a few replicas, and pieces of their rows.

Few values stay in the caches of a CPU, and in memory that is used again.
"""

from collections.abc import Callable, Iterator

import torch

from birthmark.shapes import Tensor

# of one block, if it has more than one replica; a GPU wants many
VALUES_ON_CPU = 2**18
VALUES_ON_GPU = 2**24
# of a piece: the holes that torch leaves in memory, a little too small for its next
# tensor of the same size, are as large as these
VALUES_IN_PIECE = 2**16


def split_replicas(tensor: Tensor) -> Iterator[slice]:
    """Parts of the first axis that make a block each, of one replica at least."""
    on_gpu = tensor.device.type == "cuda"
    num_values = VALUES_ON_GPU if on_gpu else VALUES_ON_CPU
    step = max(1, num_values // max(1, tensor[0].numel()))
    for start in range(0, len(tensor), step):
        yield slice(start, start + step)


def add_up(function: Callable[..., Tensor], *rows_RN: Tensor) -> Tensor:
    """Sum of what the function gives for each piece of the rows."""
    return torch.stack(_in_pieces(function, rows_RN)).sum(0)


def join(function: Callable[..., Tensor], *rows_RN: Tensor) -> Tensor:
    """Side by side, [R, N], what the function gives for each piece of the rows."""
    return torch.cat(_in_pieces(function, rows_RN), dim=1)


def _in_pieces(
    function: Callable[..., Tensor], rows_RN: tuple[Tensor, ...]
) -> list[Tensor]:
    first = rows_RN[0]
    whole = first.device.type == "cuda"
    width = first.shape[1] if whole else max(1, VALUES_IN_PIECE // len(first))
    pieces = zip(*(torch.split(x, width, 1) for x in rows_RN), strict=True)
    return [function(*piece) for piece in pieces]
