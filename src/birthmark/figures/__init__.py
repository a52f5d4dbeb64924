"""Finished numbers as figures: those of the paper, from the runs of a store.

Nothing is computed here; matplotlib is used nowhere else, and without pyplot.
"""

from birthmark.figures.comparison import draw_comparison, write_comparison
from birthmark.figures.drawings import Drawing
from birthmark.figures.experiments import draw_experiment
from birthmark.figures.files import draw_figures, write_drawings
from birthmark.figures.paper import explain_missing, find_drawings

__all__ = [
    "Drawing",
    "draw_comparison",
    "draw_experiment",
    "draw_figures",
    "explain_missing",
    "find_drawings",
    "write_comparison",
    "write_drawings",
]
