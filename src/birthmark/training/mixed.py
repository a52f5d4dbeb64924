"""Runs of different widths trained as one stack: the narrow ones padded with zeros.

A unit whose weights and bias are zero puts out phi(0), which is 0 for relu, tanh, gelu
and the identity. So it adds nothing to what follows, its weights have gradients of
exactly zero in both directions, and it stays what it is. Each member of the stack is an
ordinary `Training` whose tensors are views of the common ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from birthmark.network import name_parameters
from birthmark.shapes import Array, Dataset, EpochMetrics, Weights
from birthmark.spec import RunSpec
from birthmark.training.engine import Training
from birthmark.training.examples import Examples
from birthmark.training.graphed import GraphedPath, Lane
from birthmark.training.mixture import check_mixture, choose_mixed_path
from birthmark.training.products import product_setting
from birthmark.training.stretches import Stretch

State = tuple[Mapping[str, Array], Mapping[str, int]]  # as of `Training.state_dict`


class MixedTraining:
    """Trainings moved on together by one path, each a range of rows of its stack.

    Attributes:
        members: One training a spec; all look at them as at any other, but only the
            stack moves them on.
        path_name: How steps are made.
        products: The setting of torch under which products are computed.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        dataset: Dataset,
        *,
        path: str = "",
        products: str = "",
    ) -> None:
        """Draw the initial configurations and lay them side by side.

        Args:
            specs: What to train; the order is that of the rows.
            dataset: The data of all of them.
            path: How to make steps (see `paths`); the quickest unless said.
            products: How to compute products (see `products`); likewise.

        Raises:
            SpecError: See `check_mixture`.
        """
        check_mixture(specs)
        self.members = [
            Training(spec, dataset, path=_FOR_A_MOMENT, products=products, num_parts=1)
            for spec in specs
        ]
        first = self.members[0]
        self.products = first.products
        self._path = choose_mixed_path(
            specs, [member.initial for member in self.members], first.device, path
        )
        self.path_name = self._path.name
        self._evaluated: dict[int, Tensor] = {}
        self._ahead: dict[int, State | None] = {}
        start = 0
        for member in self.members:
            stop = start + len(member.replicas)
            member.join(_Part(self, slice(start, stop), member.initial), first)
            start = stop

    @property
    def lane(self) -> Lane:
        """Where the work of the stack can be queued beside that of others."""
        return self._path.lane if isinstance(self._path, GraphedPath) else Lane("cpu")

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.members[0].epoch

    @property
    def step(self) -> int:
        """Optimizer steps made."""
        return self.members[0].step

    @property
    def going(self) -> list[int]:
        """Numbers of the members that count now: all but those that wait."""
        return [n for n in range(len(self.members)) if n not in self._ahead]

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The common tensors, of the largest width of each layer."""
        return self._path.parameters

    def advance(self, max_steps: int) -> dict[int, EpochMetrics]:
        """Make up to so many steps, at most to the end of the epoch.

        Returns:
            By number of the member its metrics, when the epoch ends here; without the
            members that are ahead.
        """
        steps_ahead = [self._step_of(state) - self.step for state in self._states()]
        max_steps = min([max_steps, *steps_ahead])
        plans = [member.plan(max_steps) for member in self.members]
        first, stretch = self.members[0], plans[0]
        with torch.no_grad(), product_setting(self.products):
            order_RN = self._lay_orders(plans)
            self._path.make_steps(
                first.train_examples, replace(stretch, order_RN=order_RN)
            )
        self._evaluated.clear()
        metrics = [member.arrive(len(stretch)) for member in self.members]
        ended = {n: found for n in self.going if (found := metrics[n])}
        self._let_in()
        return ended

    def load_state_dicts(self, states: Sequence[State | None]) -> None:
        """Stand where the members were saved, alone or in whatever stack.

        The stack stands where the last of them was. Who is ahead of it waits: its rows
        are computed, so that those of the others keep their bits, and do not count
        until the stack comes to where it was saved.

        Args:
            states: By member, as `Training.state_dict` gives them; None for one that
                only fills its rows, because it is done or trained elsewhere.
        """
        saved = [state for state in states if state is not None]
        position = min((state[1] for state in saved), key=self._position)
        for member in self.members:
            arrays, _ = member.state_dict()
            member.load_state_dict(arrays, position)
        self._ahead = dict(enumerate(states))
        self._let_in()

    def evaluate(self, examples: Examples) -> Tensor:
        """Mean losses and accuracies of all rows, computed once between two steps."""
        key = id(examples)
        if key not in self._evaluated:
            self._evaluated[key] = self._path.evaluate(examples)
        return self._evaluated[key]

    def _lay_orders(self, plans: list[Stretch]) -> Tensor:
        """Orders [R, N] of all members, or [1, N] where it is one for all."""
        orders = [stretch.order_RN for stretch in plans]
        if all(len(one) == 1 and one.equal(orders[0]) for one in orders):
            return orders[0]
        return torch.cat(
            [
                order_RN.expand(len(member.replicas), -1)
                for member, order_RN in zip(self.members, orders, strict=True)
            ]
        )

    def _states(self) -> Iterator[State]:
        return (state for state in self._ahead.values() if state is not None)

    def _step_of(self, state: State) -> int:
        epoch, batch = self._position(state[1])
        return epoch * self.members[0].steps_per_epoch + batch

    @staticmethod
    def _position(position: Mapping[str, int]) -> tuple[int, int]:
        return position["epoch"], position["batch"]

    def _let_in(self) -> None:
        """Load the members to whose step the stack has come."""
        for number, state in list(self._ahead.items()):
            if state is not None and self._step_of(state) == self.step:
                self.members[number].load_state_dict(*state)
                del self._ahead[number]
        self._evaluated.clear()


class _Part:
    """The path of a member: its rows of the common stack, its units of each layer."""

    def __init__(self, stack: MixedTraining, rows: slice, weights: Weights) -> None:
        self._stack, self._rows = stack, rows
        self._path = stack._path
        self.name = self._path.name
        self._shapes = {k: v.shape for k, v in name_parameters(weights).items()}
        self.parameters = {
            name: self._cut(name, value)
            for name, value in self._path.parameters.items()
        }
        self.tally = self._path.tally.part(rows)

    @property
    def state(self) -> dict[str, Tensor]:
        """The optimizer's, of these rows; what has no rows is common to all."""
        return {
            name: self._cut(name, value) if value.dim() else value
            for name, value in self._path.state.items()
        }

    @state.setter
    def state(self, state: dict[str, Tensor]) -> None:
        common = self._path.state
        for name, value in state.items():
            if not value.dim():
                common[name] = value
                continue
            if name not in common:
                like = self._path.parameters[_parameter_of(name)]
                common[name] = torch.zeros_like(like)
            self._cut(name, common[name]).copy_(value)

    def make_steps(self, examples: Examples, stretch: Stretch) -> None:
        """Refused: see `MixedTraining.advance`."""
        raise RuntimeError("a member of a stack moves with it: advance the stack")

    def evaluate(self, examples: Examples) -> Tensor:
        """See `Path`."""
        return self._stack.evaluate(examples)[:, self._rows]

    def _cut(self, name: str, value: Tensor) -> Tensor:
        _, *sizes = self._shapes[_parameter_of(name)]
        return value[(self._rows, *(slice(size) for size in sizes))]


_FOR_A_MOMENT = "general"  # the path of a member until it joins: it costs nothing


def _parameter_of(name: str) -> str:
    """`second.hidden1.w` of an optimizer belongs to `hidden1.w`."""
    return ".".join(name.split(".")[-2:])
