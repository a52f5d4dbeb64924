"""Headlines: at most five lines, whose numbers are those of the curves put in."""

import re

import numpy as np
import pytest

from birthmark.analysis import Run, Study, find_headlines
from synthetic_records import make_run, make_spec

EPOCHS = np.arange(401.0)


def _run(width, loss_at_end, *, correlation=0.9, retention=0.8, mark=True, **settings):
    """A falling loss (above 1: it jumps there at epoch 200), deviation ~ 1 / width."""
    spec = make_spec(width, **({"mark__text": "a"} if mark else {}), **settings)
    falling = 2.3 * np.exp(-EPOCHS / 20) + 0.001
    curve = np.where((EPOCHS > 200) & (loss_at_end > 1), loss_at_end, falling)
    curve = np.where(EPOCHS == 0, np.nan, curve)
    spread = np.linspace(-0.01, 0.01, 5)  # over the replicas; its mean is 0
    growth = np.sqrt(EPOCHS)[:, None] / width
    return make_run(
        spec,
        np.repeat(curve[:, None], 5, axis=1),
        deviation=growth * np.exp(spread),
        scalars={
            "relative_distance": np.full((401, 5), 0.3) + spread,
            "correlation": np.full((401, 5), correlation) + spread,
            "mark_auc": np.full((401, 5), retention) + spread,
        },
    )


@pytest.fixture(scope="module")
def study():
    return Study(
        (
            _run(128, 0.0, correlation=0.95, retention=0.9),
            _run(64, 14.0, correlation=0.2, retention=0.6),
            _run(32, 0.0, correlation=0.5, retention=0.8),
        )
    )


def _about(lines, text):
    (line,) = [one for one in lines if text in one]
    return line


def test_a_study_with_a_mark_and_both_learners_has_five_headlines_of_one_line(study):
    lines = find_headlines(study)
    assert len(lines) == 5
    assert not any("\n" in line for line in lines)
    assert all(line.endswith(".") for line in lines)


def test_nearness_is_that_of_the_widest_strong_learners(study):
    line = _about(find_headlines(study), "Strong learners")
    assert "width 128" in line
    assert "correlation of 0.950 (95 % interval 0.94" in line
    assert "relative distance of 0.300" in line
    assert "n = 5" in line


def test_retention_is_compared_between_the_strong_and_the_unstable_width(study):
    line = _about(find_headlines(study), "Retention")
    assert "0.900 at the strong width 128 (n = 5)" in line
    assert "0.600 at the unstable width 64 (n = 5)" in line
    assert "difference 0.300 (95 % interval 0.2" in line


def test_the_unstable_are_counted_by_width(study):
    line = _about(find_headlines(study), "lost what they had learned")
    assert line.endswith("by width: 0 of 5 at 32, 5 of 5 at 64, 0 of 5 at 128.")


def test_the_exponent_is_that_of_the_power_law_put_in(study):
    line = _about(find_headlines(study), "to the power")
    exponent = float(re.search(r"to the power (\S+) \(95 % interval", line)[1])
    assert exponent == pytest.approx(-1, abs=0.005)
    assert "n = 15" in line


def test_what_the_runs_do_not_allow_is_left_out():
    lines = find_headlines(Study((_run(64, 0.0, mark=False),)))
    assert not any("Retention" in line or "power" in line for line in lines)
    assert len(lines) == 3
    weak = find_headlines(Study((_run(64, 0.0, training__loss="cross_entropy"),)))
    assert any("Strong learners" in line for line in weak)


def test_what_only_a_smaller_protocol_allows_is_told_with_its_name():
    unmarked = [_run(width, 0.0, mark=False) for width in (16, 32, 64, 128)]
    marked = [_run(128, 0.0, retention=0.9), _run(64, 14.0, retention=0.6)]
    lines = find_headlines(Study((*unmarked, *marked)))
    assert _about(lines, "Retention").endswith('[mark "a" in hidden2 (zero)].')
    assert "[" not in _about(lines, "Strong learners")
    assert "[" not in _about(lines, "by width")


def test_with_several_data_sets_each_headline_says_of_which_it_is():
    hasy = [_run(width, 0.0, data__name="hasyv2") for width in (16, 32, 64)]
    lines = find_headlines(Study((*hasy, _run(64, 0.0))))
    assert lines
    assert all(line.endswith('[data.name="hasyv2"].') for line in lines)


def test_replicas_without_numbers_are_left_out_of_n():
    run = _run(128, 0.0)
    records = run.records.copy(deep=True)
    for name in ("correlation", "relative_distance"):
        records[name][:, 0] = np.nan
    frozen = Study((Run(run.run_key, run.spec, records),))
    line = _about(find_headlines(frozen), "Strong")
    assert "correlation of 0.903" in line  # the lowest of five, 0.890, is gone
    assert "n = 4" in line


def test_no_runs_have_no_headlines():
    assert find_headlines(Study(())) == []
