"""Findings, phase diagram and studies: what is said is what the numbers show."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from birthmark.analysis import (
    LEARNERS,
    REGIMES,
    Run,
    Study,
    Survey,
    Thresholds,
    find_findings,
    find_headlines,
    label_regimes,
    look_at,
    phase_diagram,
    read_columns,
    split_by_protocol,
)
from birthmark.analysis.endings import lost_since
from birthmark.analysis.layers import final_distances
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


def _named(source, name, thresholds=None):
    """The finding of that name; its sentence and its details together as `text`."""
    (one,) = [one for one in find_findings(source, thresholds) if one.name == name]
    return one


def _text(finding):
    return f"{finding.what} {finding.details}"


def test_the_learners_are_counted_and_told_by_width(study):
    found = _named(study, "learners")
    assert found.what == (
        "10 of 20 networks are unstable (had learned, and lost it), "
        "5 weak (never reached a train loss of 0.23), 5 strong."  # a tenth of ln 10
    )
    assert "width 8: 5 weak; width 32: 5 unstable" in found.details
    assert "width 128: 5 strong" in found.details
    assert found.values["unstable"] == 0.5 and found.level == "warning"
    assert "0.023" in found.how  # a hundredth of ln 10


def test_the_lag_of_the_deviation_is_told_only_where_it_is_there(study):
    found = _named(study, "coincidence")
    assert found.what == (
        "The train loss jumps in 10 of 20 networks, the deviation with it in 10."
    )
    assert "hidden2 jumps in 10, both in 10, there within 8 epochs" in found.details
    assert "the deviation jumps after the loss" in found.details
    assert found.values["lag"] == 5
    together = _named(Study((_run(64, "unstable", lag=0),)), "coincidence")
    assert "no lag between them is established" in together.details
    before = _named(Study((_run(64, "unstable", lag=-4),)), "coincidence")
    assert "jumps before the loss" in before.details


def test_jumps_that_have_nothing_to_do_with_each_other_have_no_order():
    runs = (_run(64, "unstable", lag=at, replicas=1) for at in (150, 30, 2))
    runs = [
        Run(str(i), run.spec.with_settings({"run.seed": i}), run.records)
        for i, run in enumerate(runs)
    ]
    found = _named(Study(tuple(runs)), "coincidence")
    assert "both in 3, there within 8 epochs of each other in 1" in found.details
    assert "no lag between them is established" in found.details


def test_a_lag_shorter_than_the_gap_between_records_is_not_told():
    run = _run(64, "unstable", lag=25)
    at = run.records["epoch"]
    sparse = run.records["deviation_std"].where(at % 30 == 0)
    records = run.records.assign(deviation_std=sparse)
    found = _named(Study((Run(run.run_key, run.spec, records),)), "coincidence")
    assert 0 < found.values["lag_low"] <= found.values["lag"] < 30
    assert "no lag between them is established" in found.details


def test_stable_networks_have_no_jump_and_no_collapse():
    stable = Study((_run(128, "strong"), _run(64, "strong")))
    jumps = _named(stable, "coincidence").what
    assert jumps == "The train loss jumps in 0 of 10 networks."
    collapse = _named(stable, "collapse")
    assert collapse.what == "None of 10 networks diverges."
    assert collapse.details == "None met NaN or Inf."
    assert collapse.level == "good"
    assert "kept_marks" not in [one.name for one in find_findings(stable)]


def test_networks_that_nan_froze_stand_in_the_headlines():
    run = _run(64, "strong")
    records = run.records.copy(deep=True)
    records["nonfinite_step"][:2] = 1
    for name in ("train_loss", "test_loss"):
        records[name].values[1:, :2] = np.nan
    frozen = Study((Run(run.run_key, run.spec, records),))
    collapse = _named(frozen, "collapse")
    assert collapse.what == "None of 5 networks diverges; NaN or Inf froze 2."
    assert collapse.level == "warning"
    assert _named(frozen, "learners").what == (
        "2 of 5 networks are weak (never reached a train loss of 0.23), 3 strong; "
        "NaN or Inf froze 2."
    )


def _mix(*ends, marked=True):
    """A run with one network for each end: what became of it, and when."""
    falling = 2.3 * np.exp(-EPOCHS / 20) + 1e-4
    mse = {"training__loss": "mean_squared_error"} if "huge" in ends else {}
    curves = {
        "strong": falling,
        "weak": np.full(401, 2.0),
        "between": falling + 0.1,
        "frozen": np.full(401, np.nan),  # at its first step
        "huge": np.where(EPOCHS < 2, 2.0, 1e30),
    }
    train = np.stack([curves[end] for end in ends], axis=1)
    frozen = np.array([end == "frozen" for end in ends])
    test = 0.5 + (EPOCHS[:, None] - 50) ** 2 / 1e4
    test = np.where(frozen & (EPOCHS[:, None] > 0), np.nan, test)
    kept = np.where(frozen, np.nan, np.full(train.shape, 0.9))
    return make_run(
        make_spec(64, len(ends), **({"mark__text": "a"} if marked else {}), **mse),
        np.where(EPOCHS[:, None] == 0, np.nan, train),
        test=test,
        nonfinite_step=np.where(frozen, 1, -1),
        counts={"test_accuracy": np.where(EPOCHS[:, None] == 0, 0.3, 0.1 + 0 * train)},
        scalars={n: kept for n in ("mark_auc", "relative_distance", "correlation")},
    )


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (
            ["frozen"] * 2,
            "2 of 2 networks are weak (never reached a train loss of 0.23); NaN",
        ),
        (["huge"], "1 of 1 networks is weak (never reached a train loss of 0.009)."),
        (["strong", "huge", "frozen"], "2 of 3 networks are weak (never "),
        (
            ["strong", "between"],
            "1 of 2 networks is undecided (between: reached 0.23, and did not end st",
        ),
        (
            ["weak", "between", "between"],
            "1 of 3 networks is weak (never reached a train loss of 0.23), 2 undec",
        ),
        (["strong", "strong"], "All 2 networks are strong: they learned, and kept it."),
    ],
)
def test_whatever_became_of_a_network_the_first_sentence_counts_it(ends, said):
    found = _named(Study((_mix(*ends),)), "learners")
    assert found.what.startswith(said)
    assert sum(found.values.values()) == pytest.approx(1)


def test_no_share_leaves_out_networks_in_silence():
    study = Study((_mix("strong", "frozen", "frozen"),))
    assert "in 1 of 1 networks (not known of 2 more)." in _named(study, "minima").what
    assert "in 1 of 1 networks (not known of 2 more);" in (
        _named(study, "retention").what
    )
    weak = Study((_mix("weak", "frozen"),))
    # one could not be read, and neither of the collapsed can
    assert "1 of 2 networks of width 64 end" in " ".join(find_headlines(weak))
    (first, distance, *_) = look_at(Survey(None, study.runs).families[0]).numbers
    assert first.text == "1 of 3" and "(1 of 3 networks)" in distance.label


def test_the_first_screen_speaks_of_the_same_networks_twice(study):
    """A plain mean over their ends, in the sentence and by layer."""
    column = next(one for one in read_columns(study) if one.width == 128)
    ends = column.final("relative_distance", "hidden2")
    overview = look_at(Survey(None, study.runs).families[0])
    assert "width 128 end with hidden2 at a relative distance of" in overview.sentence
    assert dict(overview.layers)["hidden2"] == pytest.approx(np.mean(ends))
    assert _named(study, "nearness").values["relative_distance"] == pytest.approx(
        np.mean(ends)
    )


def test_what_nan_stopped_has_no_accuracy_at_the_end():
    """Where it stopped all networks, that of the start is not that of the end."""
    run = _mix("frozen", "frozen", marked=False)
    records = run.records.copy(deep=True)
    records["test_accuracy"].values[1:] = np.nan
    study = Study((Run(run.run_key, run.spec, records),))
    (column,) = read_columns(study)
    assert np.isnan(column.final("test_accuracy")).all()
    overview = look_at(Survey(None, study.runs).families[0])
    assert [one.text for one in overview.numbers] == ["0 of 2"]


def test_a_network_that_never_had_a_minimum_stands_where_training_made_it_worse():
    run = _mix("frozen", "strong")
    regime = label_regimes(run.records, run.spec).regime
    assert (regime[1:, 0] == REGIMES.index("untrainability")).all()
    assert not (regime[:, 1] == REGIMES.index("untrainability")).any()


def test_the_mark_is_counted_as_readable_from_its_line_on(study):
    found = _named(study, "retention")
    assert found.what == (
        "Weight by weight the mark can be read at the end in 5 of 20 networks; an eye, "
        "which pools, may see more."
    )
    assert found.values["width 128"] == pytest.approx(0.9, abs=0.02)
    assert "width 64: 0.584" in found.details and "n = 5" in found.details


def test_a_mark_is_read_as_an_eye_does_where_that_was_recorded():
    """Weight by weight at 0.6 it is not readable; pooled at 0.9 it is, and is told."""
    run = _run(64, "strong", retention=0.6, noise=0)
    pooled = xr.full_like(run.records["mark_auc"], 0.9)
    says = {
        "The mark can still be read at the end in 5 of 5 networks.": pooled,
        "Weight by weight the mark can be read at the end in 0 of 5 networks; an eye, "
        "which pools, may see more.": pooled * np.nan,
    }
    for said, given in says.items():
        records = run.records.assign(mark_pooled_auc=given)
        study = Study((Run(run.run_key, run.spec, records),))
        assert _named(study, "retention").what == said


def test_marks_kept_by_collapsed_networks_are_told():
    found = _named(
        Study((_run(64, "unstable", retention=0.88, noise=0),)), "kept_marks"
    )
    assert found.what == (
        "5 of 5 collapsed networks keep a readable mark, weight by weight."
    )
    # it is read at the same value before the collapse: the collapse changes nothing
    assert found.values == {
        "kept": 5,
        "collapsed": 5,
        "change": pytest.approx(0),
        "change_n": 5,
    }


def test_what_a_collapse_does_to_the_mark_is_taken_within_each_network():
    run = _run(64, "unstable", retention=0.9, noise=0)
    marks = run.records["mark_auc"]
    after = marks.where(run.records["epoch"] < 200, marks - 0.3)
    records = run.records.assign(mark_auc=after)
    found = _named(Study((Run(run.run_key, run.spec, records),)), "kept_marks")
    assert found.values["change"] == pytest.approx(-0.3)
    assert "its end the retention of a network changes by -0.300" in found.details


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (range(8), "Retention falls with the time of collapse"),
        ([3, 6, 0, 5, 2, 7, 1, 4], "No dependence on the time of collapse"),
    ],
)
def test_dependence_of_the_kept_mark_on_the_time_of_collapse(places, said):
    at = np.arange(100, 300, 25)
    train = np.where(EPOCHS[:, None] < at, 0.1, 14.8)
    marks = np.repeat(0.95 - np.array(places)[None] * 0.05, 401, axis=0)
    spec = make_spec(64, 8, mark__text="a")
    run = make_run(spec, train, scalars={"mark_auc": marks})
    found = _named(Study((run,)), "kept_marks")
    assert said in found.details
    assert found.values["rho"] == pytest.approx(-stats.spearmanr(at, places)[0])


def test_the_fall_of_the_deviation_with_width_has_its_exponent():
    strong = Study(tuple(_run(width, "strong") for width in (32, 64, 128)))
    found = _named(strong, "scaling")
    assert "the deviation of hidden2 goes as width to the power -" in found.what
    assert "its standard deviation falls with width (exponent -" in found.details
    low, high = (found.values[f"deviation_std_{end}"] for end in ("low", "high"))
    assert low < 1 < high
    assert "spectral" not in found.details  # was not recorded


def test_no_dependence_on_width_is_claimed_where_the_interval_holds_zero():
    runs = []
    for width in (32, 64, 128):
        run = _run(width, "strong", noise=0.3)
        flat = run.records["deviation_std"] * width
        records = run.records.assign(deviation_std=flat)
        runs.append(Run(run.run_key, run.spec, records))
    found = _named(Study(tuple(runs)), "scaling")
    assert "in no way that is established" in found.what
    assert "deviation shows no clear dependence on width" in found.details


def test_along_words_the_least_and_the_largest_deviation_are_told():
    runs = []
    for name, factor in (("he_normal", 3.0), ("zeros", 1.0)):
        run = _run(64, "strong", noise=0, initialization={"name": name})
        scaled = run.records["deviation_std"] * factor
        records = run.records.assign(deviation_std=scaled)
        runs.append(Run(run.run_key, run.spec, records))
    found = _named(Study(tuple(runs)), "scaling")
    said = "initialization he_normal has deviated 3.0 times as much as zeros"
    assert said in found.what
    assert found.values["factor"] == pytest.approx(3)


def test_nearness_to_the_start_is_told_of_strong_learners(study):
    found = _named(study, "nearness")
    final = 0.1 * 400**0.4 * 64 / 128
    assert found.values["relative_distance"] == pytest.approx(final / 4, rel=0.03)
    assert found.values["correlation"] == pytest.approx(1 - final / 8, rel=0.03)
    assert "width 128" in found.what and "hidden2" in found.details


def test_examples_without_a_gradient_are_counted_apart(study):
    found = _named(study, "examples")
    assert "1300 of 1437 training examples are abandoned" in found.what
    assert "1300 abandoned and 400 saturated in the 10 diverged" in found.details
    assert "0 abandoned and 400 saturated in the 5 strong" in found.details


def test_minima_tell_what_is_still_falling(study):
    found = _named(study, "minima")
    assert "before the train loss in 20 of 20 networks" in found.what
    assert "in 10 of 20 the train loss was still falling" in found.details
    assert "width 64: 50.0" in found.details


def test_an_unfinished_run_is_told_first(study):
    run = study.runs[-1]
    short = Run(run.run_key, run.spec, run.records.isel(step=slice(0, 200)))
    first = find_findings(Study((short, *study.runs[:-1])))[0]
    assert first.what == "1 of 4 runs are not finished."
    assert first.details == "width 128 (epoch 199 of 400)."


def test_headlines_are_one_sentence_each_and_five_at_most(study):
    lines = find_headlines(study)
    assert len(lines) == 5 and lines[0].startswith("10 of 20 networks are unstable")
    assert not any("\n" in line or len(line) > 160 for line in lines)
    assert find_headlines(Study(())) == []


def test_any_study_is_borne():
    assert find_findings(Study(())) == []
    assert phase_diagram(read_columns(Study(()))).values == ()
    one = make_run(make_spec(64, 1), _loss("strong", 1))
    findings = find_findings(Study((one,)))
    assert findings and not [f for f in findings if "mark" in f.what.lower()]
    lost = _loss("unstable", 2)
    lost[150:] = np.nan
    frozen = np.full(2, 150 * STEPS_AN_EPOCH)
    nan = make_run(make_spec(64, 2), lost, nonfinite_step=frozen)
    frozen = Study((nan,))
    assert "NaN or Inf froze 2" in _named(frozen, "collapse").what
    assert "width 64: 2 unstable" in _named(frozen, "learners").details
    empty = make_run(make_spec(64, 2), np.full((1, 2), np.nan))
    assert "2 undecided" in _named(Study((empty,)), "learners").details
    text = " ".join(_text(one) for one in find_findings(frozen))
    assert "nan" not in text.replace("NaN", "")


def test_every_finding_is_whole(study):
    for one in find_findings(study):
        assert one.what.endswith(".") and "\n" not in one.what and len(one.what) < 160
        assert one.why and one.how and one.name
        assert all(isinstance(v, float | int | np.number) for v in one.values.values())


def test_protocols_are_not_mixed_and_are_named(study):
    slow = _run(64, "strong", training__lr=0.05)
    both = Study((*study.runs, slow))
    assert [len(one.runs) for one in split_by_protocol(both)] == [4, 2]
    findings = find_findings(both)
    names = {one.what[: one.what.index("]") + 1] for one in findings}
    # the run that is left has a partner that differs in the learning rate alone
    assert names == {"[learning rate 0.1]", "[width 64]"}


def test_seeds_and_records_do_not_part_a_protocol():
    runs = tuple(
        _run(width, "strong", run__seed=seed, record__epochs=(1, 2))
        for width, seed in ((64, 0), (64, 1), (128, 0))
    )
    (one,) = split_by_protocol(Study(runs))
    assert one.axis.values == (64, 128) and len(one.at(64)) == 2
    assert phase_diagram(read_columns(one)).replicas.tolist() == [10, 5]


def test_the_phase_diagram_counts_what_was_seen(study):
    found = phase_diagram(read_columns(study))
    assert found.values == (8, 32, 64, 128)
    assert [one.n for one in found.divergence_epoch] == [0, 5, 5, 0]
    assert found.divergence_epoch[1].mean == pytest.approx(200)
    assert [one.mean for one in found.min_test_epoch] == pytest.approx([50] * 4)
    assert [one.n for one in found.min_train_epoch] == [0, 5, 5, 0]
    assert found.min_train_loss[0].mean == pytest.approx(0.9, abs=1e-3)
    np.testing.assert_array_equal(found.learners.sum(axis=1), 1)
    assert found.learners[1, LEARNERS.index("unstable")] == 1


def test_thresholds_change_what_is_found(study):
    strict = Thresholds(strong=1e-4)
    found = _named(study, "learners", strict)
    assert "width 128: 5 undecided" in found.details


def test_records_without_facts_are_refused(study):
    run = study.runs[0]
    bare = Run(run.run_key, run.spec, run.records.drop_attrs())
    with pytest.raises(StoreError, match="num_classes"):
        find_findings(Study((bare,)))


def _tracked(lr, optimizer, losses):
    """A run in a user's own loop, R networks that end with these losses."""
    steps = np.array([0, 10, 20])
    curve = np.stack([np.full(len(losses), 3.0), np.full(len(losses), 2.0), losses])
    moved = np.multiply.outer(steps / 20, np.ones(len(losses)))[..., None] * [0.2, 0.1]
    records = xr.Dataset(
        {
            "loss": (("step", "replica"), np.full_like(curve, 1e-9)),
            "test_loss": (("step", "replica"), curve),
            "relative_distance": (("step", "replica", "layer"), moved),
        },
        {"step": steps, "layer": ["0", "2"]},
    )
    fields = {"lr": lr, "optimizer": optimizer, "kind": "tracked", "name": "mine"}
    return Run(f"{optimizer}{lr}".ljust(16, "x"), None, records, fields)


