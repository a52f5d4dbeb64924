"""Findings, phase diagram and studies: what is said is what the numbers show."""

import numpy as np
import pytest
from scipy import stats

from birthmark.analysis import (
    LEARNERS,
    Run,
    Study,
    Thresholds,
    find_findings,
    phase_diagram,
    split_by_protocol,
)
from birthmark.errors import StoreError
from synthetic_records import STEPS_AN_EPOCH, make_run, make_spec

EPOCHS = np.arange(401.0)


def _loss(kind, replicas):
    falling = 2.3 * np.exp(-EPOCHS / 20)
    curve = {
        "strong": falling + 0.001,
        "weak": falling + 0.9,
        "unstable": np.where(EPOCHS < 200, falling + 0.01, 14.8),
    }[kind]
    curve = np.where(EPOCHS == 0, np.nan, curve)
    return np.repeat(curve[:, None], replicas, axis=1)


def _run(width, kind, *, replicas=5, retention=0.9, lag=5, noise=0.02, **settings):
    """A deviation that falls as 1 / width and jumps `lag` epochs after the loss."""
    random = np.random.default_rng(width)
    growth = 0.1 * EPOCHS[:, None] ** 0.4 * 64 / width
    if kind == "unstable":
        growth = growth * np.where(200 + lag > EPOCHS, 1.0, 2.0)[:, None]
    deviation = growth * np.exp(random.normal(0, noise, replicas))
    marks = np.clip(retention + random.normal(0, noise, (401, replicas)), 0, 1)
    spec = make_spec(width, replicas, mark__text="a", **settings)
    test = np.repeat(0.5 + (EPOCHS - 50)[:, None] ** 2 / 1e4, replicas, axis=1)
    return make_run(
        spec,
        _loss(kind, replicas),
        test=test,
        deviation=deviation,
        counts={
            "abandoned": np.full((401, replicas), 1300.0 if kind == "unstable" else 0),
            "saturated": np.full((401, replicas), 400.0),
        },
        scalars={
            "mark_auc": marks,
            "relative_distance": deviation / 4,
            "correlation": 1 - deviation / 8,
        },
        **{"data.num_train": 1437},
    )


@pytest.fixture(scope="module")
def study():
    return Study(
        (
            _run(128, "strong", retention=0.9),
            _run(64, "unstable", retention=0.6),
            _run(32, "unstable", retention=0.65),
            _run(8, "weak", retention=0.7),
        )
    )


def _about(findings, text):
    (one,) = [finding for finding in findings if text in finding.what]
    return one


def test_the_learners_of_each_width_are_told(study):
    found = _about(find_findings(study), "By majority")
    assert "strong at width 128 (5 of 5)" in found.what
    assert "unstable at width 32 (5 of 5) and 64 (5 of 5)" in found.what
    assert "weak at width 8 (5 of 5)" in found.what
    assert found.values["unstable_64"] == 1 and found.level == "warning"
    assert "0.023" in found.how  # a hundredth of ln 10


def test_the_lag_of_the_deviation_is_told_only_where_it_is_there(study):
    found = _about(find_findings(study), "loss jumps")
    assert "jumps in 10 of 20 replicas, the deviation of hidden2 in 10" in found.what
    assert "both in 10, there within 8 epochs of each other in 10" in found.what
    assert "the deviation jumps after the loss" in found.what
    assert found.values["lag"] == 5
    together = Study((_run(64, "unstable", lag=0),))
    assert (
        "no lag between them is established"
        in _about(find_findings(together), "loss jumps").what
    )
    before = Study((_run(64, "unstable", lag=-4),))
    assert "jumps before the loss" in _about(find_findings(before), "loss jumps").what


def test_jumps_that_have_nothing_to_do_with_each_other_have_no_order():
    runs = (_run(64, "unstable", lag=at, replicas=1) for at in (150, 30, 2))
    runs = [
        Run(str(i), run.spec.with_settings({"run.seed": i}), run.records)
        for i, run in enumerate(runs)
    ]
    found = _about(find_findings(Study(tuple(runs))), "loss jumps")
    assert "both in 3, there within 8 epochs of each other in 1" in found.what
    assert "no lag between them is established" in found.what


