"""Transitions: planted ones, censored ones, and those of a real collapse."""

import numpy as np
import pytest

from birthmark.analysis import (
    LEARNERS,
    Thresholds,
    classify_learners,
    find_transitions,
    label_regimes,
)
from birthmark.errors import SpecError, StoreError
from synthetic_records import STEPS_AN_EPOCH, make_records, make_spec

EPOCHS = np.arange(401.0)

# Width 150 on HASYv2, one replica trained with the clipped loss and one from logits,
# same start and batches: train loss and deviation_std of hidden2, epochs 10 ... 600.
COLLAPSE_LOSS = """
.8925 .7002 .6029 .5336 .4847 .4462 .4102 .3809 .3629 .3416 .3243 .3171 .3064 .2937
.2905 .2825 .271 .2769 .2745 .292 .2738 .2907 .2979 .2949 .2828 .3098 .3091 .3062 .3298
.3371 .351 .3571 .3855 .3667 .3954 .4175 .4618 .4401 .4707 .4928 .5455 .5534 .5983 .6229
.6777 .7133 .81 .8749 .9553 1.094 1.237 1.52 1.891 2.949 5.821 8.492 11.26 14.87 14.98
15.64"""
COLLAPSE_DEVIATION = """
.0913 .1154 .1327 .1467 .1585 .1691 .1788 .1876 .1958 .2034 .2105 .2171 .2233 .2293
.2350 .2404 .2455 .2506 .2555 .2601 .2646 .2687 .2729 .2769 .2808 .2846 .2885 .2926
.2963 .2999 .3038 .3073 .3108 .3145 .3183 .3220 .3260 .3298 .3337 .3377 .3419 .3462
.3507 .3552 .3602 .3658 .3718 .3787 .3858 .3948 .4059 .4209 .4419 .4809 .5820 .7401
.8874 1.0014 1.0735 1.0932"""
LOGITS_LOSS = """
.8902 .6975 .598 .5304 .4773 .4399 .4049 .3784 .3525 .3332 .3218 .3063 .2902 .2825 .2792
.2727 .2787 .2606 .2606 .2782 .2659 .2639 .2843 .2752 .2927 .2928 .2838 .2996 .3098
.3142 .314 .3063 .3513 .3299 .3195 .382 .3795 .3817 .3863 .4082 .3854 .406 .4325 .4291
.4536 .4588 .4732 .4728 .4948 .5041 .4848 .5335 .5544 .5767 .5634 .584 .5956 .6019 .6267
.6255"""
LOGITS_DEVIATION = """
.0913 .1155 .1329 .1471 .1592 .1700 .1798 .1888 .1970 .2046 .2118 .2185 .2249 .2310
.2366 .2420 .2474 .2524 .2570 .2617 .2657 .2704 .2745 .2784 .2822 .2861 .2898 .2936
.2974 .3009 .3044 .3079 .3114 .3147 .3182 .3215 .3247 .3278 .3311 .3348 .3382 .3415
.3447 .3480 .3514 .3548 .3581 .3616 .3652 .3685 .3719 .3755 .3789 .3823 .3859 .3891
.3924 .3960 .3993 .4030"""
HASY = {"num_classes": 369, "largest_class_share": 0.021}


def _numbers(text):
    return np.array(text.split(), dtype=float)


def _real(loss, deviation):
    columns = [
        np.insert(_numbers(one), 0, np.nan)[:, None] for one in (loss, deviation)
    ]
    at = np.arange(0, 601, 10)
    return make_records(columns[0], deviation=columns[1], epochs=at, **HASY)


def _curves(*columns):
    train = np.stack(columns, axis=1).astype(float)
    train[0] = np.nan
    return train


def _falling(floor=0.001):
    return 2.3 * np.exp(-EPOCHS / 30) + floor


def test_a_real_collapse_is_found_with_both_jumps():
    records = _real(COLLAPSE_LOSS, COLLAPSE_DEVIATION)
    spec = make_spec(150, 1, training__epochs=600)
    found = find_transitions(records, spec)
    assert found.divergence_level == pytest.approx(0.9 * 15.78, rel=1e-3)
    assert found.divergence_epoch[0] == 580  # of 580 and 582 in two seeds
    assert 540 <= found.loss_jump_epoch[0] <= 560
    assert 540 <= found.deviation_jump_epoch[0] <= 565
    assert 0 <= found.lag[0] <= 20
    assert found.min_train_epoch[0] == 170
    assert classify_learners(found)[0] == "unstable"


