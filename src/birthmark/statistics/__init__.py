"""Arrays in, numbers out: intervals, pairs, rankings, power laws, change points.

Nothing here knows of records or of training.
"""

from birthmark.statistics.alarms import JumpAlarm
from birthmark.statistics.correlations import correlate_ranks, spearman
from birthmark.statistics.descriptions import (
    describe_differences,
    describe_pair,
    interval,
    interval_and_count,
)
from birthmark.statistics.exact import (
    ExactTrend,
    detectable_share,
    exact_order,
    exact_trend,
)
from birthmark.statistics.growth import compare_growth
from birthmark.statistics.intervals import (
    NAN,
    Estimate,
    compare_means,
    resample,
    share_interval,
    summarize,
    summarize_curves,
)
from birthmark.statistics.jumps import Jump, find_jumps
from birthmark.statistics.paired import (
    ALPHA,
    POWER,
    PairedDifference,
    compare_pairs,
    detectable_effect,
    holm,
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
from birthmark.statistics.readings import (
    Reading,
    blur_matrix,
    pool_sizes,
    pooled_auc,
    read_mark,
)
from birthmark.statistics.survival import Survival, estimate_survival
from birthmark.statistics.variance_shares import PARTS, share_variance

__all__ = ["interval", "read_mark"]
