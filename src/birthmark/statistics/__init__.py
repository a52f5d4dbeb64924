"""Arrays in, numbers out: intervals, paired comparisons, correlations, change points.

Nothing here knows of records or of training.
"""

from birthmark.statistics.alarms import JumpAlarm
from birthmark.statistics.correlations import RankCorrelation, correlate_ranks
from birthmark.statistics.descriptions import (
    describe_pair,
    interval,
    interval_and_count,
)
from birthmark.statistics.growth import Growth, compare_growth
from birthmark.statistics.intervals import (
    CONFIDENCE,
    NAN,
    RESAMPLES,
    Curve,
    DifferenceOfMeans,
    Estimate,
    compare_means,
    resample,
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
from birthmark.statistics.variance_shares import (
    PARTS,
    Share,
    share_variance,
    split_squares,
)

__all__ = [
    "ALPHA",
    "CONFIDENCE",
    "NAN",
    "PARTS",
    "POWER",
    "RESAMPLES",
    "DifferenceOfMeans",
    "Curve",
    "Estimate",
    "Growth",
    "Jump",
    "JumpAlarm",
    "PairedDifference",
    "Peak",
    "RankCorrelation",
    "Share",
    "compare_growth",
    "compare_means",
    "compare_pairs",
    "correlate_ranks",
    "describe_pair",
    "detectable_effect",
    "find_jumps",
    "find_peak",
    "holm",
    "interval",
    "interval_and_count",
    "quantiles",
    "resample",
    "share_variance",
    "split_squares",
    "summarize",
    "summarize_curves",
]
