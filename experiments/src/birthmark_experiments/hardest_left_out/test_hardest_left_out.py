"""Left out is who is hardest; nothing else changes; verdicts can say no."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.sweeps import run
from birthmark_experiments.hardest_left_out.facts import (
    ALL,
    FEWEST,
    HARDEST,
    NEEDED,
    NOT_NEEDED,
    NOT_SAID,
    RANDOM,
    summarize,
    weigh,
)
from birthmark_experiments.hardest_left_out.measure import OrderWithout, choose, train
from birthmark_experiments.hardest_left_out.protocol import PROTOCOLS

PROTOCOL = PROTOCOLS["quick"]
NAN = float("nan")


def test_the_hardest_are_left_out_or_as_many_others():
    loss = np.array([0.1, 5.0, 0.2, 9.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert np.flatnonzero(choose(loss, HARDEST, 0.2, 0)).tolist() == [1, 3]
    others = [choose(np.arange(1000.0), RANDOM, 0.1, 0) for _ in range(2)]
    assert others[0].sum() == 100
    assert_array_equal(*others)
    assert 10 < others[0][500:].sum() < 90


def test_the_others_are_visited_in_the_order_in_which_they_were():
    kept = np.ones(50, dtype=bool)
    kept[[3, 17, 49]] = False
    order = OrderWithout(seed=4, replicas=3, kept_N=kept)
    assert len(order) == 47
    for r, mine in enumerate(order(7).tolist()):
        assert mine == [n for n in batch_order(4, r, 7, 50) if n not in (3, 17, 49)]


def test_the_last_batch_is_as_large_as_with_all_if_that_is_asked_for():
    kept = np.ones(50, dtype=bool)
    kept[[3, 17, 49]] = False
    order = OrderWithout(seed=4, replicas=2, kept_N=kept, batch_size=8)
    assert len(order) == 42  # 50 leave 2 in the last batch; 47 left 7
    whole = OrderWithout(seed=4, replicas=2, kept_N=kept)
    for epoch in (0, 1):
        assert order(epoch).tolist() == [one[:42] for one in whole(epoch).tolist()]


def test_leaving_nobody_out_is_the_run_with_all(results, tmp_path):
    records = run(PROTOCOL.spec, tmp_path).records
    everybody, num = results.sel(arm=ALL), results.attrs["num_examples"]
    for name, scale in (("train_loss", 1), ("train_accuracy", 1), ("abandoned", num)):
        assert_allclose(everybody[name] * scale, records[name][1:], rtol=1e-6)
    hardest = results.sel(arm=f"{HARDEST}, 10 %")
    assert hardest["num_left_out"] == round(0.1 * num)
    assert (hardest["train_loss"] != everybody["train_loss"]).all()


def test_losses_early_on_say_who_is_hard():
    dataset = load_dataset(PROTOCOL.spec.data)
    everybody = np.ones(len(dataset.y_train), dtype=bool)
    first = train(PROTOCOL, dataset, everybody)
    loss_N = first["early_loss"].mean("replica").to_numpy()
    out = choose(loss_N, HARDEST, 0.1, 0)
    assert loss_N[out].min() >= loss_N[~out].max()
    again = train(PROTOCOL, dataset, ~out)
    assert again["num_left_out"] == out.sum()
    assert not np.isin(np.flatnonzero(out), OrderWithout(0, 3, ~out)(2)).any()


@pytest.mark.parametrize(
    ("with_all", "without", "verdict"),
    [
        ([True] * 5, [True, False, False, False, False], NOT_NEEDED),
        ([True] * 5, [False] * 5, NOT_SAID),  # up to 0.52 might
        ([True] * 5, [False] * 10, NEEDED),
        ([True, False], [False] * 10, NOT_SAID),
    ],
)
def test_one_collapse_refutes_and_few_escapes_prove_nothing(with_all, without, verdict):
    assert weigh(np.array(with_all), np.array(without)) == verdict
    # (1 - 0.025^(1/n)) first falls below one half at six
    assert FEWEST == 6


def test_differences_are_paired_and_their_verdict_can_be_no(results):
    made = results.copy(deep=True)
    hardest, random = f"{HARDEST}, 10 %", f"{RANDOM}, 10 %"
    dates = {
        "onset": ([50, 61, 72], [20, 30, 40]),  # 30, 31, 32 later
        "collapse": ([50, 60, 70], [55, 52, 72]),  # nothing
    }
    for name, (a, b) in dates.items():
        made[name].loc[{"arm": hardest}] = a
        made[name].loc[{"arm": random}] = b
    onset, collapse = summarize(made).later
    p = stats.ttest_1samp([30, 31, 32], 0).pvalue
    assert onset["difference"]["p"] == pytest.approx(2 * p)  # Holm, of two
    assert onset["difference"]["mean"] == 31
    assert (onset["is_later"], collapse["is_later"]) == (True, False)
    made["collapse"].loc[{"arm": hardest}] = [50, NAN, NAN]
    never = summarize(made).later[1]
    assert never["difference"] is None
    assert never["num_never"] == [2, 0]