def test_a_lag_shorter_than_the_gap_between_records_is_not_told():
    run = _run(64, "unstable", lag=25)
    at = run.records["epoch"]
    sparse = run.records["deviation_std"].where(at % 30 == 0)
    records = run.records.assign(deviation_std=sparse)
    found = _about(
        find_findings(Study((Run(run.run_key, run.spec, records),))), "loss jumps"
    )
    assert 0 < found.values["lag_low"] <= found.values["lag"] < 30
    assert "no lag between them is established" in found.what


def test_stable_networks_have_no_jump_and_no_collapse():
    findings = find_findings(Study((_run(128, "strong"), _run(64, "strong"))))
    assert "jumps in 0 of 10 replicas" in _about(findings, "loss jumps").what
    collapse = _about(findings, "diverge")
    assert "0 of 10 replicas diverge; none met NaN or Inf" in collapse.what
    assert collapse.level == "good"
    assert not [one for one in findings if "collapsed replicas" in one.what]


def test_the_retention_of_the_strong_exceeds_that_of_the_unstable(study):
    found = _about(find_findings(study), "mean retention")
    assert "strong width 128 exceeds that at the unstable width 64" in found.what
    assert found.values["difference"] == pytest.approx(0.3, abs=0.05)
    assert found.values["low"] > 0.2 and found.level == "good"


def test_no_difference_of_retention_is_claimed_where_there_is_none():
    same = Study(
        (
            _run(128, "strong", retention=0.7, noise=0.1),
            _run(64, "unstable", retention=0.7, noise=0.1),
        )
    )
    found = _about(find_findings(same), "mean retention")
    assert "does not clearly differ" in found.what and found.level == "info"


def test_marks_kept_by_collapsed_networks_are_told():
    kept = Study((_run(64, "unstable", retention=0.88),))
    found = _about(find_findings(kept), "collapsed replicas keep")
    assert found.what.startswith("5 of 5")
    assert found.values == {"kept": 5, "collapsed": 5}


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (range(8), "retention falls with the time of collapse"),
        ([3, 6, 0, 5, 2, 7, 1, 4], "no dependence on the time of collapse"),
    ],
)
def test_dependence_of_the_kept_mark_on_the_time_of_collapse(places, said):
    at = np.arange(100, 300, 25)
    train = np.where(EPOCHS[:, None] < at, 0.1, 14.8)
    marks = np.repeat(0.95 - np.array(places)[None] * 0.05, 401, axis=0)
    spec = make_spec(64, 8, mark__text="a")
    run = make_run(spec, train, scalars={"mark_auc": marks})
    found = _about(find_findings(Study((run,))), "collapsed replicas keep")
    assert said in found.what
    assert found.values["rho"] == pytest.approx(-stats.spearmanr(at, places)[0])


def test_the_fall_of_the_deviation_with_width_has_its_exponent():
    strong = Study(tuple(_run(width, "strong") for width in (32, 64, 128)))
    found = _about(find_findings(strong), "equal train loss")
    assert "its standard deviation falls with width (exponent -" in found.what
    low, high = (found.values[f"deviation_std_{end}"] for end in ("low", "high"))
    assert low < 1 < high
    assert "spectral" not in found.what  # was not recorded


def test_no_dependence_on_width_is_claimed_where_the_interval_holds_zero():
    runs = []
    for width in (32, 64, 128):
        run = _run(width, "strong", noise=0.3)
        flat = run.records["deviation_std"] * width
        records = run.records.assign(deviation_std=flat)
        runs.append(Run(run.run_key, run.spec, records))
    found = _about(find_findings(Study(tuple(runs))), "equal train loss")
    assert "its standard deviation shows no clear dependence on width" in found.what


def test_nearness_to_the_start_is_told_of_strong_learners(study):
    found = _about(find_findings(study), "relative distance of")
    final = 0.1 * 400**0.4 * 64 / 128
    assert found.values["relative_distance"] == pytest.approx(final / 4, rel=0.03)
    assert found.values["correlation"] == pytest.approx(1 - final / 8, rel=0.03)
    assert "width 128" in found.what and "hidden2" in found.what


