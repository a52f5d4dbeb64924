"""Combined goals: readings against NumPy, and what symmetry and theory demand."""

import math

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.special import log_softmax

from birthmark.data import load_dataset
from birthmark.network import DATA_DEPENDENT, INITIALIZATIONS, draw_weights
from birthmark_experiments.combined_goals import EXPERIMENT
from birthmark_experiments.combined_goals.facts import GOALS, tell_carriers
from birthmark_experiments.combined_goals.measure import add_verdicts, find_same
from birthmark_experiments.combined_goals.protocol import PROTOCOLS, spec_of
from birthmark_experiments.frame.specs import list_starts

QUICK = PROTOCOLS["quick"]
STARTS = {one.name: one for one in list_starts()}


def by_hand(name, replica):
    """The readings of one start in plain NumPy, float64, backward pass included."""
    spec = spec_of(QUICK, STARTS[name].rule)
    data = load_dataset(spec.data)
    weights = draw_weights(spec, data.num_inputs, 10, replicas=[replica])
    x = (data.x_train[:512] / data.full_scale - data.mean) / data.std
    y = data.y_train[:512]
    ws = [layer.w[0].double().numpy() for _, layer in weights.items()]
    signals, inner = [x], []
    for w in ws[:-1]:
        inner.append(signals[-1] @ w)
        signals.append(np.maximum(inner[-1], 0))
    logits = signals[-1] @ ws[-1]
    log_p = log_softmax(logits, axis=1)
    gradient = np.exp(log_p) - np.eye(10)[y]
    gradients = []
    for w, z in zip(ws[:0:-1], inner[::-1], strict=True):
        gradient = (gradient @ w.T) * (z > 0)
        gradients.append((gradient**2).mean())
    unit = inner[-1][:64] / np.linalg.norm(inner[-1][:64], axis=1, keepdims=True)
    pairs = np.triu_indices(64, 1)
    depth = len(inner)
    return {
        "forward": ((signals[-1] ** 2).mean() / (x**2).mean()) ** (1 / depth),
        "backward": (gradients[-1] / gradients[0]) ** (1 / (depth - 1)),
        "distinct": min(len(np.unique(w, axis=1).T) / w.shape[1] for w in ws[:-1]),
        "alive": max((z <= 0).all(axis=0).mean() for z in inner),
        "apart": 1 - (unit @ unit.T)[pairs].mean(),
        "loss": -log_p[np.arange(len(y)), y].mean() / math.log(10),
    }


@pytest.mark.parametrize("replica", [0, 1])
@pytest.mark.parametrize("name", ["he_normal", "he_normal x 10", "orthogonal"])
def test_readings_are_those_of_a_pass_by_hand(results, name, replica):
    found = results["reading"].sel(initialization=name, replica=replica)
    for goal, value in by_hand(name, replica).items():
        assert float(found.sel(goal=goal)) == pytest.approx(value, rel=1e-3), goal


def test_tied_and_zero_starts_read_as_symmetry_demands(results):
    constant = results["reading"].sel(initialization="constant")
    zeros = results["reading"].sel(initialization="zeros")
    for one in (constant, zeros):
        assert_allclose(one.sel(goal="distinct"), 1 / QUICK.width)
        assert_allclose(one.sel(goal="loss"), 1, rtol=1e-4)
    assert np.isnan(zeros.sel(goal="forward")).all()
    met = results["is_met"].sel(initialization="zeros")
    assert met.to_numpy().tolist() == [0, 0, 0, 0, 0, 1]


def test_names_of_one_draw_are_one_start(results):
    also = results["also"].sel(initialization="glorot_uniform").item()
    assert also == "keras_default"
    assert "keras_default" not in results["initialization"].to_numpy()
    names = ("he_normal", "he_uniform", "torch_default", "equinox_default")
    specs = {name: spec_of(QUICK, STARTS[name].rule) for name in names}
    same = find_same(specs, load_dataset(specs["he_normal"].data))
    assert same == {"equinox_default": "torch_default"}


def test_the_whole_table_takes_part_but_for_what_needs_files():
    left_out = {*INITIALIZATIONS, *DATA_DEPENDENT} - {*STARTS}
    files = {"checkpoint", "statistics_only", "shuffled", "signs_only"}
    assert left_out == files | {"lottery_ticket", "nguyen_widrow_bias"}


