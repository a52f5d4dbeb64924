"""Deviation at equal loss against width: closed forms, SciPy, and simulation."""

import numpy as np
import pytest
from scipy import stats

from birthmark.analysis import Study, choose_loss, choose_losses, deviation_at_loss
from birthmark.errors import SpecError
from birthmark.statistics import fit_power_law
from synthetic_records import make_run, make_spec

EPOCHS = np.arange(401.0)
WIDTHS = (8, 16, 32, 64, 128)


def _falling(replicas, rate=0.05):
    """L = exp(-rate epoch) passes a level at epoch -ln(level) / rate."""
    train = np.repeat(np.exp(-rate * EPOCHS)[:, None], replicas, axis=1)
    train[0] = np.nan
    return train


def _study(exponent, noise, replicas=5, seed=0, widths=WIDTHS):
    random = np.random.default_rng(seed)
    runs = []
    for width in widths:
        factor = width**-exponent * np.exp(random.normal(0, noise, replicas))
        deviation = np.exp(0.01 * EPOCHS)[:, None] * factor
        spec = make_spec(width, replicas)
        runs.append(make_run(spec, _falling(replicas), deviation=deviation))
    return Study(tuple(runs))


def test_the_crossing_and_the_deviation_there_are_exact_on_exponentials():
    found = deviation_at_loss(_study(0.5, 0.0), [0.3, 0.01])
    for place, loss in enumerate((0.3, 0.01)):
        epoch = -np.log(loss) / 0.05
        np.testing.assert_allclose(found.epochs[place], epoch, rtol=1e-9)
        truth = np.exp(0.01 * epoch) * np.array(WIDTHS, dtype=float) ** -0.5
        np.testing.assert_allclose(
            found.values[place], np.repeat(truth[:, None], 5, axis=1), rtol=1e-9
        )
        fit = found.fits[place]
        np.testing.assert_allclose([fit.exponent, fit.low, fit.high], 0.5, rtol=1e-9)
        np.testing.assert_allclose(fit(np.array(WIDTHS)), truth, rtol=1e-9)
        assert fit.r_squared == pytest.approx(1.0)
    assert (found.layer, found.measure) == ("hidden2", "deviation_std")


def test_a_planted_exponent_lies_in_its_interval():
    fit = deviation_at_loss(_study(0.5, 0.1), [0.1]).fits[0]
    assert fit.low < 0.5 < fit.high
    assert 0.02 < fit.high - fit.low < 0.15
    assert fit.along == WIDTHS and fit.n == 25


def test_the_fit_is_that_of_linregress_also_with_unequal_counts():
    random = np.random.default_rng(2)
    values = {n: random.gamma(5, 1 / n, size=r) for n, r in ((4, 3), (9, 6), (50, 2))}
    x = np.concatenate([np.full(len(d), np.log(n)) for n, d in values.items()])
    truth = stats.linregress(x, np.log(np.concatenate(list(values.values()))))
    fit = fit_power_law(values)
    assert fit.exponent == pytest.approx(-truth.slope, rel=1e-12)
    assert fit.intercept == pytest.approx(truth.intercept, rel=1e-12)
    assert fit.r_squared == pytest.approx(truth.rvalue**2, rel=1e-12)
    half = stats.t.isf(0.025, len(x) - 2) * truth.stderr
    assert fit.high - fit.low == pytest.approx(2 * half, rel=1e-12)
    assert fit.high + fit.low == pytest.approx(-2 * truth.slope, rel=1e-12)


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_the_interval_of_the_exponent_covers_as_often_as_it_says(replicas):
    """With few widths and few replicas, too, where resampling them covers less."""
    random = np.random.default_rng(7)
    hits = []
    for _ in range(600):
        along = WIDTHS[:3]
        values = {n: n**-0.5 * np.exp(random.normal(0, 0.2, replicas)) for n in along}
        fit = fit_power_law(values)
        hits.append(fit.low <= 0.5 <= fit.high)
    assert 0.93 <= np.mean(hits) <= 0.97


def test_the_running_median_is_not_fooled_by_a_dip_of_one_epoch():
    train = _falling(1)
    train[5] = 1e-3
    run = make_run(make_spec(64, 1), train, deviation=np.exp(0.01 * EPOCHS)[:, None])
    found = deviation_at_loss(Study((run,)), [0.1])
    assert found.epochs[0, 0, 0] == pytest.approx(np.log(10) / 0.05, abs=0.01)


