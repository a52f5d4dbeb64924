"""What the loss does to the outputs: squeezed twice, or no logarithms at all.

Read from the operations behind the last matrix, so it does not matter whether they
stand in the model, in a loss of one's own or in an objective.
"""

from __future__ import annotations

import torch
from torch import Tensor

from birthmark.checkup.operation_graph import OperationGraph
from birthmark.checkup.operations import SAME

# these want numbers of any size, and give probabilities or their logarithms
_SQUEEZING = {
    "sigmoid",
    "log_sigmoid_forward",
    "softplus",
    "binary_cross_entropy_with_logits",
    "soft_margin_loss",
    "_softmax",
    "_log_softmax",
    "logsumexp",
}
_SQUEEZED = ("sigmoid", "_softmax")
# operation and axis of the classes
LIKELIHOODS = {"nll_loss_forward": 1, "nll_loss2d_forward": 1, "_ctc_loss": -1}
_ROUNDING = 0.01  # of a sum of probabilities; half precision has 1e-3


def find_squeezed(graph: OperationGraph) -> tuple[str, str]:
    """What squeezed the outputs, and what squeezes them again; '' and '': nothing."""
    inside: set[int] = set()  # nodes with a matrix still behind them
    tail: list[int] = []
    for number in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[number]
        if node.weights or number in inside:
            inside.update(node.parents)
        elif node.operation in _SQUEEZING:
            tail.append(number)
    for number in tail:
        node = graph.nodes[number]
        for parent in node.parents[:1]:
            for before in graph.back(parent, SAME | {"neg"}):
                if graph.nodes[before].operation in _SQUEEZED:
                    return graph.nodes[before].operation, node.operation
    return "", ""


def sum_of_probabilities(name: str, given: Tensor) -> float | None:
    """What the probabilities of a likelihood add up to; None where that is 1."""
    if not given.numel() or not given.is_floating_point():
        return None
    axis = LIKELIHOODS[name] if given.ndim > 1 else 0
    total = float(torch.logsumexp(given.detach().float(), dim=axis).median().exp())
    return total if abs(total - 1) > _ROUNDING else None
