"""The forward pass as it runs: each operation, and what parameters do in it.

Watched below autograd (`TorchDispatchMode`), where all layers, functions and einsums
have become a few dozen operations. Roles are read from there: a parameter that is
summed over with the data is a matrix, one that is multiplied in is a scale, one whose
rows are looked up is an embedding, whatever class holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from birthmark.checkup.attention import read_concentration
from birthmark.checkup.endings import LIKELIHOODS, sum_of_probabilities
from birthmark.checkup.operation_graph import OperationGraph
from birthmark.checkup.operations import (
    CONVOLUTIONS,
    LOOKUPS,
    MASKS,
    NORMS,
    PRODUCTS,
    RECURRENT,
    SAME,
    SHIFTS,
    SOFTMAX,
    Node,
    OnProduct,
    Sum,
    Use,
    factors,
    unit_axis_of,
)
from birthmark.checkup.provenance import (
    Derived,
    is_part,
    labels_after_sum,
    of_elementwise,
    of_parameter,
    of_parts,
    of_rows,
    of_view,
    shares_memory,
)
from birthmark.checkup.readings import Attention
from birthmark.checkup.second_moments import second_moment
from birthmark.checkup.uses import Operation, find_uses, uses_of_factors, uses_of_sum


@dataclass
class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What one forward pass did; used as a context around it."""

    leaves: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    uses: list[Use] = field(default_factory=list)
    graph: OperationGraph = field(default_factory=OperationGraph)
    sums: list[Sum] = field(default_factory=list)
    attention: list[Attention] = field(default_factory=list)
    unlikely: tuple[str, float] | None = None  # a likelihood, what its p add up to
    on_product: OnProduct | None = None  # told of each product with a parameter

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._paused = False
        self._derived: Any = WeakTensorKeyDictionary()
        self._node_of: Any = WeakTensorKeyDictionary()
        self._constants: Any = WeakTensorKeyDictionary()
        self._rows: Any = WeakTensorKeyDictionary()  # looked up from whole matrices
        self._spread: Any = WeakTensorKeyDictionary()  # data times a matrix, by number
        self._sum_of_tables: dict[int, str] = {}  # by node: the larger of two added
        for name, leaf in self.leaves.items():
            self._derived[leaf] = of_parameter(name, leaf)
        for buffer in self.buffers.values():
            self._constants[buffer] = True

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operation, and note what it did."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        schema = None if self._paused else getattr(func, "_schema", None)
        if schema is not None:
            with self.paused():
                self._note(schema, args, kwargs, out)
        return out

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While something is measured, which is no part of the model."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def node_of(self, tensor: Tensor) -> int | None:
        """The operation that gave this tensor; None for inputs and constants."""
        found = self._node_of.get(tensor)
        return None if found is None else int(found)

    def roles(self) -> dict[str, Use]:
        """By parameter: its first use of the gravest kind."""
        order = ("matrix", "lookup", "scale", "position", "token", "shift", "other")
        found: dict[str, Use] = {}
        for use in self.uses:
            old = found.get(use.tensor)
            # where factors of a matrix met, it was not yet known how they are used
            rank = (order.index(use.kind), use.node < 0)
            if old is None or rank < (order.index(old.kind), old.node < 0):
                found[use.tensor] = use
        return found

    # -- noting ------------------------------------------------------------------

    def _note(
        self, schema: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        given = _tensors((*args, *kwargs.values()))
        results = _tensors(out if isinstance(out, tuple | list) else (out,))
        if not results:
            return
        made = [(self._derived[a], a) for a in given if a in self._derived]
        data = [a for a in given if a not in self._derived and a not in self._constants]
        if not made and not data:
            for result in results:
                self._constants[result] = True
            return
        done = Operation(
            name=schema.name.rpartition("::")[2],
            words=tuple(argument.name for argument in schema.arguments),
            args=args,
            made=tuple(made),
            data=tuple(data),
            results=tuple(results),
        )
        if data or self._works_on_constants(done):
            self._work(done)
        elif done.name in LOOKUPS:
            self._look_up(done)
        else:
            self._derive(done)

    def _works_on_constants(self, done: Operation) -> bool:
        """Whether a layer works on what is no data: a first state, learned queries."""
        if done.name in CONVOLUTIONS | RECURRENT:
            return True
        if done.name not in PRODUCTS:
            return False
        left, right = factors(done.name, done.args)
        if (left in self._derived) != (right in self._derived):
            return True
        return left in self._derived and _is_t(right)

    def _derive(self, done: Operation) -> None:
        """What parameters alone give is made of parameters too."""
        if done.name in PRODUCTS:  # a matrix of two factors
            left, right = factors(done.name, done.args)
            one, other = self._derived[left], self._derived[right]
            self.uses += uses_of_factors((one, left), (other, right))
            labels = (*one.labels[:-1], other.labels[-1])
            product = Derived(one.names | other.names, labels, is_product=True)
            self._derived[done.results[0]] = product
            return
        for result in done.results:
            source, before = done.made[0]
            if done.name in ("cat", "stack", "block_diag"):
                axis = done.args[1] if len(done.args) > 1 else 0
                stacked = axis % result.ndim if done.name == "stack" else None
                self._derived[result] = of_parts(list(done.made), result, stacked)
            elif len(done.made) == 1 and shares_memory(before, result):
                self._derived[result] = of_view(source, before, result)
            elif len(done.made) == 1 and result.ndim == before.ndim - 1:  # a reduction
                labels = labels_after_sum(source, before, result)
                self._derived[result] = Derived(source.names, labels, source.is_product)
            else:
                by_channel = "batch_norm" in done.name or "group_norm" in done.name
                self._derived[result] = of_elementwise(
                    list(done.made), result, channels=1 if by_channel else None
                )

    def _look_up(self, done: Operation) -> None:
        """Rows at fixed places, such as positions: data from here on."""
        number = len(self.graph.nodes)
        for owner in done.owners:
            self.uses.append(Use(owner, "lookup", node=number))
        self._add_node(Node(done.name, (), tensors=done.owners), done.results)
        self._follow(done)

    def _work(self, done: Operation) -> None:
        """An operation on data."""
        name, data = done.name, done.data
        parents = tuple(self._node_of[a] for a in data if a in self._node_of)
        node = Node(name, parents, tensors=done.owners)
        number = len(self.graph.nodes)
        node.weights = self._find_weights(done, number)
        node.is_norm = name in NORMS or self.graph.is_own_norm(name, parents)
        both_data = name in ("bmm", "baddbmm", "mm", "matmul") and not node.weights
        node.is_scores = (both_data and not done.made and len(data) >= 2) or (
            (name in SAME or name in MASKS) and self.graph.have_scores(parents)
        )
        if name in CONVOLUTIONS:
            node.features = int(done.results[0].shape[1])
        elif node.weights:
            node.features = int(done.results[0].shape[-1])
        if name in SOFTMAX:
            self._note_softmax(done, node)
        if name in SHIFTS:
            self._note_sum(done, number)
        if name in LIKELIHOODS:
            total = sum_of_probabilities(name, data[0])
            self.unlikely = self.unlikely if total is None else (name, total)
        self._add_node(node, done.results)

    def _find_weights(self, done: Operation, number: int) -> tuple[str, ...]:
        """Note what each parameter does here, and return those that are matrices."""
        weights: list[str] = []
        rows = [(self._rows[a], a) for a in done.data if a in self._rows]
        if done.name in PRODUCTS and rows and len(done.data) > len(rows):
            done = done.with_rows(tuple(rows))  # a matrix for each example
        for use, product in find_uses(done, self.leaves, number):
            self.uses.append(use)
            if use.kind != "matrix":
                continue
            weights.append(use.tensor)
            if product is not None and self.on_product is not None and done.data:
                axis = unit_axis_of(done.name, done.results[0])
                self.on_product(
                    use.tensor,
                    product.matrix,
                    product.fan_in,
                    done.data[0],
                    done.results[0],
                    axis,
                )
        if done.name in ("sum", "mean") and done.data[0] in self._spread:
            found = list(uses_of_sum(done, self._spread[done.data[0]], number))
            self.uses += found
            weights += [use.tensor for use in found]
        self._follow(done)
        return tuple(weights)

    def _follow(self, done: Operation) -> None:
        """Keep in sight what may yet turn out a matrix: rows of it, or a product."""
        result = done.results[0]
        if done.name in LOOKUPS:
            for source, before in done.made:
                if before.ndim > 2:
                    self._rows[result] = of_rows(source, before, result)
        elif done.name in SAME and len(done.data) == 1 and done.data[0] in self._rows:
            before = done.data[0]
            if shares_memory(before, result):
                self._rows[result] = of_view(self._rows[before], before, result)
        elif done.name == "mul" and len(done.made) == 1 and len(done.data) == 1:
            source, tensor = done.made[0]
            if sum(size > 1 for size in tensor.shape) > 1:
                x = done.data[0]
                self._spread[result] = (source, tensor, tuple(x.shape))

    def _note_softmax(self, done: Operation, node: Node) -> None:
        scores = done.data[0]
        axis = done.args[1] if len(done.args) > 1 else -1
        node.is_single = isinstance(axis, int) and scores.shape[axis] == 1
        if self.graph.have_scores(node.parents):
            node.is_scores = False
            names = self.graph.projections(node.parents)
            found = read_concentration(scores, done.results[0], names)
            if found is not None:
                self.attention.append(found)

    def _note_sum(self, done: Operation, number: int) -> None:
        """A table that is added: to another one, or to what the layers give."""
        tables: list[tuple[str, float]] = []
        others: list[tuple[str, float, int]] = []
        is_fixed = False
        for tensor in done.data:
            before = self._node_of.get(tensor)
            if before is None:
                continue
            found = self.graph.looked_up(before)
            source = self._sum_of_tables.get(before) or (found and found.tensors[0])
            is_fixed = is_fixed or (found is not None and not found.parents)
            if source:
                tables.append((source, second_moment(tensor)))
            elif not self.graph.have_scores((before,)):
                names = self.graph.projections((before,))
                others += [(one, second_moment(tensor), before) for one in names[:1]]
        for derived, tensor in done.made:
            if tensor.ndim >= 2 and tensor.numel() > tensor.shape[-1] > 1:
                tables.append((min(derived.names), second_moment(tensor)))
                is_fixed = True
        if len(tables) == 2 and tables[0][0] != tables[1][0]:
            self._sum_of_tables[number] = max(tables, key=lambda table: table[1])[0]
            both = tables
        elif len(tables) == len(others) == 1 and is_fixed:
            name, size, before = others[0]
            if self.graph.is_computed_from(before, tables[0][0]):
                return  # a branch of the stream that begins with the table
            both = [*tables, (name, size)]
        else:
            return
        (first, of_first), (second, of_second) = both
        pair, moments = (first, second), (of_first, of_second)
        self.sums.append(Sum(pair, moments, is_of_tables=len(tables) == 2))

    def _add_node(self, node: Node, results: Iterable[Tensor]) -> None:
        number = self.graph.add(node)
        for result in results:
            self._node_of[result] = number
            if result in self._constants:  # written into, as zeros to be filled
                del self._constants[result]
            if node.operation.endswith("_") and is_part(result):
                for whole in [*self._constants, *self._node_of]:
                    if shares_memory(result, whole):
                        self._constants.pop(whole, None)
                        self._node_of[whole] = number


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Tensors among arguments, and in lists of them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [one for one in value if isinstance(one, Tensor)]
    return found


def _is_t(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and tensor.stride(0) == 1 and tensor.shape[0] > 1
