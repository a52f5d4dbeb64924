"""Arrays in, numbers out: intervals, pairs, rankings, power laws, change points.

Nothing here knows of records or of training.
"""

from birthmark.statistics.alarms import JumpAlarm
from birthmark.statistics.growth import compare_growth
from birthmark.statistics.intervals import (
    CONFIDENCE,
    NAN,
    RESAMPLES,
    Curve,
    Estimate,
    compare_means,
    resample,
    share_interval,
    summarize,
    summarize_curves,
)
from birthmark.statistics.jumps import Jump, find_all_jumps, find_jumps
from birthmark.statistics.paired import (
    ALPHA,
    POWER,
    PairedDifference,
    compare_pairs,
    describe_differences,
    describe_pair,
    detectable_effect,
    holm,
    interval,
    interval_and_count,
)
from birthmark.statistics.peaks import Peak, find_peak, quantiles
from birthmark.statistics.power_laws import PowerLaw, fit_power_law
from birthmark.statistics.rankings import (
    Outcome,
    Ranking,
    Standing,
    letter_display,
    rank,
)
from birthmark.statistics.ranks import rank_values, spearman
from birthmark.statistics.readings import (
    Reading,
    blur_matrix,
    pool_sizes,
    pooled_auc,
    read_mark,
)
from birthmark.statistics.sizes import norm, unit_of

__all__ = ["interval", "read_mark"]
