"""JAX: pytrees of parameters, whatever library made them.

tracker = PytreeTracker(params, store="runs", name="my run")
for batch in batches:
    params, state = step(params, state, batch)
    tracker.step(params)
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from birthmark.measurements import to_parameters
from birthmark.shapes import Parameters
from birthmark.tracking import Tracker


def from_pytree(tree: Any) -> Parameters:
    """The arrays of a pytree by their paths, `layer/kernel`, in layout [in, out]."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    arrays = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.array(leaf)
        for path, leaf in leaves
    }
    return to_parameters(arrays, layout="IO")


class PytreeTracker:
    """A `Tracker` for a loop that makes new parameters instead of changing old ones.

    Attributes:
        tracker: The tracker itself: `summary`, `log`, `finish`, `records`.
    """

    def __init__(self, params: Any, **settings: Any) -> None:
        """Take the start, and the settings of `Tracker`."""
        self._params = params
        self.tracker = Tracker(lambda: from_pytree(self._params), **settings)
        self.tracker.begin()

    def step(self, params: Any) -> None:
        """Count one step that was made; the arrays are read only if it is recorded."""
        self._params = params
        self.tracker.step()
