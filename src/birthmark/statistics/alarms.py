"""An alarm while a curve grows: has it just jumped, by far more than it ever wavers?

Online, one value at a time, with a false-alarm rate that was measured (`make alarms`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

WINDOW = 32  # increments that say how the curve grows and wavers
LEAST = 12  # before the first alarm
SLACK = 1.0  # of each increment, in units of their scatter, that is not counted
LARGEST = 30.0  # what a single increment counts at most, up or down
THRESHOLD = 20.0  # of the sum, at two records in a row: an outlier falls back at once
FLOOR = 2e-3  # of the scatter: relative changes below it are never a jump


class JumpAlarm:
    """A one-sided cumulative sum of the increments of ln x beyond their own trend.

    Page's CUSUM (Biometrika 41, 1954) over e = d ln x - c d ln t, where c is the median
    growth of the last increments (so x ~ t^c and x ~ ln t raise nothing) and the
    scatter of e is 1.4826 times its median absolute deviation. The sum must stand above
    the threshold at two records in a row, so an alarm comes one record after the jump.
    It clears the memory: what follows is judged by what follows.
    """

    def __init__(self) -> None:
        self._growth: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._last: tuple[float, float] | None = None
        self._sum = 0.0

    def update(self, step: float, value: float) -> bool:
        """Take the next value; True where it completes a jump.

        Args:
            step: Later than the one before, and above 0.
            value: What is not positive and finite is passed over.
        """
        if not (math.isfinite(value) and value > 0 and step > 0):
            return False
        here, last = (math.log(step), math.log(value)), self._last
        self._last = here
        if last is None or here[0] <= last[0]:
            return False
        increment = (here[0] - last[0], here[1] - last[1])
        if len(self._growth) >= LEAST:
            excess = min(max(self._excess(*increment), -LARGEST), LARGEST)
            before, self._sum = self._sum, max(0.0, self._sum + excess - SLACK)
            if min(before, self._sum) > THRESHOLD:
                self._growth.clear()
                self._sum = 0.0
                return True
        self._growth.append(increment)
        return False

    def _excess(self, along: float, rise: float) -> float:
        """How much of a rise is beyond the trend, in units of the scatter."""
        steps, rises = np.array(self._growth).T
        trend = float(np.median(rises / steps))
        rest = rises - trend * steps
        scatter = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
        return (rise - max(trend, 0.0) * along) / max(scatter, FLOOR)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers from which `load_state_dict` goes on."""
        growth = [list(pair) for pair in self._growth]
        return {"growth": growth, "last": self._last, "sum": self._sum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state_dict` was taken."""
        self._growth = deque(map(tuple, state["growth"]), maxlen=WINDOW)
        self._last = None if state["last"] is None else tuple(state["last"])
        self._sum = float(state["sum"])
