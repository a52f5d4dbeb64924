"""The forward pass as it runs: each operation, and what parameters do in it.

Watched below autograd (`TorchDispatchMode`), where all layers, functions and einsums
have become a few dozen operations. Roles are read from there: a parameter that is
summed over with the data is a matrix, one that is multiplied in is a scale, one whose
rows are looked up is an embedding, whatever class holds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from birthmark.checkup.attention import Concentration, read_concentration
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
    UseKind,
    factors,
    groups_of,
    kind_of_use,
    summed_axes,
)
from birthmark.checkup.provenance import (
    Derived,
    labels_after_sum,
    of_elementwise,
    of_parameter,
    of_view,
    shares_memory,
)
from birthmark.checkup.second_moments import second_moment


@dataclass
class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What one forward pass did; used as a context around it."""

    leaves: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    uses: list[Use] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    attention: list[Concentration] = field(default_factory=list)
    on_product: OnProduct | None = None  # told of each product with a parameter

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._paused = False
        self._derived: Any = WeakTensorKeyDictionary()
        self._node_of: Any = WeakTensorKeyDictionary()
        self._constants: Any = WeakTensorKeyDictionary()
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
                self._note(schema.name.rpartition("::")[2], schema, args, kwargs, out)
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

    # -- noting ------------------------------------------------------------------

    def _note(
        self,
        name: str,
        schema: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        out: Any,
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
        if made and not data and not self._works_on_constants(name, args):
            if name in LOOKUPS:
                self._look_up(name, args, made, results)
            else:
                self._derive(name, args, made, results)
            return
        self._work(name, schema, args, made, data, results)

    def _works_on_constants(self, name: str, args: tuple[Any, ...]) -> bool:
        """Whether a layer works on what is no data: a first state, learned queries."""
        if name in CONVOLUTIONS | RECURRENT:
            return True
        if name not in PRODUCTS:
            return False
        left, right = factors(name, args)
        if (left in self._derived) != (right in self._derived):
            return True
        return left in self._derived and _is_t(right)

    def _derive(
        self,
        name: str,
        args: tuple[Any, ...],
        made: list[tuple[Derived, Tensor]],
        results: list[Tensor],
    ) -> None:
        if name in PRODUCTS:  # a matrix of two factors
            (left, a), (right, b) = (
                (self._derived[one], one) for one in factors(name, args)
            )
            for one, tensor, inner in ((left, a, a.ndim - 1), (right, b, b.ndim - 2)):
                outer = tensor.ndim - 1 if inner == tensor.ndim - 2 else tensor.ndim - 2
                for owner in one.names:
                    ends = one.axes(owner, (outer,)), one.axes(owner, (inner,))
                    units, inputs = ends if one is left else ends
                    self._use(owner, "matrix", units, inputs, node=-1)
            labels = (*left.labels[:-1], right.labels[-1])
            product = Derived(left.names | right.names, labels, is_product=True)
            self._derived[results[0]] = product
            return
        for result in results:
            source, before = made[0]
            if len(made) == 1 and shares_memory(before, result):
                self._derived[result] = of_view(source, before, result)
            elif len(made) == 1 and result.ndim == before.ndim - 1:  # a reduction
                labels = labels_after_sum(source, before, result)
                self._derived[result] = Derived(source.names, labels, source.is_product)
            else:
                by_channel = "batch_norm" in name or "group_norm" in name
                self._derived[result] = of_elementwise(
                    made, result, channels=1 if by_channel else None
                )

    def _look_up(
        self,
        name: str,
        args: tuple[Any, ...],
        made: list[tuple[Derived, Tensor]],
        results: list[Tensor],
    ) -> None:
        """Rows at fixed places, such as positions: data from here on."""
        for source, _ in made:
            for owner in source.names:
                self._use(owner, "lookup", node=len(self.nodes))
        tensors = tuple(owner for source, _ in made for owner in source.names)
        self._add_node(Node(name, (), tensors=tensors), results)

    def _work(
        self,
        name: str,
        schema: Any,
        args: tuple[Any, ...],
        made: list[tuple[Derived, Tensor]],
        data: list[Tensor],
        results: list[Tensor],
    ) -> None:
        parents = tuple(self._node_of[a] for a in data if a in self._node_of)
        node = Node(
            name,
            parents,
            tensors=tuple(owner for source, _ in made for owner in source.names),
            by_number=not made and len(data) == 1,
        )
        number = len(self.nodes)
        if made:
            weights = self._find_uses(name, schema, args, made, data, results, number)
            node.weights = tuple(weights)
        node.is_norm = name in NORMS or self._is_own_norm(name, parents)
        both_data = name in ("bmm", "baddbmm", "mm", "matmul") and not made
        node.is_scores = (both_data and len(data) >= 2) or (
            (name in SAME or name in MASKS)
            and any(self.nodes[p].is_scores for p in parents)
        )
        if name in CONVOLUTIONS:
            node.features = int(results[0].shape[1])
        elif node.weights:
            node.features = int(results[0].shape[-1])
        if name in SOFTMAX and any(self.nodes[p].is_scores for p in parents):
            node.is_scores = False
            names = self._projections(parents)
            found = read_concentration(data[0], results[0], names)
            if found is not None:
                self.attention.append(found)
        if name in SHIFTS:
            self._note_sum(made, data, parents)
        self._add_node(node, results)

    def _add_node(self, node: Node, results: list[Tensor]) -> None:
        self.nodes.append(node)
        for parent in node.parents:
            if node.operation != "detach":
                self.nodes[parent].children += 1
        for result in results:
            self._node_of[result] = len(self.nodes) - 1

    def _use(
        self,
        owner: str,
        kind: UseKind,
        units: tuple[int, ...] = (),
        inputs: tuple[int, ...] = (),
        *,
        node: int,
        groups: int = 1,
        is_convolution: bool = False,
        transposed: bool = False,
    ) -> None:
        self.uses.append(
            Use(owner, kind, units, inputs, groups, is_convolution, transposed, node)
        )

    def _find_uses(
        self,
        name: str,
        schema: Any,
        args: tuple[Any, ...],
        made: list[tuple[Derived, Tensor]],
        data: list[Tensor],
        results: list[Tensor],
        node: int,
    ) -> list[str]:
        """Note what each parameter does here, and return those that are matrices."""
        weights: list[str] = []
        places = {id(a): i for i, a in enumerate(args) if isinstance(a, Tensor)}
        words = {i: argument.name for i, argument in enumerate(schema.arguments)}
        for source, tensor in made:
            word = words.get(places.get(id(tensor), -1), "")
            if source.is_product:
                continue
            place = places.get(id(tensor), -1)
            summed = summed_axes(name, args, place, tensor)
            if name in PRODUCTS and self._is_query(name, args, tensor):
                for owner in source.names:
                    self._use(owner, "token", node=node)
                continue
            for owner in source.names:
                if summed is not None:
                    kept = tuple(d for d in range(tensor.ndim) if d not in summed)
                    units, inputs = source.axes(owner, kept), source.axes(owner, summed)
                    if not inputs and source.axes(owner, kept) and len(made) > 1:
                        self._use(owner, "scale", units, node=node)
                        continue
                    sizes = self.leaves[owner].shape
                    wide = any(sizes[axis] > 1 for axis in inputs)
                    if not wide and len(source.names) > 1:  # a magnitude, a mask
                        self._use(owner, "scale", units, node=node)
                        continue
                    self._use(
                        owner,
                        "matrix",
                        units,
                        inputs,
                        node=node,
                        groups=groups_of(name, args),
                        is_convolution=name in CONVOLUTIONS,
                        transposed=name in CONVOLUTIONS and bool(args[6]),
                    )
                    weights.append(owner)
                    if self.on_product is not None and data:
                        fan_in = math.prod(tensor.shape[d] for d in summed)
                        axis = 1 if name in CONVOLUTIONS else results[0].ndim - 1
                        self.on_product(
                            owner, tensor, fan_in, data[0], results[0], axis
                        )
                else:
                    kind = kind_of_use(name, word, tensor, results[0])
                    self._use(owner, kind, source.axes(owner, ()), node=node)
        return weights

    def _is_query(self, name: str, args: tuple[Any, ...], tensor: Tensor) -> bool:
        """Whether this parameter is what a linear layer works on."""
        left, right = factors(name, args)
        return tensor is left and left in self._derived and right in self._derived

    def _is_own_norm(self, name: str, parents: tuple[int, ...]) -> bool:
        """A norm that is written out: x times rsqrt, x divided by its size."""
        if name not in ("mul", "div", "mul_", "div_"):
            return False
        for parent in parents:
            for number in self.back(
                parent, SAME | {"clamp_min", "add", "sqrt", "add_"}
            ):
                if self.nodes[number].operation in (
                    "rsqrt",
                    "linalg_vector_norm",
                    "std",
                    "norm",
                    "sqrt",
                ):
                    return True
        return False

    def _note_sum(
        self,
        made: list[tuple[Derived, Tensor]],
        data: list[Tensor],
        parents: tuple[int, ...],
    ) -> None:
        found: list[tuple[str, float]] = []
        for tensor in data:
            number = self._node_of.get(tensor)
            source = None if number is None else self._looked_up(number)
            if source:
                found.append((source, second_moment(tensor)))
        for derived, tensor in made:
            if tensor.ndim >= 2 and tensor.numel() > tensor.shape[-1] > 1:
                found.append((min(derived.names), second_moment(tensor)))
        if len(found) == 2 and found[0][0] != found[1][0]:
            (a, x), (b, y) = found
            self.sums.append(Sum((a, b), (x, y)))

    def _looked_up(self, number: int) -> str:
        """The table whose rows these are, through scaling and moving alone."""
        for one in self.back(number, SAME | {"mul", "mul_"}):
            node = self.nodes[one]
            if node.operation in LOOKUPS and node.tensors:
                return node.tensors[0]
        return ""

    def _projections(self, parents: tuple[int, ...]) -> tuple[str, ...]:
        """The nearest matrices before the scores: those of queries and keys."""
        names: dict[str, None] = {}
        queue, seen = list(parents), set(parents)
        while queue and len(seen) < 400:
            node = self.nodes[queue.pop(0)]
            if node.weights:
                names.update(dict.fromkeys(node.weights))
                continue
            for parent in node.parents:
                if parent not in seen:
                    seen.add(parent)
                    queue.append(parent)
        return tuple(names)

    # -- asking ------------------------------------------------------------------

    def back(self, number: int, through: Iterable[str]) -> Iterator[int]:
        """This node and those before it, as long as there is one way through these."""
        through = set(through)
        while True:
            yield number
            node = self.nodes[number]
            if node.operation not in through or len(set(node.parents)) != 1:
                return
            number = node.parents[0]

    def roles(self) -> dict[str, Use]:
        """By parameter: its first use of the gravest kind."""
        order = ("matrix", "lookup", "scale", "position", "token", "shift", "other")
        found: dict[str, Use] = {}
        for use in self.uses:
            old = found.get(use.tensor)
            if old is None or order.index(use.kind) < order.index(old.kind):
                found[use.tensor] = use
        return found


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
