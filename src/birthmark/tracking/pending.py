"""What was noted and measured at steps that are not yet handed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from birthmark.errors import SpecError

Row = tuple[int, dict[str, float], xr.Dataset | None]


class Pending:
    """Numbers by step; those on a device stay there until their rows are taken.

    Attributes:
        taken: The last step whose row was handed on, after which none comes again.
    """

    def __init__(self) -> None:
        self._noted: dict[int, dict[str, float | Tensor]] = {}
        self._found: dict[int, xr.Dataset] = {}
        self.taken = -1

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, step: int, values: Mapping[str, Any]) -> None:
        """Note numbers at a step, or at the next where that one is handed on.

        Raises:
            SpecError: A value is no single number.
        """
        row = self._noted.setdefault(max(step, self.taken + 1), {})
        row |= {str(name): _number(name, value) for name, value in values.items()}

    def measured(self, step: int, found: xr.Dataset | None) -> None:
        """Take what was measured at a step."""
        if found is not None:
            self._noted.setdefault(step, {})
            self._found[step] = found

    def take(self, before: int) -> Iterator[Row]:
        """Hand on the rows of all steps before this one, in order."""
        steps = sorted(step for step in self._noted if step < before)
        rows = {step: self._noted.pop(step) for step in steps}
        self.taken = max(self.taken, before - 1)
        for step, values in _on_host(rows).items():
            yield step, values, self._found.pop(step, None)

    def state_dict(self) -> dict[str, Any]:
        """Rows that wait, as plain values."""
        return {
            "noted": _on_host(self._noted),
            "found": {step: found.to_dict() for step, found in self._found.items()},
            "taken": self.taken,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hold the rows that waited where `state_dict` was taken."""
        self._noted = {step: dict(row) for step, row in state["noted"].items()}
        found = {
            step: xr.Dataset.from_dict(one) for step, one in state["found"].items()
        }
        self._found, self.taken = found, int(state["taken"])


def _number(name: str, value: Any) -> float | Tensor:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().reshape(())
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"log({name}=...) takes one number, not {type(value).__name__}: "
            "give its mean, or several names"
        ) from error


def _on_host(
    rows: Mapping[int, Mapping[str, float | Tensor]],
) -> dict[int, dict[str, float]]:
    """All numbers of the rows, those of each device in one transfer."""
    waiting: dict[torch.device, list[tuple[int, str, Tensor]]] = {}
    plain: dict[int, dict[str, float]] = {}
    for step, values in rows.items():
        plain[step] = {}
        for name, value in values.items():
            plain[step][name] = float("nan")  # keeps the order of the names
            if isinstance(value, Tensor):
                waiting.setdefault(value.device, []).append((step, name, value))
            else:
                plain[step][name] = value
    for several in waiting.values():
        numbers = torch.stack([value.double() for *_, value in several]).tolist()
        for (step, name, _), number in zip(several, numbers, strict=True):
            plain[step][name] = number
    return plain