def test_the_same_training_from_logits_has_no_jump_and_no_divergence():
    records = _real(LOGITS_LOSS, LOGITS_DEVIATION)
    spec = make_spec(150, 1, training__epochs=600, training__loss="cross_entropy")
    found = find_transitions(records, spec)
    assert not found.loss_jumps[0] and not found.deviation_jumps[0]
    assert np.isnan(found.divergence_epoch[0]) and np.isnan(found.lag[0])
    assert classify_learners(found)[0] == "undecided"


def test_planted_transitions_are_found_by_replica():
    jumps = np.where(EPOCHS >= 200, 14.8, _falling())
    deviation = np.stack([0.02 * EPOCHS**0.4] * 2, axis=1)
    deviation[206:, 1] *= 1.5
    test = _curves(2.3 + (EPOCHS - 40) ** 2, 2.3 + (EPOCHS - 90) ** 2)
    records = make_records(_curves(_falling(), jumps), deviation=deviation, test=test)
    found = find_transitions(records, make_spec(replicas=2))
    np.testing.assert_array_equal(found.min_test_epoch, [40, 90])
    np.testing.assert_array_equal(found.min_train_epoch, [np.nan, 199])
    np.testing.assert_array_equal(found.train_still_falling, [True, False])
    np.testing.assert_array_equal(found.divergence_epoch, [np.nan, 200])
    np.testing.assert_array_equal(found.loss_jump_epoch, [np.nan, 200])
    np.testing.assert_array_equal(found.deviation_jump_epoch, [np.nan, 206])
    np.testing.assert_array_equal(found.lag, [np.nan, 6])
    assert found.deviation_jumps[1][0].size == pytest.approx(np.log(1.5), abs=0.02)
    assert (found.layer, found.window, found.last_epoch) == ("hidden2", 8, 400)


def test_the_lag_is_taken_to_the_nearest_loss_jump():
    steps = np.select([EPOCHS < 100, EPOCHS < 300], [0.01, 1.0], 14.0)
    deviation = np.where(EPOCHS < 305, 1.0, 2.0)[:, None]
    records = make_records(_curves(steps), deviation=deviation)
    found = find_transitions(records, make_spec(replicas=1))
    assert found.loss_jump_epoch[0] == 100  # the largest
    assert found.lag[0] == 5


def test_the_minimum_is_seen_only_when_enough_epochs_follow():
    at = [390, 393]  # the last 2 % of 400 epochs begin after 392
    train = _curves(*(1.0 + np.abs(EPOCHS - one) for one in at))
    found = find_transitions(make_records(train), make_spec(replicas=2))
    np.testing.assert_array_equal(found.min_train_epoch, [390, np.nan])
    np.testing.assert_array_equal(found.train_still_falling, [False, True])
    np.testing.assert_array_equal(found.min_train_loss, [1, 1])


def test_a_short_run_is_still_falling_when_its_minimum_is_the_last_epoch():
    train = np.linspace(2, 1, 6)[:, None]
    found = find_transitions(make_records(train), make_spec(replicas=1))
    assert found.train_still_falling[0] and np.isnan(found.min_train_epoch[0])


def test_nan_freezes_a_replica_and_leaves_the_others():
    train = _curves(_falling(), _falling(), _falling())
    train[151:, 0] = np.nan
    train[398:, 1] = np.nan  # too late to see a rise: but it rose to infinity
    step = np.array([150, 397, 0]) * STEPS_AN_EPOCH + [3, 3, -1]
    records = make_records(train, nonfinite_step=step)
    found = find_transitions(records, make_spec(replicas=3))
    np.testing.assert_array_equal(found.nonfinite_epoch, [151, 398, np.nan])
    np.testing.assert_array_equal(found.nonfinite_step, [*step[:2], np.nan])
    np.testing.assert_array_equal(found.min_train_epoch, [150, 397, np.nan])
    np.testing.assert_array_equal(found.train_still_falling, [False, False, True])
    learners = ["unstable", "unstable", "strong"]
    np.testing.assert_array_equal(classify_learners(found), learners)


def test_other_losses_diverge_above_chance_after_their_minimum():
    rising = np.where(EPOCHS < 100, _falling(0.5), np.log(10) + 0.01)
    early = np.where(EPOCHS < 20, 9.0, 1.0) + EPOCHS / 1000
    records = make_records(_curves(rising, early))
    spec = make_spec(replicas=2, training__loss="cross_entropy")
    found = find_transitions(records, spec)
    np.testing.assert_array_equal(found.divergence_epoch, [100, np.nan])
    squared = make_spec(replicas=2, training__loss="mean_squared_error")
    guess = np.mean((np.eye(10) - 0.1) ** 2)  # all outputs at 1 / C
    assert find_transitions(records, squared).chance_loss == pytest.approx(guess)