def test_of_runs_in_a_loop_the_least_loss_is_sought_over_all_lines():
    clear, close = [0.10, 0.11, 0.09], [0.12, 0.08, 0.10]
    runs = (
        *(_tracked(lr, "adam", [0.5, 0.6, 0.7]) for lr in (0.1, 0.3, 1.0)),
        _tracked(0.1, "sgd", clear),
        _tracked(0.3, "sgd", [0.3, 0.31, 0.29]),
    )
    survey = Survey(None, runs, axis="lr", series="optimizer")
    found = _named(survey, "least_loss")
    assert found.what == (
        "The final test loss is least at learning rate 0.1, optimizer sgd: 0.0997."
    )
    mean = np.exp(np.log(clear).mean())
    assert found.values["learning rate 0.1, optimizer sgd"] == pytest.approx(mean)
    assert "learning rate 0.3, optimizer sgd, the next, it is higher" in found.details
    assert _named(survey, "farthest").values == pytest.approx({"0": 0.2, "2": 0.1})

    gone = _tracked(0.1, "sgd", [np.nan, 0.05, np.nan])
    few = Survey(None, (gone, runs[4]), axis="lr")
    assert _named(few, "least_loss").what.endswith("(2 networks have none at the end).")

    lost = _named(few, "lost")
    assert lost.what == (
        "The loss of 2 of 6 networks becomes NaN or Inf: learning rate 0.1, from step "
        "20 on."
    )
    assert find_headlines(few)[0] == lost.what

    alike = Survey(None, (runs[3], _tracked(0.3, "sgd", close)))
    assert "No difference to" in _named(alike, "least_loss").details


