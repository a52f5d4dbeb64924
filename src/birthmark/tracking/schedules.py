"""When something is measured: asked for beforehand, by epoch or by step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from birthmark.errors import SpecError

What = Literal["all", "scalars", "distributions"]
_ALWAYS = 8  # the powers of two up to here, and zero, are recorded by every schedule


@runtime_checkable
class Schedule(Protocol):
    """Says what is measured at an epoch or a step, before anything is."""

    def due(self, number: int) -> What | None:
        """What is to be measured there; None where nothing is."""


def _name(scalars: bool, distributions: bool) -> What | None:
    if scalars:
        return "all" if distributions else "scalars"
    return "distributions" if distributions else None


@dataclass(frozen=True)
class Listed:
    """At the numbers listed."""

    scalars: Collection[int]
    distributions: Collection[int] = ()

    def due(self, number: int) -> What | None:  # noqa: D102 - as in Schedule
        return _name(number in self.scalars, number in self.distributions)


@dataclass(frozen=True)
class LogSpaced:
    """At steps 0, 1, 2, 4, 8, then `per_octave` times between powers of two, evenly.

    Distances grow by the logarithm or a power of the number of steps, so that equal
    ratios of steps tell equally much. `every` adds each step that it divides.
    """

    per_octave: int = 2
    every: int = 0
    arrays_every: int = 0  # octaves between two measurements of distributions

    def __post_init__(self) -> None:
        """Refuse numbers that make no schedule.

        Raises:
            SpecError: One is negative, or an octave would have no step.
        """
        if self.per_octave < 1 or self.every < 0 or self.arrays_every < 0:
            raise SpecError(
                f"a schedule needs per_octave of 1 or more and every of 0 or more, not "
                f"{self.per_octave} and {self.every}"
            )

    def due(self, number: int) -> What | None:  # noqa: D102 - as in Schedule
        octave = max(number.bit_length() - 1, 0)
        power = 1 << octave
        if number <= _ALWAYS:
            is_due = number in (0, power)
        else:
            offset = (number - power) * self.per_octave
            # the first whole step at or behind each even part of the octave
            is_due = offset % power < self.per_octave
        is_due = is_due or (self.every > 0 and number % self.every == 0)
        with_arrays = (
            self.arrays_every > 0
            and number == power
            and octave % self.arrays_every == 0
            and number > 0
        )
        return _name(is_due, with_arrays)


def make_schedule(given: str | int | Collection[int] | Schedule) -> Schedule:
    """A schedule from `log`, from a number of steps, from a list of them, or as it is.

    Raises:
        SpecError: It is none of these.
    """
    if given == "log":
        return LogSpaced()
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return LogSpaced(every=given)
    if isinstance(given, Schedule):
        return given
    if isinstance(given, Collection) and all(isinstance(one, int) for one in given):
        return Listed(frozenset(int(one) for one in given) | {0})
    raise SpecError(
        f"schedule must be 'log', a number of steps, or a list of steps, not {given!r}"
    )
