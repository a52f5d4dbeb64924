"""The mark in kept weights: read as an eye does, counted beside nulls."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score

from birthmark.analysis import Run, Survey, find_findings
from birthmark.analysis.kept_marks import POOLED, add_pooled
from birthmark.marks import draw_mark
from birthmark.spec import MarkSpec
from birthmark.statistics import pool_sizes
from synthetic_records import make_records, make_spec

N, EPOCHS = 48, np.arange(401.0)
A, OTHER = (draw_mark(MarkSpec(text=c), N, N).mask_IO for c in "ao")


def kept(mask, size, seed):
    """Weights that a mask makes smaller, of two networks."""
    w = np.random.default_rng(seed).normal(size=(2, N, N))
    return w * np.where(mask, size, 1)


class Kept:
    """A store that kept the weights of some epochs, and nothing else."""

    def __init__(self, weights):
        self.kept = weights

    def weights_epochs(self, run_key):
        return list(self.kept)

    def weights(self, run_key, epoch):
        return {"hidden2": SimpleNamespace(w=self.kept[epoch].astype(np.float16))}


def marked(train, **settings):
    spec = make_spec(N, 2, **{"mark__text": "a"} | settings)
    flat = np.full(train.shape, 0.55)
    return spec, make_records(train, scalars={"mark_auc": flat})


def strong():
    return np.repeat(2.3 * np.exp(-EPOCHS / 20)[:, None] + 0.001, 2, axis=1)


def say(spec, records, store, name):
    run = Run(spec.run_key, spec, add_pooled(records, spec, store))
    found = find_findings(Survey(store, (run,)))
    return next((one for one in found if one.name == name), None)


def test_kept_weights_say_what_an_eye_reads_where_records_do_not():
    spec, records = marked(strong())
    store = Kept({0: kept(A, 0, 1), 395: kept(A, 0.5, 2), 999: kept(A, 0, 3)})
    found = add_pooled(records, spec, store)[POOLED].sel(layer="hidden2").to_numpy()
    assert np.flatnonzero(np.isfinite(found).all(axis=1)).tolist() == [0, 395]
    last = store.weights("", 395)["hidden2"].w.astype(float)
    due = [roc_auc_score(A.ravel(), -pool_sizes(w).ravel()) for w in last]
    assert_allclose(found[395], due)
    # larger weights under the mark are looked for where it made them larger
    spec, records = marked(strong(), mark__mode="scale", mark__value=2.0)
    found = add_pooled(records, spec, Kept({395: kept(A, 3, 2)}))[POOLED]
    assert (found.sel(layer="hidden2")[395] > 0.75).all()


def test_what_records_say_already_is_kept():
    spec, records = marked(strong())
    said = records.assign({POOLED: records["mark_auc"]})
    store = Kept({395: kept(A, 0, 1)})
    assert add_pooled(said, spec, store) is said
    assert add_pooled(records, make_spec(N, 2), store) is records


@pytest.mark.parametrize(
    ("mask", "size", "read"), [(A, 0.5, 2), (A, 1, 0), (OTHER, 0.3, 0)]
)
def test_a_mark_is_readable_beside_other_letters_and_twins_without_one(
    mask, size, read
):
    """An `o` lies under much of an `a`, but it is none."""
    spec, records = marked(strong())
    found = say(spec, records, Kept({395: kept(mask, size, 4)}), "retention")
    assert (
        found.what == f"The mark can still be read at the end in {read} of 2 networks."
    )
    assert "all 19 twins" in found.how


def test_weights_of_before_the_end_do_not_say_what_is_left_of_the_mark():
    lost = np.where(EPOCHS[:, None] < 200, strong(), 14.8)
    spec, records = marked(lost)
    early = say(spec, records, Kept({100: kept(A, 0.2, 5)}), "kept_marks")
    assert "retention of at least" in early.how
    gone = Kept({100: kept(A, 0.2, 5), 400: kept(A, 1, 6)})
    after = say(spec, records, gone, "kept_marks")
    assert after.what == "0 of 2 collapsed networks keep a readable mark."
    assert after.values["change"] < -0.2


def test_networks_whose_weights_were_not_kept_are_not_counted():
    spec, records = marked(strong())
    other = make_spec(2 * N, 2, mark__text="a")
    store = Kept({395: kept(A, 0.5, 2)})
    with_weights = Run(spec.run_key, spec, add_pooled(records, spec, store))
    found = Survey(store, (with_weights, Run(other.run_key, other, records)))
    store.weights_epochs = lambda key: [395] if key == spec.run_key else []
    [one] = [one for one in find_findings(found) if one.name == "retention"]
    assert "2 of 2 networks whose weights were kept" in one.what
    assert list(one.values)[:1] == ["width 48"]
