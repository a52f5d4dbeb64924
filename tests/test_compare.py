"""Initializations trained in pairs: built-in networks, users' models, the command."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

import birthmark as bm
from birthmark.analysis import comparison_protocol
from birthmark.data import load_dataset
from birthmark.errors import SpecError
from birthmark.figures import draw_comparison
from birthmark.network import initialize_
from birthmark.seeds import batch_order
from birthmark.spec import RunSpec, make_rule
from birthmark.sweeps import (
    build_models,
    candidate_specs,
    model_runs,
    name_rules,
    parse_rule,
    read_own_data,
)
from birthmark.sweeps import train_models as train
from birthmark.training import Training

SPEC = RunSpec(
    data={"name": "digits", "examples_per_class": 12, "preprocessing": "standardized"},
    network={"widths": [12, 8]},
    training={"loss": "cross_entropy", "epochs": 3, "batch_size": 32, "lr": 0.2},
    run={"replicas": 3, "dtype": "float64"},
    record={"distributions": ()},
)
RULES = ["he_normal", "glorot_uniform", {"name": "constant", "value": 0.05}]


class Convolutional(nn.Module):
    """Two convolutions, with or without what cannot be stacked."""

    def __init__(self, between=nn.Identity):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.between = between()
        self.second = nn.Conv2d(4, 4, 3, stride=2)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu(self.between(self.first(x)))
        return self.head(torch.relu(self.second(x)).flatten(1))


def normalized():
    return Convolutional(lambda: nn.BatchNorm2d(4))


def noisy():
    return Convolutional(lambda: nn.Dropout(0.3))


def train_by_hand(module, spec, replica, shape):
    """Plain torch: test loss at the end of each epoch, and the parameters."""
    data = load_dataset(spec.data)

    def see(pixels):
        x = torch.tensor(pixels, dtype=torch.float64) / data.full_scale
        return ((x - data.mean) / data.std).reshape(len(x), *shape)

    x, y = see(data.x_train), torch.tensor(data.y_train)
    x_test, y_test = see(data.x_test), torch.tensor(data.y_test)
    lr, size = spec.training.lr, spec.training.batch_size
    optimizer = torch.optim.SGD(module.parameters(), lr, spec.training.momentum)
    losses = []
    for epoch in range(spec.training.epochs + 1):
        module.eval()
        with torch.no_grad():
            losses.append(nn.functional.cross_entropy(module(x_test), y_test).item())
        if epoch == spec.training.epochs:
            return losses
        module.train()
        order = torch.tensor(batch_order(spec.run.seed, replica, epoch, len(x)))
        for batch in order.split(size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
    return losses


# --- what is run ---------------------------------------------------------------------


def test_candidates_differ_in_their_rule_alone_and_keep_biases_and_overrides():
    spec = SPEC.with_settings(
        {
            "initialization.bias": {"name": "constant", "value": 0.1},
            "initialization.layers": {"output": {"name": "zeros"}},
        }
    )
    specs = candidate_specs(spec, name_rules(RULES).values())
    assert [one.initialization.name for one in specs] == [
        "he_normal",
        "glorot_uniform",
        "constant",
    ]
    for one in specs:
        assert one.initialization.bias.parameters == {"value": 0.1}
        assert one.initialization.layers["output"].name == "zeros"
        same = one.model_copy(update={"initialization": spec.initialization})
        assert same == spec
    assert len({one.run_key for one in specs}) == 3


def test_rules_are_written_in_one_word_and_named_with_their_parameters():
    named = name_rules([parse_rule("constant:value=0.5"), parse_rule("he_normal")])
    assert list(named) == ["constant(value=0.5)", "he_normal"]
    assert named["constant(value=0.5)"] == make_rule({"name": "constant", "value": 0.5})
    with pytest.raises(SpecError, match="key=value"):
        parse_rule("constant:0.5")
    with pytest.raises(SpecError, match="he_normal is there twice"):
        name_rules(["he_normal", "zeros", "he_normal"])
    with pytest.raises(SpecError, match="needs 2 initializations"):
        name_rules(["he_normal"])


def test_nothing_runs_twice_and_one_more_initialization_is_one_more_run(tmp_path):
    spec = SPEC.with_settings({"run.dtype": "float32"})
    first = bm.compare(RULES[:2], spec, store=tmp_path)
    done = []
    again = bm.compare(RULES, spec, store=tmp_path, finished=done.append)
    assert [one.was_done for one in done] == [True, True, False]
    assert again.names == ["he_normal", "glorot_uniform", "constant(value=0.05)"]
    for name in ("test_accuracy", "distance"):
        before = first.ranking(name).outcome.values_AR
        np.testing.assert_array_equal(again.ranking(name).outcome.values_AR[:2], before)
    units = again.ranking("distinct_units").outcome.values_AR
    np.testing.assert_allclose(units[:2], 1)
    np.testing.assert_allclose(units[2], 1 / 12)


def test_twins_by_two_names_are_not_told_apart_in_anything(tmp_path):
    twins = ["glorot_uniform", "torch.xavier_uniform_"]
    comparison = bm.compare(twins, SPEC, store=tmp_path)
    for ranking in comparison.rankings:
        assert ranking.sees_no_difference
        assert all((pair.difference, pair.p) == (0, 1) for pair in ranking.pairs)


def test_the_retention_of_a_mark_is_an_outcome_where_there_is_one(tmp_path):
    spec = SPEC.with_settings({"mark": {"text": "a", "layer": "hidden2"}})
    comparison = bm.compare(RULES[:2], spec, store=tmp_path)
    found = comparison.ranking("retention").outcome
    for values_R, one in zip(found.values_AR, comparison.candidates, strict=True):
        last = one.records.mark_auc.sel(layer="hidden2").isel(step=-1)
        np.testing.assert_array_equal(values_R, last)
        assert (values_R > 0.5).all()


def test_what_does_not_fit_is_refused_before_any_work(tmp_path):
    store = tmp_path / "store"
    alone = SPEC.with_settings({"run.replicas": 1})
    for rules, spec, losses, message in (
        (["he_normal"], SPEC, (), "needs 2 initializations"),
        (["he_normal", "he_nromal"], SPEC, (), "did you mean 'he_normal'"),
        (RULES, alone, (), "2 at least"),
        (RULES, SPEC, (0.5, -1), "above 0, got -1"),
    ):
        with pytest.raises(SpecError, match=message):
            bm.compare(rules, spec, store=store, losses=losses)
    with pytest.raises(SpecError, match="give a store"):
        bm.compare(RULES, SPEC)
    assert not list(store.glob("*/spec.toml"))


# --- users' models -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "how"), [(Convolutional, "general"), (normalized, "one by one")]
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_model_is_trained_as_plain_torch_trains_it(factory, how, momentum):
    spec = SPEC.with_settings(
        {"run.replicas": 2, "training.momentum": momentum, "training.lr": 0.05}
    )
    rule = make_rule("he_normal")
    records = train(factory, rule, spec, load_dataset(spec.data))
    assert records.attrs["how"] == how
    modules, shape = build_models(factory, rule, spec, load_dataset(spec.data))
    assert shape == (1, 8, 8)
    for replica, module in enumerate(modules):
        module = module.double()
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        losses = train_by_hand(module, spec, replica, shape)
        one = records.isel(replica=replica)
        np.testing.assert_allclose(one.test_loss, losses, rtol=1e-9)
        for layer in ("first", "second", "head"):
            moved = module.get_submodule(layer).weight - before[f"{layer}.weight"]
            last = one.isel(step=-1).sel(layer=layer)
            assert last.distance == pytest.approx(moved.norm().item(), rel=1e-9)
            moved = module.get_submodule(layer).bias - before[f"{layer}.bias"]
            assert last.bias_distance == pytest.approx(moved.norm().item(), rel=1e-9)
            assert last.path_length >= last.distance


def test_all_initializations_see_the_same_batches_and_the_same_factory():
    seen, gains = {}, {}

    class Watching(nn.Linear):
        def __init__(self):
            super().__init__(64, 10)
            self.gain = nn.Parameter(torch.randn(1))
            self.register_buffer("count", torch.zeros(()))  # not to be stacked

        def forward(self, x):
            if self.training:
                seen.setdefault(rule.name, []).append(x.sum().item())
            return super().forward(x) * self.gain

    for rule in map(make_rule, ("he_normal", "zeros", "as_built")):
        modules, _ = build_models(Watching, rule, SPEC, load_dataset(SPEC.data))
        gains[rule.name] = [module.gain.item() for module in modules]
        train(Watching, rule, SPEC, load_dataset(SPEC.data))
    assert len(seen["zeros"]) == 3 * 3 * 4
    assert seen["he_normal"] == seen["zeros"] == seen["as_built"]
    assert gains["he_normal"] == gains["zeros"] == gains["as_built"]
    assert len(set(gains["zeros"])) == 3


def test_as_built_keeps_the_factory_and_a_rule_draws_as_initialize_does():
    def factory():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    data = load_dataset(SPEC.data)
    built, shape = build_models(factory, make_rule("as_built"), SPEC, data)
    assert shape == (64,)
    assert (built[0][1].weight.abs() <= 1 / 8).all()
    assert (built[0][1].weight != built[1][1].weight).any()
    drawn, _ = build_models(factory, make_rule("orthogonal"), SPEC, data)
    expected = factory()
    initialize_(expected, "orthogonal", seed=0, replica=2)
    torch.testing.assert_close(drawn[2][1].weight, expected[1].weight.double())


def test_noise_depends_on_seed_replica_and_step_alone():
    rule, data = make_rule("he_normal"), load_dataset(SPEC.data)
    two, three = (
        train(noisy, rule, SPEC.with_settings({"run.replicas": n}), data)
        for n in (2, 3)
    )
    assert two.attrs["how"] == "one by one"
    np.testing.assert_array_equal(two.test_loss, three.test_loss[:, :2])
    quiet = train(Convolutional, rule, SPEC, data)
    assert (quiet.train_loss[1:] != three.train_loss[1:]).all()


def test_every_step_of_every_replica_has_noise_of_its_own():
    drawn = []

    class Drawing(nn.Linear):
        def forward(self, x):
            if self.training:
                drawn.append(torch.rand(()).item())
            return super().forward(x)

    before = torch.random.get_rng_state()
    train(lambda: Drawing(64, 10), make_rule("zeros"), SPEC, load_dataset(SPEC.data))
    assert len(drawn) == len(set(drawn)) == 3 * 3 * 4
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_failed_replica_stops_and_its_neighbours_go_on():
    made = []

    def factory():
        module = normalized()
        made.append(module)
        if len(made) % 3 == 2:  # the second of three
            module.head.weight.data[:] = float("inf")
        return module

    rule, data = make_rule("as_built"), load_dataset(SPEC.data)
    records = train(factory, rule, SPEC, data)
    assert records.nonfinite_step.values.tolist() == [-1, 0, -1]
    alone = train(normalized, rule, SPEC, data)
    for row in (0, 2):
        np.testing.assert_array_equal(
            records.test_loss[:, row], alone.test_loss[:, row]
        )
    assert np.isnan(records.test_loss[:, 1]).all()


def test_what_is_no_module_and_what_cannot_be_initialized_is_refused():
    data, rule = load_dataset(SPEC.data), make_rule("he_normal")
    with pytest.raises(SpecError, match="it made int"):
        train(lambda: 3, rule, SPEC, data)
    with pytest.raises(SpecError, match="mark"):
        marked = SPEC.with_settings({"mark": {"text": "a", "layer": "hidden2"}})
        train(Convolutional, rule, marked, data)
    with pytest.raises(SpecError, match="does not take examples of shape"):
        train(Convolutional, rule, SPEC, data, shape="flat")
    with pytest.raises(SpecError, match="each of the 10 classes"):
        train(lambda: nn.Linear(64, 9), rule, SPEC, data)
    with pytest.raises(SpecError, match="unknown initialization 'nothing'"):
        bm.compare(["he_normal", "nothing"], SPEC, model=Convolutional)


def test_a_comparison_of_models_counts_units_of_convolutions():
    rules = ["as_built", {"name": "constant", "value": 0.1}]
    comparison = bm.compare(rules, SPEC, model=Convolutional)
    units = comparison.ranking("distinct_units").outcome.values_AR
    np.testing.assert_allclose(units, [[1.0] * 3, [0.25] * 3])
    assert comparison.candidates[0].how == "as a stack"
    assert comparison.candidates[0].run_key == ""


def test_units_are_what_a_layer_gives_out_whichever_way_it_stores_them():
    def factory():
        return nn.Sequential(
            nn.Conv2d(1, 3, 2, stride=2),
            nn.ConvTranspose2d(3, 5, 2),
            nn.Flatten(),
            nn.Linear(125, 10, bias=False),
        )

    one = SPEC.with_settings({"training.epochs": 1})
    records = train(factory, make_rule("he_normal"), one, load_dataset(one.data))
    assert records.num_units.values.tolist() == [3, 5, 10]
    assert (records.distinct_units[-1] == records.num_units).all()
    assert records.bias_distance.sel(layer="3").isnull().all()
    assert records.bias_distance.sel(layer="0").notnull().all()


# --- data, loss, optimizer and initialization of one's own -------------------------


def own_data():
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(60, 6, generator=draws, dtype=torch.float64)
    return x[:40], x[:40, :2].sin(), x[40:], x[40:, :2].sin()


def own_model():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def own_loss(outputs, targets):
    return (outputs - targets).abs().mean()


def own_optimizer(model):
    slow, fast = model[0].parameters(), model[2].parameters()
    groups = [{"params": slow, "lr": 0.01}, {"params": fast, "lr": 0.1}]
    return torch.optim.AdamW(groups, weight_decay=0.3)


def test_own_data_may_be_arrays_of_any_numbers():
    x, y = own_data()[:2]
    for dtype in ("<f8", ">f8", "g"):
        array = x.numpy().astype(dtype)[::-1]
        array.flags.writeable = False
        found = read_own_data((array, y, array, y))
        assert torch.equal(found.x_test, x.flip(0))
        found.x_train.add_(1)  # is its own
        assert (array == x.numpy()[::-1]).all()


def own_rule(module):
    """As for `model.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.uniform_(module.weight, 0.1, 0.2)


class OneHalf(nn.Linear):
    """Fits itself, but no other precision."""

    def __init__(self):
        super().__init__(6, 2, dtype=torch.bfloat16)

    def forward(self, x):
        return super().forward(x.to(torch.bfloat16)).float()


OWN = {
    "model": own_model,
    "data": own_data,
    "loss": own_loss,
    "optimizer": own_optimizer,
}
OWN_SPEC = RunSpec(
    data={"name": "mine"},
    training={"epochs": 3, "batch_size": 16},
    run={"replicas": 2, "dtype": "float64"},
    record={"distributions": ()},
)


def test_a_users_own_parts_are_trained_as_a_loop_of_plain_torch_does(tmp_path):
    found = bm.compare(
        ["as_built", own_rule], OWN_SPEC, **OWN, store=tmp_path, lrs=[0.05, 1e-9]
    )
    ours = found.candidates[1]
    assert ours.name == "test_compare.py:own_rule"
    assert ours.spec.training.lr == 0.05  # 1e-9 learns nothing
    x, y, x_test, y_test = own_data()
    (module, _), _ = build_models(
        own_model, own_rule, OWN_SPEC, read_own_data(own_data), own_loss=True
    )
    weight = module[0].weight.detach()
    assert (weight >= 0.1).all() and (weight <= 0.2).all()
    module, losses = module.double(), []
    optimizer = own_optimizer(module)
    for group, lr in zip(optimizer.param_groups, (0.005, 0.05), strict=True):
        group["lr"] = lr  # in the proportion of the user's own
    for epoch in range(4):
        module.eval()
        losses.append(own_loss(module(x_test), y_test).item())
        module.train()
        for batch in torch.tensor(batch_order(0, 0, epoch, 40)).split(16):
            optimizer.zero_grad()
            own_loss(module(x[batch]), y[batch]).backward()
            optimizer.step()
    np.testing.assert_allclose(ours.records.test_loss[:, 0], losses, rtol=1e-9)
    assert "test_accuracy" not in [one.outcome.name for one in found.rankings]
    starts = [one.records.test_loss.values[0] for one in found.candidates]
    assert ours.chance == np.median(starts)
    said = comparison_protocol(found)
    assert "AdamW" in said["optimizer"] and "weight_decay 0.3" in said["optimizer"]
    assert "own_loss" in said["loss"] and "0.05, 1e-09" in said["lr"]
    assert said["seeds"] == "seed 0, replicas 0 to 1; lr from seed 1"
    assert "(b) L2 distance" in draw_comparison(found)[0].caption


@pytest.mark.parametrize("parts", [OWN, {"model": Convolutional}])
def test_what_was_cut_off_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(model_runs, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(model_runs, "_LOOK", 2)  # a checkpoint within an epoch
    spec = OWN_SPEC if parts is OWN else SPEC.with_settings({"run.replicas": 2})
    rules = ["as_built", "he_normal"]
    whole = bm.compare(rules, spec, **parts, store=tmp_path / "whole")
    saved, save = [], model_runs._ModelRun._save

    def cut(run):
        save(run)
        saved.append(run)
        if len(saved) == 7:  # in the second of the two
            raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(model_runs._ModelRun, "_save", cut)
        with pytest.raises(MemoryError):
            bm.compare(rules, spec, **parts, store=tmp_path / "cut")
    trained = []
    with monkeypatch.context() as patched:
        advance = Training.advance

        def count(training, steps):
            trained.append(steps)
            return advance(training, steps)

        patched.setattr(Training, "advance", count)
        again = bm.compare(rules, spec, **parts, store=tmp_path / "cut")
    assert len(trained) < 6  # the first was done, the second begun
    for one, two in zip(whole.candidates, again.candidates, strict=True):
        assert one.run_key == two.run_key
        assert one.records.drop_attrs().identical(two.records.drop_attrs())


def test_runs_whose_done_was_lost_are_done_and_not_trained_again(tmp_path, monkeypatch):
    rules = ["as_built", "he_normal"]
    whole = bm.compare(rules, OWN_SPEC, **OWN, store=tmp_path)
    for mark in tmp_path.glob("*/done"):
        mark.unlink()
    monkeypatch.setattr(Training, "advance", None)
    again = bm.compare(rules, OWN_SPEC, **OWN, store=tmp_path)
    assert len(list(tmp_path.glob("*/done"))) == 2
    for one, two in zip(whole.candidates, again.candidates, strict=True):
        assert one.records.drop_attrs().identical(two.records.drop_attrs())


KILLED = """
import sys, time, torch
from torch import nn
import birthmark as bm
from birthmark.sweeps import model_runs

model_runs.CHECKPOINT_SECONDS = 0.2
store, seconds = sys.argv[1], float(sys.argv[2])

def data():
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    return x[:60], x[:60, :2], x[60:], x[60:, :2]

def model():
    norm = nn.BatchNorm1d(5)
    return nn.Sequential(nn.Linear(6, 5), norm, nn.Dropout(), nn.Linear(5, 2))

def loss(outputs, targets):
    time.sleep(seconds)
    return (outputs - targets).square().mean()

spec = bm.RunSpec(data={"name": "mine"}, training={"epochs": 12, "batch_size": 8},
                  run={"replicas": 2}, record={"distributions": ()})
bm.compare(["as_built", "he_normal"], spec, model=model, data=data, loss=loss,
           optimizer=lambda m: torch.optim.Adam(m.parameters(), lr=0.01), store=store)
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_comparison_killed_at_any_moment_goes_on_bit_for_bit(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)

    def start(store, seconds):
        command = [sys.executable, script, tmp_path / store, str(seconds)]
        return subprocess.Popen(list(map(str, command)))

    assert start("whole", 0).wait() == 0
    seen = set()
    for _ in range(2):
        process = start("killed", 0.02)
        while process.poll() is None:
            time.sleep(0.1)
            found = (tmp_path / "killed").glob("*/checkpoint.safetensors")
            new = {(path, path.stat().st_mtime_ns) for path in found} - seen
            if new:
                seen |= new
                time.sleep(0.5)
                process.kill()
                process.wait()
    assert seen
    assert start("killed", 0).wait() == 0
    whole, killed = (bm.open_store(tmp_path / name) for name in ("whole", "killed"))
    keys = whole.runs().run_key.tolist()
    assert len(keys) == 2
    assert set(killed.runs().state) == {"done"}
    for key in keys:
        one, two = (store.records(key).drop_attrs() for store in (whole, killed))
        assert one.identical(two)


def test_own_parts_that_do_not_fit_are_refused_in_one_line(tmp_path):
    def wrong(**parts):
        with pytest.raises(SpecError) as refused:
            bm.compare(["as_built", "he_normal"], OWN_SPEC, **{**OWN, **parts})
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "give model=" in wrong(model=None)
    assert "targets are no classes" in wrong(loss=None, optimizer=None)
    assert "returns float" in wrong(loss=lambda z, y: 1.0)
    assert "it made int" in wrong(optimizer=lambda model: 3)
    assert "inputs [4, 6] and targets [3]" in wrong(
        data=(np.ones((4, 6)), np.ones(3), np.ones((4, 6)), np.ones(4))
    )
    other = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    assert "none of its parameters is one" in wrong(optimizer=lambda model: other)
    x = torch.ones(4, 6)
    for odd in (x.to(torch.complex64), x.to_sparse(), x.to("meta")):
        assert "give dense, real numbers" in wrong(data=(odd, x[:, 0], x, x[:, 0]))
    assert "of torch.complex64" in wrong(
        model=lambda: nn.Linear(6, 2, dtype=torch.complex64)
    )
    assert "does not take examples" in wrong(model=OneHalf)
    with pytest.raises(SpecError, match="changed no weight"):
        bm.compare(["as_built", lambda model: None], OWN_SPEC, **OWN)


# --- figures and the command ---------------------------------------------------------


def test_figures_draw_the_numbers_of_the_comparison(tmp_path):
    comparison = bm.compare(RULES, SPEC, store=tmp_path, losses=[2.0])
    curves, forest = draw_comparison(comparison)
    loss_TR = comparison.candidates[1].records.test_loss.values
    mean = np.exp(np.log(loss_TR).mean(axis=1))
    np.testing.assert_allclose(curves.data["test_loss"][1], mean)
    pair = comparison.ranking("test_accuracy").pairs[1]
    assert forest.data["pair"][1] == f"{pair.a} - {pair.b}"
    assert forest.data["difference"][0, 1] == pair.difference
    for drawing in (curves, forest):
        for word in ("digits", "n = 3", comparison.candidates[0].run_key, "95 %"):
            assert word in drawing.caption
        assert drawing.render("png").startswith(b"\x89PNG")


def test_the_command_prints_a_table_and_findings_and_writes_json(birthmark, tmp_path):
    arguments = (
        *("compare", "--init", "he_normal,constant:value=0.05", "--init", "zeros"),
        *("--set", "data.examples_per_class=12", "--set", "network.widths=[12, 8]"),
        *("--replicas", 3, "--epochs", 2, "--reach", 2.2, "--store", tmp_path / "runs"),
        *("--json", tmp_path / "found.json"),
    )
    status, out, err = birthmark(*arguments)
    assert status == 0, err
    for word in ("3 initializations on digits, 3 paired replicas", "steps to 2.2"):
        assert word in out
    assert "Replicas that failed: " in out
    assert "constant(value=0.05)" in out
    assert "only very large differences" in out
    found = json.loads((tmp_path / "found.json").read_text())
    assert [one["trained"] for one in found["entrants"]] == ["as a stack"] * 3
    status, _, err = birthmark(*arguments)
    assert err.count("was done") == 3


def test_the_command_trains_a_model_from_a_file(birthmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))\n"
    )
    common = ("compare", "--model", "mine.py:make", "--replicas", 2, "--epochs", 1)
    status, out, err = birthmark(*common, "--init", "as_built,he_normal")
    assert status == 0, err
    assert "as_built: done" in err
    assert "2 initializations on digits" in out
    for words in ("optimizer: sgd", "lr: 0.1", "seed 0", "batches: 128", "steps: 12"):
        assert words in out
    assert len(list((tmp_path / "runs").glob("*/done"))) == 2
    status, _, err = birthmark(*common, "--init", "as_built,he_nromal")
    assert (status, err.count("\n")) == (2, 1)
    assert "did you mean 'he_normal'" in err
    assert "constant:value=0.5" in birthmark(*common, "--init", "constant,zeros")[2]
    broken = ("--model", "mine.py:no", "--init", "zeros,he_normal")
    assert birthmark("compare", *broken)[0] == 2
    (tmp_path / "broken.py").write_text("def make():\n    return 1 / 0\n")
    broken = ("--model", "broken.py:make", "--init", "zeros,he_normal")
    status, _, err = birthmark("compare", *broken)
    assert (status, err.count("\n")) == (2, 1)
    assert "ZeroDivisionError" in err
