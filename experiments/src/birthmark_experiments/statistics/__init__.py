"""Statistics of the questions: exact tests, survival, shares of variance, rank orders.

What the library needs as well is in `birthmark.statistics`.
"""

from .correlations import RankCorrelation, correlate_ranks
from .exact import ExactTrend, detectable_share, exact_order, exact_trend
from .survival import Survival, estimate_survival
from .variance_shares import PARTS, share_variance, split_squares

__all__ = [
    "PARTS",
    "ExactTrend",
    "RankCorrelation",
    "Survival",
    "correlate_ranks",
    "detectable_share",
    "estimate_survival",
    "exact_order",
    "exact_trend",
    "share_variance",
    "split_squares",
]
