"""What needs both rooms: `sweeps` trains, `analysis` compares.

Initializations side by side, and boundaries of phase diagrams followed with few runs.
"""

from birthmark.comparison.boundaries import follow_boundaries
from birthmark.comparison.initializations import compare, compare_models
from birthmark.comparison.refinement import Refined, refine

__all__ = ["compare", "refine"]