def test_examples_without_a_gradient_are_counted_apart(study):
    found = _about(find_findings(study), "without a gradient")
    assert "of 1437" in found.what
    assert "1300 abandoned and 400 saturated in the 10 diverged" in found.what
    assert "0 abandoned and 400 saturated in the 5 strong" in found.what


def test_minima_tell_what_is_still_falling(study):
    found = _about(find_findings(study), "minimum before the train loss")
    assert "in 20 of 20 replicas" in found.what
    assert "in 10 of 20 replicas the train loss was still falling" in found.what
    assert "64: 50.0" in found.what


def test_an_unfinished_run_is_told_first(study):
    run = study.runs[-1]
    short = Run(run.run_key, run.spec, run.records.isel(step=slice(0, 200)))
    findings = find_findings(Study((short, *study.runs[:-1])))
    assert "Not finished, by width: 128 (epoch 199 of 400)" in findings[0].what


def test_any_study_is_borne():
    assert find_findings(Study(())) == []
    assert phase_diagram(Study(())).widths == ()
    one = make_run(make_spec(64, 1), _loss("strong", 1))
    findings = find_findings(Study((one,)))
    assert findings and not [f for f in findings if "mark" in f.what.lower()]
    lost = _loss("unstable", 2)
    lost[150:] = np.nan
    frozen = np.full(2, 150 * STEPS_AN_EPOCH)
    nan = make_run(make_spec(64, 2), lost, nonfinite_step=frozen)
    findings = find_findings(Study((nan,)))
    assert "NaN or Inf froze 2" in _about(findings, "diverge").what
    assert "unstable at width 64 (2 of 2)" in _about(findings, "By majority").what
    empty = make_run(make_spec(64, 2), np.full((1, 2), np.nan))
    assert "undecided" in _about(find_findings(Study((empty,))), "By majority").what
    text = " ".join(f.what for f in findings)
    assert "nan" not in text.replace("NaN", "")


def test_every_finding_is_whole(study):
    for one in find_findings(study):
        assert one.what.endswith(".") and "\n" not in one.what
        assert one.why and one.how
        assert all(isinstance(v, float | int | np.number) for v in one.values.values())


def test_protocols_are_not_mixed_and_are_named(study):
    slow = _run(64, "strong", training__lr=0.05)
    both = Study((*study.runs, slow))
    assert [len(one.runs) for one in split_by_protocol(both)] == [4, 1]
    findings = find_findings(both)
    names = {one.what[: one.what.index("]") + 1] for one in findings}
    assert names == {"[training.lr=0.1]", "[training.lr=0.05]"}


def test_seeds_and_records_do_not_part_a_protocol():
    runs = tuple(
        _run(width, "strong", run__seed=seed, record__epochs=(1, 2))
        for width, seed in ((64, 0), (64, 1), (128, 0))
    )
    (one,) = split_by_protocol(Study(runs))
    assert one.widths == (64, 128) and len(one.at_width(64)) == 2
    assert phase_diagram(one).replicas.tolist() == [10, 5]


def test_the_phase_diagram_counts_what_was_seen(study):
    found = phase_diagram(study)
    assert found.widths == (8, 32, 64, 128)
    assert [one.n for one in found.divergence_epoch] == [0, 5, 5, 0]
    assert found.divergence_epoch[1].mean == 200
    assert [one.mean for one in found.min_test_epoch] == [50] * 4
    assert [one.n for one in found.min_train_epoch] == [0, 5, 5, 0]
    np.testing.assert_array_equal(found.train_still_falling, [5, 0, 0, 5])
    assert found.min_train_loss[0].mean == pytest.approx(0.9, abs=1e-3)
    np.testing.assert_array_equal(found.learners.sum(axis=1), 1)
    assert found.learners[1, LEARNERS.index("unstable")] == 1
    assert found.last_epochs == (400,) * 4


def test_thresholds_change_what_is_found(study):
    strict = Thresholds(strong=1e-4)
    found = _about(find_findings(study, strict), "By majority")
    assert "undecided at width 128" in found.what


def test_records_without_facts_are_refused(study):
    run = study.runs[0]
    bare = Run(run.run_key, run.spec, run.records.drop_attrs())
    with pytest.raises(StoreError, match="num_classes"):
        find_findings(Study((bare,)))