def test_the_deviation_of_another_layer_can_be_looked_at():
    found = find_transitions(
        make_records(_curves(_falling())), make_spec(), layer="output"
    )
    assert found.layer == "output" and not found.deviation_jumps[0]


def test_records_without_the_facts_are_refused_in_one_line():
    records = make_records(_curves(_falling()))
    del records.attrs["largest_class_share"]
    with pytest.raises(StoreError, match="largest_class_share") as caught:
        find_transitions(records, make_spec(replicas=1))
    assert "\n" not in str(caught.value)
    other = make_spec(replicas=1, training__loss="cross_entropy")
    find_transitions(records, other)  # does not need it


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strong": 0.0}, "strong"),
        ({"rise": float("nan")}, "rise"),
        ({"strong": 0.2}, "must not lie above reached"),
    ],
)
def test_thresholds_are_checked(wrong, message):
    with pytest.raises(SpecError, match=message):
        Thresholds(**wrong)


def test_thresholds_print_themselves():
    rows = Thresholds(rise=3.0).rows()
    assert ("rise", 3.0) in [row[:2] for row in rows]
    assert all(meaning for _, _, meaning in rows)


def _hasy(minimum, then=None, at=300):
    """A loss like those of Figure 2 of the paper: to a minimum, and what follows."""
    curve = 5.9 * np.exp(-EPOCHS / 15) + minimum
    return curve if then is None else np.where(at <= EPOCHS, then, curve)


def test_learners_are_those_of_the_paper():
    train = _curves(
        _hasy(2.22),  # width 10
        _hasy(0.70),  # width 50
        _hasy(0.42, 15.6),  # width 100
        _hasy(0.12, 15.6),  # width 250
        _hasy(0.015),  # width 500
        _hasy(0.015, 15.6),  # width 275
        _hasy(0.3),  # between: learned, not strong, no jump
        _hasy(2.22, 15.6),  # never learned, and collapsed
    )
    found = find_transitions(make_records(train, **HASY), make_spec(replicas=8))
    assert classify_learners(found).tolist() == [
        *("weak", "weak", "unstable", "unstable"),
        *("strong", "unstable", "undecided", "weak"),
    ]


def test_a_network_that_came_back_from_a_jump_is_strong():
    back = np.where((EPOCHS >= 100) & (EPOCHS < 130), 5.0, _falling())
    found = find_transitions(make_records(_curves(back)), make_spec(replicas=1))
    assert found.loss_jump_epoch[0] == 100
    assert classify_learners(found)[0] == "strong"


def test_a_run_before_its_first_epoch_is_undecided():
    found = find_transitions(make_records(np.full((1, 2), np.nan)), make_spec())
    assert classify_learners(found).tolist() == ["undecided", "undecided"]
    assert np.isnan(found.min_train_loss).all()


def test_looser_thresholds_make_more_strong_learners():
    found = find_transitions(make_records(_curves(_hasy(0.3)), **HASY), make_spec())
    loose = Thresholds(strong=0.1)
    assert classify_learners(found, loose)[0] == "strong"
    assert set(classify_learners(found, loose)) <= set(LEARNERS)


def test_regimes_follow_level_and_minimum():
    train = _curves(_hasy(0.015), _hasy(0.12, 15.6), _hasy(2.22), _hasy(0.12, 0.13))
    train[250:, 2] = np.nan
    step = np.array([-1, -1, 250 * STEPS_AN_EPOCH, -1])
    records = make_records(train, nonfinite_step=step, **HASY)
    regime = label_regimes(records, make_spec(replicas=4)).regime
    low, high, lost = 0, 1, 2
    learned = 15 * np.log(5.9 / (0.591 - 0.12))  # where the loss passes ln(369) / 10
    assert regime[1:10, 1].tolist() == [low] * 9
    assert regime[int(learned), 1] == low and regime[int(learned) + 1, 1] == high
    assert (regime[290:300, 1] == high).all() and (regime[300:, 1] == lost).all()
    assert (regime[100:, 0] == high).all()
    assert (regime[1:249, 2] == low).all() and (regime[250:, 2] == lost).all()
    assert (regime[300:, 3] == high).all()  # 8 % above the minimum is no loss
    assert (regime[0] == -1).all()
