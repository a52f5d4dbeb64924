"""Finished numbers as figures: those of the paper, from the runs of a store.

Nothing is computed here; matplotlib is used nowhere else, and without pyplot.
"""

from birthmark.figures.canvas import (
    axis_data,
    label_log,
    name_panel,
    new_figure,
    tick_axis,
)
from birthmark.figures.catalogue import draw_survey, find_drawings, register_figure
from birthmark.figures.comparison import draw_comparison, write_comparison
from birthmark.figures.drawings import Drawing
from birthmark.figures.files import draw_figures, write_drawings
from birthmark.figures.interventions import draw_line, draw_rewind
from birthmark.figures.mark import picture_matrix
from birthmark.figures.palettes import (
    DASHES,
    DENSITY,
    SHORT_DASHES,
    Palette,
    choose_style,
    follow_theme,
)
from birthmark.figures.phases import draw_phases
from birthmark.figures.workers import make_each

__all__ = [
    "Drawing",
    "axis_data",
    "draw_figures",
    "draw_line",
    "draw_phases",
    "draw_rewind",
    "draw_survey",
    "new_figure",
    "register_figure",
    "tick_axis",
    "write_drawings",
]