@pytest.mark.parametrize(
    ("curve", "since"),
    [
        ([3, 2, 1], None),
        ([np.nan, 2, 1], None),  # nothing is noted at the start
        ([3, 2, np.nan, np.nan], 2),
        ([3, 2, np.inf], 2),
        ([np.nan, np.nan], 0),
        ([np.nan], None),
        ([3, np.nan, 2, np.nan], None),  # noted at every second record
        ([3, np.nan, 2, np.nan, np.nan], 3),
        ([3, np.nan, np.nan], None),  # noted once
    ],
)
def test_a_loss_is_lost_where_it_is_no_number_for_longer_than_it_was_not_noted(
    curve, since
):
    steps, expected = np.arange(len(curve)), np.nan if since is None else since
    found = lost_since(steps, np.array(curve, dtype=float)[:, None])
    np.testing.assert_array_equal(found, [expected])


def test_a_network_whose_loss_became_nan_is_no_learner_though_nothing_froze_it():
    run = _run(64, "strong", replicas=2)
    loss = run.records["train_loss"].values.copy()
    loss[300:, 1] = np.nan
    records = run.records.assign(train_loss=(("step", "replica"), loss))
    for given in (records, records.drop_vars("nonfinite_step")):
        study = Study((Run(run.run_key, run.spec, given),))
        assert _named(study, "learners").what.startswith("1 of 2 networks is unstable")
        collapse = _named(study, "collapse")
        assert collapse.values["nonfinite"] == 1 and "None met" not in collapse.details
        (column,) = read_columns(study)
        assert np.isnan(column.joined("final_train_loss")).tolist() == [False, True]
        assert column.joined("nonfinite_epoch")[1] == 300


