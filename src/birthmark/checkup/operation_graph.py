"""The operations of a forward pass as a graph, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from birthmark.checkup.operations import LOOKUPS, SAME, Node

_SIZES = {"rsqrt", "linalg_vector_norm", "std", "norm", "sqrt"}
_FARTHEST = 400  # nodes that a search backwards looks at


@dataclass
class OperationGraph:
    """Operations on data in the order in which they ran; parents are their numbers."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, node: Node) -> int:
        """Append an operation, and give its number."""
        self.nodes.append(node)
        for parent in node.parents:
            if node.operation != "detach":
                self.nodes[parent].children += 1
        return len(self.nodes) - 1

    def back(self, number: int, through: Iterable[str]) -> Iterator[int]:
        """This node and those before it, as long as there is one way through these."""
        through = set(through)
        while True:
            yield number
            node = self.nodes[number]
            if node.operation not in through or len(set(node.parents)) != 1:
                return
            number = node.parents[0]

    def upstream(self, number: int, *, opened: bool = False) -> set[int]:
        """All that a node is computed from, itself too.

        Args:
            number: Of the node.
            opened: Leave out what only reaches it through a softmax over a single key,
                which is 1 whatever comes in.
        """
        queue, visited = [number], {number}
        while queue:
            node = self.nodes[queue.pop()]
            if opened and node.is_single:
                continue
            queue += [one for one in node.parents if one not in visited]
            visited.update(node.parents)
        return visited

    def is_computed_from(self, number: int, tensor: str) -> bool:
        """Whether this parameter meets the data on a way to this node."""
        return any(tensor in self.nodes[one].tensors for one in self.upstream(number))

    def have_scores(self, numbers: Iterable[int]) -> bool:
        """Whether some of these are products of data with data, or made of them."""
        return any(self.nodes[number].is_scores for number in numbers)

    def projections(self, numbers: Iterable[int]) -> tuple[str, ...]:
        """The nearest matrices before these: of scores, those of queries and keys."""
        names: dict[str, None] = {}
        queue = list(numbers)
        seen = set(queue)
        while queue and len(seen) < _FARTHEST:
            node = self.nodes[queue.pop(0)]
            if node.weights:
                names.update(dict.fromkeys(node.weights))
                continue
            for parent in node.parents:
                if parent not in seen:
                    seen.add(parent)
                    queue.append(parent)
        return tuple(names)

    def looked_up(self, number: int) -> Node | None:
        """The look-up whose rows these are, through scaling and moving alone."""
        for one in self.back(number, SAME | {"mul", "mul_"}):
            node = self.nodes[one]
            if node.operation in LOOKUPS and node.tensors:
                return node
        return None

    def is_own_norm(self, name: str, parents: Iterable[int]) -> bool:
        """A norm that is written out: x times rsqrt, x divided by its size."""
        if name not in ("mul", "div", "mul_", "div_"):
            return False
        through = SAME | {"clamp_min", "add", "sqrt", "add_"}
        return any(
            self.nodes[number].operation in _SIZES
            for parent in parents
            for number in self.back(parent, through)
        )
