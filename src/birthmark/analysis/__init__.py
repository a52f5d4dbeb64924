"""From records to findings: transitions, regimes, scaling, intervals. No torch.

All functions take records and specs, and give plain frozen data that figures and report
draw and print without computing.
"""

from birthmark.analysis.columns import Column, read_columns
from birthmark.analysis.comparisons import (
    METHOD,
    Contest,
    Failures,
    join_curves,
    make_contest,
)
from birthmark.analysis.conditionals import (
    Conditionals,
    Moments,
    pool_conditionals,
    pool_moments,
)
from birthmark.analysis.contest_summaries import contest_table, summarize_contest
from birthmark.analysis.findings import find_findings, protocol_names
from birthmark.analysis.findings_of_comparisons import find_differences
from birthmark.analysis.headlines import find_headlines
from birthmark.analysis.maps import RegimeMap, map_regimes
from birthmark.analysis.outcomes import Entrant, Outcome, read_outcomes, steps_to_reach
from birthmark.analysis.phases import PhaseDiagram, phase_diagram
from birthmark.analysis.published import (
    FIGURE_1B,
    FIGURE_2,
    QUANTITIES,
    Published,
    follows_paper,
)
from birthmark.analysis.rankings import Ranking, Standing, letter_display, rank
from birthmark.analysis.regimes import (
    LEARNERS,
    NOT_KNOWN,
    REGIMES,
    Regimes,
    classify_learners,
    label_regimes,
    running_median,
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
from birthmark.analysis.studies import (
    Run,
    Study,
    curves,
    fact,
    read_study,
    split_by_protocol,
)
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.transitions import (
    Transitions,
    chance_loss,
    divergence_level,
    find_transitions,
)
from birthmark.analysis.words import say_interval, say_list, say_number, say_sentence
from birthmark.statistics import (
    PARTS,
    Comparison,
    Curve,
    Estimate,
    Jump,
    PairedDifference,
    Peak,
    RankCorrelation,
    Share,
    compare_means,
    compare_pairs,
    correlate_ranks,
    detectable_effect,
    find_jumps,
    find_peak,
    holm,
    share_variance,
    summarize,
    summarize_curves,
)

__all__ = [
    "QUANTITIES",
    "fact",
    "curves",
    "say_sentence",
    "say_interval",
    "FIGURE_1B",
    "FIGURE_2",
    "LEARNERS",
    "METHOD",
    "NOT_KNOWN",
    "PARTS",
    "REGIMES",
    "Column",
    "Comparison",
    "Conditionals",
    "Contest",
    "Curve",
    "DeviationAtLoss",
    "Entrant",
    "Estimate",
    "Failures",
    "Jump",
    "Measure",
    "Moments",
    "Outcome",
    "PairedDifference",
    "Peak",
    "PhaseDiagram",
    "PowerLaw",
    "Published",
    "RankCorrelation",
    "Ranking",
    "RegimeMap",
    "Regimes",
    "Run",
    "Share",
    "Standing",
    "Study",
    "Thresholds",
    "Transitions",
    "chance_loss",
    "choose_loss",
    "choose_losses",
    "classify_learners",
    "compare_means",
    "compare_pairs",
    "contest_table",
    "correlate_ranks",
    "detectable_effect",
    "deviation_at_loss",
    "divergence_level",
    "find_differences",
    "find_findings",
    "find_headlines",
    "find_jumps",
    "find_peak",
    "find_transitions",
    "fit_power_law",
    "follows_paper",
    "holm",
    "join_curves",
    "label_regimes",
    "letter_display",
    "make_contest",
    "map_regimes",
    "phase_diagram",
    "pool_conditionals",
    "pool_moments",
    "protocol_names",
    "rank",
    "read_columns",
    "read_outcomes",
    "read_study",
    "running_median",
    "say_list",
    "say_number",
    "share_variance",
    "split_by_protocol",
    "steps_to_reach",
    "summarize",
    "summarize_contest",
    "summarize_curves",
]
