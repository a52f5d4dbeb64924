"""Causal tests on a user's own model: weights put elsewhere, and what that does.

Whatever happens, the model ends as it was given, buffers and modes included.
"""

from birthmark.interventions.lines import Line, interpolate
from birthmark.interventions.rewinding import Rewind, rewind
from birthmark.interventions.transplants import Transplant, transplant

__all__ = ["Line", "Rewind", "Transplant", "interpolate", "rewind", "transplant"]