def test_replicas_that_do_not_reach_the_loss_are_censored_and_counted():
    train = _falling(3)
    train[:, 1] = 0.5
    train[1:, 2] = 1e-4  # below from the first epoch on: no crossing was seen
    runs = (make_run(make_spec(8, 3), train), make_run(make_spec(16, 2), _falling(2)))
    found = deviation_at_loss(Study(runs), [0.1])
    np.testing.assert_array_equal(found.reached, [[1, 2]])
    np.testing.assert_array_equal(found.replicas, [3, 2])
    known = [[True, False, False], [True, True, False]]
    np.testing.assert_array_equal(np.isfinite(found.values[0]), known)


def test_runs_of_one_width_are_pooled():
    one, two = (
        make_run(make_spec(8, 2, run__seed=seed), _falling(2)) for seed in (0, 1)
    )
    found = deviation_at_loss(Study((one, two)), [0.1])
    assert found.along == (8,) and found.replicas.tolist() == [4]
    assert found.fits == (None,)


def test_spectra_are_read_at_their_own_epochs():
    run = make_run(make_spec(8, 1), _falling(1))
    at = np.array([0, 40, 60, 400])
    spectra = np.full((4, 1, 3), np.nan)
    spectra[:, 0, 1] = np.exp(0.01 * at)
    spectra[0] = 0.0
    records = run.records.assign(
        spectral_distance=(("distribution_step", "replica", "layer"), spectra)
    ).assign_coords(distribution_epoch=("distribution_step", at))
    run = type(run)(run.run_key, run.spec, records)
    found = deviation_at_loss(Study((run,)), [0.1], measure="spectral_distance")
    epoch = np.log(10) / 0.05
    assert found.values[0, 0, 0] == pytest.approx(np.exp(0.01 * epoch), rel=1e-9)


def test_deviation_recorded_at_few_epochs_is_interpolated_and_never_extrapolated():
    deviation = np.full((401, 1), np.nan)
    deviation[[40, 60]] = np.exp([[0.4], [0.6]])
    run = make_run(make_spec(8, 1), _falling(1), deviation=deviation)
    found = deviation_at_loss(Study((run,)), [0.1, 0.5])
    assert found.values[0, 0, 0] == pytest.approx(np.exp(0.01 * np.log(10) / 0.05))
    assert np.isnan(found.values[1, 0, 0])


def test_widths_with_a_single_value_are_left_out_of_the_fit_where_others_have_more():
    values = {8: np.array([1.0]), 16: np.array([1.0, 1.1]), 32: np.array([0.5, 0.55])}
    assert fit_power_law(values).along == (16, 32)
    alone = fit_power_law({8: np.array([1.0]), 32: np.array([0.5, np.nan, 0.0])})
    assert alone.exponent == pytest.approx(0.5) and np.isnan(alone.low)
    assert fit_power_law({8: np.array([1.0, 2.0])}) is None


def test_levels_are_chosen_where_two_widths_reach_them():
    shallow = np.maximum(_falling(2), 0.2)
    runs = (
        make_run(make_spec(8, 2), shallow),
        make_run(make_spec(16, 2), np.maximum(_falling(2), 0.15)),
        make_run(make_spec(32, 2), _falling(2)),
    )
    assert choose_losses(Study(runs), chance=1.0) == [0.5, 0.2]
    # all three widths reach 0.5 and 0.2: the lower one serves a single comparison
    assert choose_loss(Study(runs), chance=1.0) == 0.2
    assert choose_loss(Study(runs[:1]), chance=1.0) is None


def test_unknown_measures_and_losses_are_refused():
    study = Study((make_run(make_spec(8, 1), _falling(1)),))
    with pytest.raises(SpecError, match="distance"):
        deviation_at_loss(study, [0.1], measure="distence")
    with pytest.raises(SpecError, match="above 0"):
        deviation_at_loss(study, [0.1, 0.0])


def test_a_study_without_runs_gives_empty_arrays():
    found = deviation_at_loss(Study(()), [0.1])
    assert found.values.shape == (1, 0, 0) and found.fits == (None,)
