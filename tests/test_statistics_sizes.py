"""Statistics of numbers of any size: what has their unit scales, the rest stays."""

import dataclasses

import numpy as np
import pytest

from birthmark.analysis.conditionals import pool_conditional_moments
from birthmark.statistics import compare_means, compare_pairs, find_peak, summarize

DRAW = np.random.default_rng(0)
X, Y, V = (
    DRAW.lognormal(size=9),
    DRAW.lognormal(size=7) + 1,
    DRAW.lognormal(size=(4, 6)),
)
COUNTS = np.tile(np.array([1, 2, 3, 9, 20, 8, 4, 3, 2, 1]), (3, 1))
CALLS = {
    "summarize": lambda unit: summarize(X * unit),
    "compare_means": lambda unit: compare_means(X * unit, Y * unit),
    "compare_pairs": lambda unit: compare_pairs("abcd", V * unit),
    "find_peak": lambda unit: find_peak(np.linspace(-1, 1, 11) * unit, COUNTS),
    "pool_conditional_moments": lambda unit: pool_conditional_moments(
        np.full((2, 6), 5), V[:2] * unit, V[2:] * unit, V[:2], V[2:]
    ),
}


def numbers(found):
    """All numbers in a result, in order."""
    if dataclasses.is_dataclass(found):
        fields = dataclasses.fields(found)
        return [x for one in fields for x in numbers(getattr(found, one.name))]
    if isinstance(found, list | np.ndarray):
        return [x for one in np.atleast_1d(found).tolist() for x in numbers(one)]
    return [] if isinstance(found, str) else [float(found)]


@pytest.mark.parametrize("exponent", [-1000, -600, 600, 1000])
@pytest.mark.parametrize("name", CALLS)
def test_powers_of_two_scale_or_stay(name, exponent):
    usual, twice = (np.array(numbers(CALLS[name](unit))) for unit in (1.0, 2.0))
    has_unit = np.isclose(twice, 2 * usual, rtol=1e-9)
    assert has_unit.any()
    unit = 2.0**exponent
    found = np.array(numbers(CALLS[name](unit)))
    found[has_unit] /= unit
    np.testing.assert_allclose(found, usual, rtol=1e-9)