def test_the_median_replica_decides_and_limits_count_as_within():
    reading = np.ones((1, 3, len(GOALS)))
    reading[0, :, 0] = [0.7, 2**0.5, 3]  # forward: the median is the limit itself
    reading[0, :, 1] = [1, 2, 3]
    reading[0, :, 4] = [np.nan, np.nan, 1]
    dims = ("initialization", "replica", "goal")
    given = xr.Dataset({"reading": (dims, reading)}, {"goal": [g.name for g in GOALS]})
    met = dict(
        zip([g.name for g in GOALS], add_verdicts(given)["is_met"][0], strict=True)
    )
    assert met["forward"] == 1
    assert met["backward"] == 0
    assert met["apart"] == 0


def test_facts_and_figure_follow_from_results(results, facts):
    means = [row["mean"] for row in facts["rows"]]
    assert means == sorted(means)
    place = {row["name"]: row["mean"] for row in facts["rows"]}
    expected = results["mean_test_loss"].isel(lr=0).sel(initialization="lsuv").mean()
    assert place["lsuv"] == pytest.approx(float(expected))
    pair, _ = facts["repaired"]
    after, before = place["he_normal, small output"], place["he_normal"]
    assert pair["difference"] == pytest.approx(after - before)
    assert len(EXPERIMENT.draw(results).draw().axes) == 4


# of the shipped records


@pytest.mark.parametrize(
    ("weights", "carried"),
    [
        ((1, 1, 0, 0, 0, 0), "variance"),
        ((0, 0, 1, 1, 1, 1), "others"),
        ((2, 2, 1, 1, 1, 1), "both"),
        ((0,) * 6, "none"),
    ],
)
def test_what_carries_the_speed_is_told_from_made_starts(rng, weights, carried):
    """Goals met by chance, and a loss that falls with some of them alone."""
    met = rng.random((60, 6)) < 0.5
    loss = 2 - 0.5 * met @ np.array(weights) + 0.3 * rng.normal(size=60)
    assert tell_carriers(met, loss) == carried


def test_scaled_weights_scale_the_signal_and_nothing_else(shipped):
    """relu(k z) = k relu(z): with zero biases only the moments and the loss change."""
    reading = shipped["reading"]
    plain = reading.sel(initialization="he_normal")
    for factor in (0.1, 0.5, 2, 10):
        one = reading.sel(initialization=f"he_normal x {factor:g}")
        ratio = (one / plain).transpose("goal", "replica")
        assert_allclose(ratio.sel(goal="forward"), factor**2, rtol=1e-3)
        same = one.sel(goal=["distinct", "alive", "apart"])
        assert_allclose(same, plain.sel(goal=["distinct", "alive", "apart"]), atol=1e-4)


def test_a_small_output_changes_the_loss_goal_and_no_reading_of_the_signal(shipped):
    names = ["forward", "distinct", "alive", "apart"]
    for start in ("he_normal", "orthogonal x 1.41", "looks_linear"):
        before, after = (
            shipped["reading"].sel(initialization=name, goal=names)
            for name in (start, f"{start}, small output")
        )
        assert_allclose(before, after, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "factor"),
    [("he_normal", 1), ("he_uniform", 1), ("lecun_normal", 1 / 2), ("bert_default", 0)],
)
def test_forward_factors_are_those_of_theory(shipped, name, factor):
    """n Var(w) / 2 a layer; the error of its logarithm: Hanin & Rolnick 1803.01719."""
    if name == "bert_default":  # 0.0004 n / 2: 784 inputs once, 100 units five times
        factor = (784 * 100**5) ** (1 / 6) * 0.0004 / 2
    logs = np.log(shipped["reading"].sel(initialization=name, goal="forward"))
    error = math.sqrt(5 / 100 / int(shipped.attrs["depth"]) / logs.size)
    assert float(logs.mean()) == pytest.approx(math.log(factor), abs=4 * error + 0.05)


def test_starts_that_cannot_break_their_ties_do_not_pass_a_guess_by_far(shipped):
    loss = shipped["mean_test_loss"].isel(lr=0)
    for name in ("zeros", "constant"):
        assert float(loss.sel(initialization=name).min()) > 0.95 * math.log(10)
