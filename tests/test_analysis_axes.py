"""Axes and groups: what runs differ in is found, named, and never averaged over."""

import numpy as np
import pytest
import torch

import birthmark as bm
from birthmark.analysis import (
    Axis,
    Study,
    Survey,
    Thresholds,
    find_field,
    find_findings,
    group_runs,
    phase_diagram,
    read_columns,
    read_survey,
    split_by_protocol,
    unify_fields,
)
from birthmark.errors import SpecError
from synthetic_records import make_run, make_spec

EPOCHS = np.arange(41.0)


def _fields(*runs):
    return unify_fields([run.fields for run in runs])


def _run(width=64, *, level=0.001, replicas=3, **settings):
    """A loss that falls to a level."""
    spec = make_spec(width, replicas, training__epochs=40, **settings)
    curve = 2.3 * np.exp(-EPOCHS / 4) + level
    loss = np.repeat(np.where(EPOCHS == 0, np.nan, curve)[:, None], replicas, axis=1)
    return make_run(spec, loss, deviation=np.sqrt(EPOCHS)[:, None] * np.ones(replicas))


def _groups(runs, **asked):
    return group_runs(_fields(*runs), **asked)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((0.01, 0.03, 0.1, 0.3, 1.0), "log"),
        ((1, 2, 3, 4, 5), "linear"),
        ((2, 4, 8, 16), "log"),
        ((50, 100, 150, 200, 250), "linear"),
        ((10, 50, 100, 150, 200, 300, 500, 1000), "log"),
        ((0.0, 1e-4, 1e-3, 1e-2), "log"),
        ((0.0, 0.5, 0.9), "linear"),
        (("he_normal", "zeros"), "category"),
        ((100, 2000, "none"), "category"),
        ((12, 32), "log"),
        ((64,), "linear"),
    ],
)
def test_the_scale_is_that_on_which_values_were_varied(values, scale):
    axis = Axis("training.lr", values)
    assert axis.scale == scale
    assert (np.diff(axis.places) > 0).all()


def test_a_zero_stands_one_step_left_of_the_least_number():
    places = Axis("training.weight_decay", (0.0, 1e-4, 1e-3, 1e-2)).places
    np.testing.assert_allclose(np.diff(places), np.log(10))


def test_values_are_said_as_a_reader_would_write_them():
    axis = Axis("training.lr", (0.1, 1.0))
    assert axis.say(0.1, 1.0) == "learning rate 0.1 and 1"
    assert axis.label == "learning rate"
    both = Axis("training.lr", (0.1, 1.0), ("training.batch_size",))
    assert both.label == "learning rate (with batch size)"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("lr", "training.lr"),
        ("training.lr", "training.lr"),
        ("learning rate", "training.lr"),
        ("widths", "width"),
        ("depth", "depth"),
        ("loss", "training.loss"),
    ],
)
def test_a_field_is_named_in_any_of_its_ways(name, field):
    (fields,) = _fields(_run())
    assert find_field(name, list(fields)) == field


def test_a_field_that_is_not_there_is_refused_with_the_nearest():
    (fields,) = _fields(_run())
    with pytest.raises(SpecError, match="unknown axis 'learning_rat': did you mean"):
        find_field("learning_rat", list(fields))


def test_one_sweep_is_one_group_along_what_was_swept():
    runs = [
        _run(training__lr=lr, run__seed=s) for lr in (0.1, 0.3, 1.0) for s in (0, 1)
    ]
    (group,) = _groups(runs)
    assert group.axis.field == "training.lr" and group.axis.values == (0.1, 0.3, 1.0)
    assert group.series is None and len(group.members) == 6 and group.said == ""


def test_depth_is_told_apart_from_width():
    runs = [
        _run(network__widths=[width] * depth)
        for depth in (2, 4, 8)
        for width in (16, 32)
    ]
    (group,) = _groups(runs)
    assert (group.axis.field, group.series.field) == ("depth", "width")
    uneven = [_run(network__widths=w) for w in ([8, 16], [16, 16], [32, 16])]
    (group,) = _groups(uneven)
    assert group.axis.field == "network.widths" and group.axis.scale == "category"
    assert group.axis.values == ("16-16", "32-16", "8-16")


def test_a_grid_over_two_fields_has_an_axis_and_a_series():
    runs = [_run(w, training__lr=lr) for w in (8, 16, 32) for lr in (0.1, 1.0)]
    (group,) = _groups(runs)
    assert (group.axis.field, group.series.field) == ("width", "training.lr")
    (asked,) = _groups(runs, axis="lr", series="width")
    assert (asked.axis.field, asked.series.field) == ("training.lr", "width")
    apart = _groups(runs, axis="lr", series="")
    assert len(apart) == 3
    assert sorted(one.said for one in apart) == ["width 16", "width 32", "width 8"]


