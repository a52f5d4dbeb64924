"""Retention of a mark against scikit-learn and NumPy."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from birthmark.errors import SpecError, WeightsError
from birthmark.measurements import measure
from birthmark.shapes import Mark
from birthmark.statistics import pool_sizes
from weight_stacks import draw_stack

MASK = np.random.default_rng(5).random((7, 9)) < 0.3

SCORES = {
    ("zero", 0.0): lambda w: -np.abs(w),
    ("scale", 3.0): np.abs,
    ("scale", -3.0): np.abs,
    ("scale", 0.2): lambda w: -np.abs(w),
    ("scale", -0.2): lambda w: -np.abs(w),
    ("shift", 0.5): lambda w: w,
    ("shift", -0.5): lambda w: -w,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("mode", "value"), SCORES)
def test_auc_is_that_of_scikit_learn_with_ties_at_half(mode, value, dtype):
    w = draw_stack(3, dtype=dtype)
    w["hidden2"].w.copy_((w["hidden2"].w * 4).round() / 4)  # many ties
    mark = Mark("hidden2", MASK, mode, value)
    found = measure(w, w, mark=mark, kind="scalars").mark_auc
    for replica, w_IO in enumerate(w["hidden2"].w.numpy()):
        score = SCORES[mode, value](w_IO.astype(np.float64))
        expected = roc_auc_score(MASK.ravel(), score.ravel())
        assert found.sel(replica=replica, layer="hidden2") == pytest.approx(expected)
    assert found.sel(layer=["hidden1", "output"]).isnull().all()


def test_the_pooled_auc_is_that_of_pooled_sizes():
    w = draw_stack(3)
    for value, sign in ((0.2, 1), (3.0, -1)):
        mark = Mark("hidden2", MASK, "scale", value)
        found = measure(w, w, mark=mark, kind="scalars").mark_pooled_auc
        for replica, w_IO in enumerate(w["hidden2"].w.numpy()):
            expected = roc_auc_score(MASK.ravel(), -sign * pool_sizes(w_IO).ravel())
            assert found.sel(replica=replica, layer="hidden2") == pytest.approx(
                expected
            )
    shifted = measure(w, w, mark=Mark("hidden2", MASK, "shift", 0.5), kind="scalars")
    assert shifted.mark_pooled_auc.isnull().all()


def test_contrast_compares_the_rms_beside_the_mark_with_that_under_it():
    w = draw_stack(3)
    found = measure(w, w, mark=Mark("hidden2", MASK, "zero", 0.0)).mark_contrast
    for replica, w_IO in enumerate(w["hidden2"].w.numpy()):
        inside, outside = (np.sqrt(np.mean(w_IO[m] ** 2)) for m in (MASK, ~MASK))
        expected = (outside - inside) / (outside + inside)
        assert found.sel(replica=replica, layer="hidden2") == pytest.approx(expected)
    assert found.sel(layer=["hidden1", "output"]).isnull().all()


@pytest.mark.parametrize(
    ("mode", "value", "change"),
    [
        ("zero", 0.0, lambda w: 0 * w),
        ("scale", 100.0, lambda w: 100 * (w + w.sign())),
        ("shift", 50.0, lambda w: w + 50),
        ("shift", -50.0, lambda w: w - 50),
    ],
)
def test_a_fresh_mark_is_read_perfectly(mode, value, change):
    w = draw_stack(3)
    marked = w["hidden2"].w
    marked[:, torch.tensor(MASK)] = change(marked[:, torch.tensor(MASK)])
    found = measure(w, w, mark=Mark("hidden2", MASK, mode, value), kind="scalars")
    assert (found.mark_auc.sel(layer="hidden2") == 1).all()
    if mode == "zero":
        assert (found.mark_contrast.sel(layer="hidden2") == 1).all()


@pytest.mark.parametrize("covered", [True, False])
def test_a_mark_that_covers_everything_or_nothing_has_no_retention(covered):
    w = draw_stack(3)
    mark = Mark("hidden2", np.full((7, 9), covered), "zero", 0.0)
    found = measure(w, w, mark=mark, kind="scalars")
    assert found.mark_auc.isnull().all()
    assert found.mark_contrast.isnull().all()


def test_without_a_mark_its_measurements_are_absent():
    w = draw_stack(3)
    assert not [name for name in measure(w, w) if "mark" in name]


def test_a_mark_that_does_not_fit_is_refused():
    w = draw_stack(3)
    with pytest.raises(SpecError, match="did you mean 'hidden2'"):
        measure(w, w, mark=Mark("hiden2", MASK, "zero", 0.0))
    with pytest.raises(WeightsError, match=r"hidden2 must be bool \[7, 9\], not bool"):
        measure(w, w, mark=Mark("hidden2", MASK.T, "zero", 0.0))
