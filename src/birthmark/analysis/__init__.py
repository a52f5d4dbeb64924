"""From records to findings: transitions, regimes, scaling, intervals. No torch.

All functions take records and specs, and give plain frozen data that figures and report
draw and print without computing.
"""

from birthmark.analysis.axes import Axis, find_field, unify_fields
from birthmark.analysis.columns import Column, read_columns
from birthmark.analysis.comparison_summaries import (
    comparison_protocol,
    comparison_table,
    summarize_comparison,
)
from birthmark.analysis.comparisons import (
    METHOD,
    Comparison,
    join_curves,
    make_comparison,
)
from birthmark.analysis.conditionals import (
    Conditionals,
    pool_conditional_moments,
    pool_conditionals,
)
from birthmark.analysis.findings import (
    family_findings,
    find_findings,
    find_headlines,
)
from birthmark.analysis.findings_of_comparisons import find_differences
from birthmark.analysis.grouping import group_runs
from birthmark.analysis.kept_marks import draw_masks
from birthmark.analysis.layers import find_layers, name_layer
from birthmark.analysis.outcomes import (
    Candidate,
    read_outcomes,
    steps_to_reach,
)
from birthmark.analysis.overviews import Fates, Overview, look_at, summarize_survey
from birthmark.analysis.phases import map_regimes, phase_diagram
from birthmark.analysis.planes import LEARNER, Phases, read_phases
from birthmark.analysis.published import (
    FIGURE_1B,
    FIGURE_2,
    QUANTITIES,
    Published,
    follows_paper,
)
from birthmark.analysis.regimes import (
    LEARNERS,
    REGIMES,
    classify_learners,
    label_regimes,
    running_median,
)
from birthmark.analysis.scaling import (
    DeviationAtLoss,
    Measure,
    choose_loss,
    choose_losses,
    deviation_at_loss,
)
from birthmark.analysis.studies import (
    Run,
    Study,
    curves,
    fact,
    read_study,
    split_by_protocol,
)
from birthmark.analysis.surveys import (
    Family,
    Line,
    NothingFoundError,
    Pool,
    Replica,
    Survey,
    as_survey,
    read_survey,
)
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.transitions import (
    Transitions,
    chance_loss,
    divergence_level,
    find_transitions,
)
from birthmark.analysis.trends import (
    Quantity,
    Trend,
    find_metrics,
    find_quantities,
    find_trend,
    read_retention,
)
from birthmark.analysis.words import say_interval, say_list, say_number

__all__ = [
    "Comparison",
    "Family",
    "NothingFoundError",
    "Phases",
    "Study",
    "Survey",
    "Transitions",
    "find_differences",
    "find_findings",
    "find_transitions",
    "read_phases",
    "read_survey",
]