def test_a_star_of_two_sweeps_has_both_axes():
    rates = [_run(64, training__lr=lr) for lr in (0.03, 0.1, 0.3, 1.0)]
    widths = [_run(w) for w in (16, 32)]  # at the learning rate 0.1, as one of rates
    first, second = _groups([*rates, *widths])
    assert (first.axis.field, first.said) == ("training.lr", "width 64")
    assert (second.axis.field, second.said) == ("width", "learning rate 0.1")
    assert second.axis.values == (16, 32, 64)  # the middle of the star is in both


def test_what_changes_along_with_the_axis_is_named_with_it():
    pairs = zip((0.1, 0.2, 0.4), (32, 64, 128), strict=True)
    runs = [_run(training__lr=lr, training__batch_size=b) for lr, b in pairs]
    (group,) = _groups(runs)
    assert group.axis.label == "learning rate (with batch size)"


def test_data_sets_are_never_joined_unless_asked():
    runs = [_run(w, data__name=d) for d in ("digits", "mnist") for w in (8, 16)]
    assert [one.said for one in _groups(runs)] == ["digits", "mnist"]
    (joined,) = _groups(runs, axis="width", series="data.name")
    assert joined.series.values == ("digits", "mnist")


def test_initializations_are_words_and_one_number_of_them_an_axis():
    rules = ({"name": "he_normal"}, {"name": "constant", "value": 0.5})
    (group,) = _groups([_run(initialization=rule) for rule in rules])
    assert group.axis.field == "initialization"
    assert group.axis.values == ("constant, value 0.5", "he_normal")
    sizes = [
        _run(initialization={"name": "constant", "value": v}) for v in (0.1, 0.2, 0.4)
    ]
    (group,) = _groups(sizes)
    assert group.axis.field == "initialization.value" and group.axis.scale == "log"


def test_twins_with_a_mark_are_one_group_and_two_studies():
    runs = [_run(w, mark__text=text) for w in (8, 16) for text in ("a",)]
    runs += [_run(16)]
    assert len(_groups(runs)) == 1
    assert [one.values for one in split_by_protocol(Study(tuple(runs)))] == [
        (8, 16),
        (16,),
    ]
    (family,) = Survey(None, tuple(runs)).families
    assert [line.study.values for line in family.lines] == [(8, 16)]
    assert [study.values for _, study in family.twins] == [(16,)]


def test_two_precisions_at_one_place_are_no_replicas_of_each_other():
    runs = [_run(w, run__precision=p) for w in (8, 16) for p in ("full", "bf16")]
    assert len(_groups(runs)) == 2
    wide_in_bf16 = [_run(8), _run(16, run__precision="bf16")]
    assert len(_groups(wide_in_bf16)) == 1


def test_random_fields_have_no_axis_but_stand_alone():
    random = np.random.default_rng(0)
    runs = [
        _run(
            int(random.integers(8, 500)),
            training__lr=float(random.random()),
            training__momentum=float(random.random()),
            training__weight_decay=float(random.random()),
        )
        for _ in range(6)
    ]
    assert [len(group.members) for group in _groups(runs)] == [1] * 6


def test_axis_and_series_must_differ():
    with pytest.raises(SpecError, match="are both training.lr: name two fields"):
        _groups([_run()], axis="lr", series="training.lr")


def test_phase_diagram_and_findings_speak_of_the_axis():
    levels = {0.1: 0.001, 0.3: 0.001, 3.0: 0.9}
    runs = [_run(training__lr=lr, level=level) for lr, level in levels.items()]
    study = Study(tuple(runs))
    found = phase_diagram(read_columns(study, Thresholds()))
    assert found.values == (0.1, 0.3, 3.0)
    np.testing.assert_allclose([one.mean for one in found.min_train_loss][2], 0.9, 1e-3)
    learners = next(one for one in find_findings(study) if one.name == "learners")
    assert learners.what.startswith("3 of 9 networks are weak (never reached")
    assert "learning rate 3: 3 weak" in learners.details


def test_a_survey_finds_each_change_point_once(monkeypatch):
    from birthmark.analysis import transitions

    calls = []
    find = transitions.find_all_jumps
    monkeypatch.setattr(
        transitions, "find_all_jumps", lambda *a, **k: calls.append(1) or find(*a, **k)
    )
    survey = Survey(None, tuple(_run(w) for w in (8, 16, 32)))
    for _ in range(2):
        find_findings(survey)
        for family in survey.families:
            assert len(family.replicas) == 9
            phase_diagram(family.columns)
    assert len(calls) == 3 * 2  # runs, loss and deviation


def test_names_of_files_are_short_never_empty_and_tell_runs_apart(tmp_path):
    for place in range(2):
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        fields = {"k": f"{'x' * 180}{place}"}
        with bm.Tracker(model, optimizer, store=tmp_path, name="漢字", fields=fields):
            for _ in range(3):
                model(torch.ones(1, 3)).sum().backward()
                optimizer.step()
    (family,) = read_survey(bm.open_store(tmp_path)).families
    parts = {family.name, *(family.stem(run) for run in family.runs)}
    assert len(parts) == 3
    assert all(0 < len(part) <= 70 for part in parts)