def test_runs_of_networks_that_share_no_layer_are_not_compared():
    """They make families of their own; one that shares layers with both joins them."""
    first, second = _tracked(0.1, "sgd", [0.5]), _tracked(0.3, "sgd", [0.4])
    other = Run("b" * 16, None, second.records.assign_coords(layer=["a", "b"]), {})
    assert [len(one.runs) for one in Survey(None, (first, other)).families] == [1, 1]
    assert [len(one.runs) for one in Survey(None, (first, second)).families] == [2]
    named = Run("c" * 16, None, other.records, {"kind": "tracked", "name": "mine"})
    assert Survey(None, (named,)).families[0].say(named) == "mine"
    deeper = Run("d" * 16, None, second.records.assign_coords(layer=["2", "a"]), {})
    joined = Survey(None, (first, other, deeper), axis="lr").families
    assert sum(len(one.runs) for one in joined) == 3
    assert Survey(None, (), axis=None).families == ()


def test_a_loop_that_knows_its_epoch_now_and_then_is_drawn_along_its_steps():
    """As Lightning notes it: at the last step of an epoch."""
    run = _tracked(0.1, "sgd", [0.5])
    epochs = ("step", [np.nan, 1.0, 2.0])
    noted = Run(run.run_key, None, run.records.assign_coords(epoch=epochs), run.fields)
    assert noted.epochs.tolist() == [0, 10, 20]
    assert dict(final_distances((noted,))) == pytest.approx({"0": 0.2, "2": 0.1})
