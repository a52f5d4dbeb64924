"""From records to findings: transitions, regimes, scaling, intervals. No torch.

All functions take records and specs, and give plain frozen data that figures and report
draw and print without computing.
"""

from birthmark.analysis.columns import Column, read_columns
from birthmark.analysis.conditionals import (
    Conditionals,
    Moments,
    pool_conditionals,
    pool_moments,
)
from birthmark.analysis.findings import find_findings, protocol_names
from birthmark.analysis.headlines import find_headlines
from birthmark.analysis.intervals import (
    Comparison,
    Curve,
    Estimate,
    compare_means,
    summarize,
    summarize_curves,
)
from birthmark.analysis.jumps import Jump, find_jumps
from birthmark.analysis.maps import RegimeMap, map_regimes
from birthmark.analysis.peaks import Peak, find_peak
from birthmark.analysis.phases import PhaseDiagram, phase_diagram
from birthmark.analysis.regimes import (
    LEARNERS,
    NOT_KNOWN,
    REGIMES,
    Regimes,
    classify_learners,
    label_regimes,
)
from birthmark.analysis.scaling import (
    DeviationAtLoss,
    Measure,
    PowerLaw,
    choose_loss,
    choose_losses,
    deviation_at_loss,
    fit_power_law,
)
from birthmark.analysis.studies import Run, Study, read_study, split_by_protocol
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.transitions import (
    Transitions,
    chance_loss,
    divergence_level,
    find_transitions,
)
from birthmark.analysis.words import say_number

__all__ = [
    "LEARNERS",
    "NOT_KNOWN",
    "REGIMES",
    "Column",
    "Comparison",
    "Conditionals",
    "Curve",
    "DeviationAtLoss",
    "Estimate",
    "Jump",
    "Measure",
    "Moments",
    "Peak",
    "PhaseDiagram",
    "PowerLaw",
    "RegimeMap",
    "Regimes",
    "Run",
    "Study",
    "Thresholds",
    "Transitions",
    "chance_loss",
    "choose_loss",
    "choose_losses",
    "classify_learners",
    "compare_means",
    "deviation_at_loss",
    "divergence_level",
    "find_findings",
    "find_headlines",
    "find_jumps",
    "find_peak",
    "find_transitions",
    "fit_power_law",
    "label_regimes",
    "map_regimes",
    "phase_diagram",
    "pool_conditionals",
    "pool_moments",
    "protocol_names",
    "read_columns",
    "read_study",
    "say_number",
    "split_by_protocol",
    "summarize",
    "summarize_curves",
]
