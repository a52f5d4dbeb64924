"""Reading a mark: where it is, where it is not, and where another letter is."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from birthmark.marks import draw_mark
from birthmark.spec import MarkSpec
from birthmark.statistics import blur_matrix, pool_sizes, pooled_auc, read_mark

N = 96
LETTERS = {c: draw_mark(MarkSpec(text=c), N, N).mask_IO for c in "aeonsxz"}
A = LETTERS.pop("a")


def matrix(mask, shrunk, seed=0):
    """Normal weights, smaller under a mask; rows and columns of unequal size."""
    random = np.random.default_rng(seed)
    sizes = np.outer(random.gamma(4, 1, N), random.gamma(4, 1, N))
    return random.normal(size=(N, N)) * sizes * np.where(mask, shrunk, 1)


def test_a_mark_that_hardly_shows_weight_by_weight_is_read():
    """A tenth off the weights under the letter, in rows of very different sizes."""
    found = read_mark(matrix(A, 0.72), A, LETTERS, twins=59)
    assert found.pixel_auc < 0.62
    assert found.auc > 0.75 > found.best_wrong
    assert found.is_read
    assert found.p == pytest.approx(1 / 60)


def test_without_a_mark_nothing_is_read():
    """Of twenty twins about one passes 95 % of its own, and hardly one is an `a`."""
    found = [read_mark(matrix(A, 1, s), A, LETTERS, twins=39) for s in range(20)]
    assert sum(one.p <= 0.05 for one in found) <= 4
    assert sum(one.is_read for one in found) <= 2
    assert np.mean([one.auc for one in found]) == pytest.approx(0.5, abs=0.04)


def test_another_letter_is_not_taken_for_the_right_one():
    """A pooled AUC well above one half is not enough: an `o` is like an `a`."""
    found = read_mark(matrix(LETTERS["o"], 0.3), A, LETTERS, twins=39)
    assert found.auc > 0.6
    assert found.p <= 0.05
    assert found.rank > 1
    assert not found.is_read


def test_still_rows_alone_are_no_letter():
    """Small rows are scaled away: the detector does not read rows or columns."""
    w = matrix(A, 1)
    w[30:60] *= 0.01
    assert read_mark(w, A, LETTERS, twins=39).p > 0.05


def test_the_detector_is_the_area_under_the_roc_curve():
    w = matrix(A, 0.8)
    due = roc_auc_score(A.ravel(), -pool_sizes(w).ravel())
    assert pooled_auc(w, A) == pytest.approx(due)
    pooled = pool_sizes(w)
    assert pooled_auc(-7 * w, A) == pytest.approx(due)  # neither sign nor size count
    assert pooled.shape == (N, N)
    assert np.isnan(pooled_auc(w, np.zeros_like(A)))


@pytest.mark.parametrize("n", [1, 8, 32, 150])
def test_the_blur_is_the_gaussian_filter_of_scipy(n):
    theirs = ndimage.gaussian_filter1d(np.eye(n), n / 60, axis=0)
    np.testing.assert_allclose(blur_matrix(n), theirs, atol=1e-15)
