"""Specs: refused in one line, the same in TOML, and named by every field."""

import hashlib
import json
import tomllib

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from birthmark.errors import SpecError
from birthmark.spec import RunSpec, expand_epochs, parse_setting

DATA = {"name": "mnist"}


def network(**fields):
    return {"data": DATA, "network": fields}


BAD = [
    ({}, "data: this key is required and missing"),
    ({"data": DATA, "trainig": {}}, "unknown key 'trainig': did you mean 'training'"),
    ({"data": DATA, "train[ng": {}}, r"'train\[ng': did you mean 'training'"),
    ({"data": DATA, "network": {"widths": [0]}}, r"network.widths.0: .* got 0"),
    ({"data": DATA, "network": {"widht": [4]}}, "did you mean 'widths'"),
    ({"data": DATA, "network": {"activation": "rulu"}}, "network.activation"),
    ({"data": DATA, "training": {"eps": 0}}, "training.eps: .*greater than 0, got 0"),
    ({"data": DATA, "training": {"lr": "fast"}}, "training.lr: .*number, got 'fast'"),
    ({"data": DATA, "training": {"lr": float("nan")}}, "training.lr"),
    ({"data": DATA, "training": {"nesterov": True}}, "nesterov needs a momentum"),
    (
        {"data": DATA, "training": {"optimizer": "adam", "momentum": 0.9}},
        "belong to optimizer 'sgd'",
    ),
    ({"data": DATA, "training": {"schedule": {"name": "step"}}}, "needs epochs"),
    ({"data": DATA, "mark": {}}, "one of text and image"),
    ({"data": DATA, "mark": {"text": "a", "mode": "scale"}}, "'scale' needs a value"),
    ({"data": DATA, "mark": {"text": "a", "value": 1.0}}, "takes no value"),
    (
        {"data": DATA, "mark": {"text": "a", "layer": "hidden3"}},
        "mark.layer: .*hidden2",
    ),
    ({"data": DATA, "mark": {"image": "nowhere.png"}}, "cannot be read"),
    ({"data": DATA, "record": {"epochs": "often"}}, "record.epochs"),
    ({"data": DATA, "record": {"epochs": [-1]}}, "record.epochs.0: .* got -1"),
    ({"data": DATA, "record": {"weights": [1001]}}, "1001 lies beyond the last, 1000"),
    (
        {"data": DATA, "record": {"weights_layers": ["hiden1"]}},
        "did you mean 'hidden1'",
    ),
    ({"data": DATA, "initialization": {"low": True}}, "'low' must be a number"),
    (
        {"data": DATA, "initialization": {"layers": {"out": {"name": "zeros"}}}},
        "initialization.layers: unknown layer 'out'",
    ),
    ({"data": DATA, "run": {"device": "gpu 1"}}, "run.device"),
    ({"data": DATA, "run": {"seed": -1}}, "run.seed"),
    ({"data": {**DATA, "fold": 11}}, "data.fold"),
    (network(kernel=5), "kernel belongs to kind 'convolutional'"),
    (network(downsample=[1]), "downsample belongs to kind 'convolutional'"),
    (network(kind="convolutional", kernel=4), "kernel must be odd, got 4"),
    (network(kind="convolutional", downsample=[3]), "layers from 1 to 2 in order"),
    (network(kind="convolutional", downsample=[2, 1]), "from 1 to 2 in order"),
    (network(train_scales=True), "train_scales belongs to residual 'identity'"),
    (network(residual="identity"), "then blocks of 2: 2 widths do not go up"),
    (network(residual="identity", widths=[9, 9, 8]), "must not shrink across a skip"),
    (network(dropout=1), "network.dropout: .*less than 1, got 1"),
]


@pytest.mark.parametrize(("tables", "message"), BAD)
def test_what_is_no_spec_is_refused_in_one_line(tables, message):
    with pytest.raises(SpecError, match=message) as caught:
        RunSpec(**tables)
    assert "\n" not in str(caught.value)


def test_defaults_are_the_protocol_of_the_paper():
    spec = RunSpec(data={"name": "hasyv2"})
    training = spec.training
    assert training.loss == "clipped_cross_entropy"
    assert (training.eps, training.lr, training.batch_size) == (1e-7, 0.1, 128)
    assert (training.epochs, training.optimizer, training.momentum) == (1000, "sgd", 0)
    assert spec.initialization.name == "glorot_uniform"
    assert spec.initialization.bias.name == "zeros"
    assert spec.data.preprocessing == "unit"
    assert (spec.data.fold, spec.run.replicas) == (1, 10)
    assert spec.network.activation == "relu"


RICH = RunSpec(
    data={"name": "hasyv2", "fold": 3, "classes": 20, "examples_per_class": 100},
    network={
        "widths": [10, 20, 30],
        "activation": "tanh",
        "kind": "convolutional",
        "kernel": 5,
        "downsample": [2],
        "residual": "identity",
        "branch_scale": 0.25,
        "train_scales": True,
        "dropout": 0.25,
    },
    initialization={
        "name": "uniform",
        "low": -0.1,
        "high": 0.2,
        "bias": {"name": "constant", "value": 0.1},
        "layers": {"hidden2": {"name": "orthogonal", "gain": 2.0}},
    },
    mark={"text": "ab", "layer": "hidden3", "mode": "shift", "value": 0.5},
    training={
        "optimizer": "adam",
        "betas": [0.8, 0.99],
        "schedule": {"name": "step", "epochs": 3},
        "epochs": 50,
    },
    record={"epochs": [5, 10], "weights": "log", "weights_layers": ["hidden3"]},
)


def test_toml_gives_back_what_it_was_written_from(tmp_path):
    for spec in (RICH, RunSpec(data=DATA)):
        path = tmp_path / "run.toml"
        path.write_text(spec.to_toml())
        again = RunSpec.from_toml(path)
        assert again == spec
        assert again.run_key == spec.run_key


def flat(tables, prefix=""):
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def changed(value):
    """Another value of the same kind, for any field of RICH."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 if value else 1
    if isinstance(value, list):
        return [*value[:-1], changed(value[-1])] if value else [1]
    return OTHER_WORDS[value]


OTHER_WORDS = {
    "hasyv2": "mnist",
    "unit": "inverted",
    "tanh": "gelu",
    "uniform": "normal",
    "constant": "zeros",
    "orthogonal": "zeros",
    "ab": "b",
    "hidden3": "hidden1",
    "shift": "scale",
    "clipped_cross_entropy": "cross_entropy",
    "adam": None,  # another optimizer refuses the momentum below
    "independent": "shared",
    "step": "warmup",
    "float32": "float64",
    "full": "bf16",
    "auto": "cpu",
    "log": "every",
}
NEEDS_MORE = {
    "training.optimizer": None,
    "training.momentum": None,
    "training.nesterov": None,
    "training.betas": [0.8, 0.9],
    "data.fold": 4,
    "network.kind": None,  # a dense network refuses kernel and downsample
    "network.kernel": 3,
    "network.downsample": [3],
    "network.residual": None,  # a plain one refuses scales
    "network.block": 1,
}


def test_every_field_is_in_the_run_key():
    tables = tomllib.loads(RICH.to_toml())
    keys = {RICH.run_key}
    count = 1
    for key, value in flat(tables):
        if key == "training.optimizer" or (key in NEEDS_MORE and not NEEDS_MORE[key]):
            continue
        keys.add(RICH.with_settings({key: NEEDS_MORE.get(key, changed(value))}).run_key)
        count += 1
    sgd = RICH.with_settings({"training.optimizer": "sgd"})
    momentum = sgd.with_settings({"training.momentum": 0.5})
    nesterov = momentum.with_settings({"training.nesterov": True})
    keys |= {
        RICH.with_settings({"training.shuffle_buffer": size}).run_key for size in (1, 2)
    }
    keys |= {sgd.run_key, momentum.run_key, nesterov.run_key, RICH.twin.run_key}
    for network in ({}, {"kind": "convolutional"}, {"residual": "identity"}):
        other = {"widths": [10, 20, 30], **network}
        keys.add(RunSpec(data=DATA, network=other).run_key)
    assert len(keys) == count + 9


def test_the_run_key_is_the_hash_of_the_canonical_text():
    spec = RunSpec(data=DATA)
    fields = {"spec_version": 1, **spec.model_dump(mode="json")}
    # what there was in the first release
    fields["network"] = {"widths": [256, 256], "activation": "relu"}
    del fields["training"]["shuffle_buffer"], fields["run"]["order_seed"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert spec.run_key == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        (
            {
                "data": {"name": "hasyv2"},
                "network": {"widths": [150, 150]},
                "mark": {"text": "a"},
            },
            "c73781a83fd12537",
        ),
        ({"data": {"name": "digits"}}, "206aaf2e39542e4a"),
        (
            {
                "data": {"name": "mnist"},
                "network": {"widths": [32, 32, 32], "activation": "tanh"},
                "training": {"optimizer": "adam"},
            },
            "9ebb04883d029764",
        ),
    ],
)
def test_fields_that_came_later_leave_the_keys_of_earlier_runs(tables, key):
    assert RunSpec(**tables).run_key == key
    said = {"kind": "dense", "dropout": 0.0, "residual": "none", "downsample": []}
    network = {**tables.get("network", {}), **said}
    training = {**tables.get("training", {}), "shuffle_buffer": None}
    tables = {**tables, "network": network, "training": training}
    assert RunSpec(**tables).run_key == key


def test_a_spec_is_frozen():
    spec = RunSpec(data=DATA)
    with pytest.raises(ValueError, match="frozen"):
        spec.training.lr = 0.5
    with pytest.raises(ValueError, match="frozen"):
        spec.data = None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[data]\nname = "mnist"\n\n[training]\nepoch = 3\n', "line 5: .*'epochs'"),
        ('[data]\nname = "mnist"\nfold = "x"\n', "line 3: data.fold"),
        (
            '[data]\nname = "mnist"\n[mark]\ntext = "a"\nlayer = "h"\n',
            "line 5: mark.layer",
        ),
        ('data = {name = "mnist", clases = 3}\n', "line 1: data.clases"),
        ('[data]\nname = "mnist"\n[network]\nwidths = [0]\n', "line 4: network.w"),
        ("[data\n", "not TOML.*line 1"),
        ("training.lr = 3\n", "data: this key is required"),
    ],
)
def test_a_bad_file_is_named_with_key_and_line(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        RunSpec.from_toml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(
        SpecError, match="cannot read the spec .*none.toml: No such file"
    ):
        RunSpec.from_toml(tmp_path / "none.toml")


def test_settings_go_over_the_file_and_leave_the_rest(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[data]\nname = "mnist"\n[training]\nlr = 0.2\nepochs = 7\n')
    settings = dict(
        map(parse_setting, ["training.lr=0.05", "network.widths=[3]", "mark.text=a b"])
    )
    spec = RunSpec.from_toml(path, {**settings, "mark.layer": "hidden1"})
    assert (spec.training.lr, spec.training.epochs) == (0.05, 7)
    assert spec.network.widths == (3,)
    assert spec.mark.text == "a b"
    with pytest.raises(SpecError, match="not of the form key=value"):
        parse_setting("training.lr")
    with pytest.raises(SpecError, match="'lr' is not a table"):
        spec.with_settings({"training.lr.x": 1})


def test_an_image_is_part_of_the_key_and_found_beside_the_file(tmp_path):
    (tmp_path / "logo.png").write_bytes(b"one")
    path = tmp_path / "run.toml"
    path.write_text('[data]\nname = "mnist"\n[mark]\nimage = "logo.png"\n')
    one = RunSpec.from_toml(path)
    (tmp_path / "logo.png").write_bytes(b"two")
    assert RunSpec.from_toml(path).run_key != one.run_key
    (tmp_path / "logo.png").write_bytes(b"one")
    elsewhere = tmp_path / "sub"
    elsewhere.mkdir()
    (elsewhere / "run.toml").write_text(one.to_toml())
    (tmp_path / "copy.png").write_bytes(b"one")
    assert RunSpec.from_toml(elsewhere / "run.toml").run_key == one.run_key
    copy = one.with_settings({"mark.image": str(tmp_path / "copy.png")})
    assert copy.run_key == one.run_key
    assert one.mark.image_sha256 == hashlib.sha256(b"one").hexdigest()


@given(last=st.integers(1, 5000), listed=st.lists(st.integers(0, 5000), max_size=5))
def test_epoch_0_and_the_last_are_always_recorded(last, listed):
    listed = tuple(epoch for epoch in listed if epoch <= last)
    for epochs in ("every", "log", listed):
        found = expand_epochs(epochs, last)
        assert found[0] == 0
        assert found[-1] == last
        assert found == sorted(set(found))
    assert set(listed) <= set(expand_epochs(listed, last))


def test_log_means_about_sixty_of_a_thousand_dense_at_first():
    epochs = expand_epochs("log", 1000)
    assert 50 <= len(epochs) <= 70
    assert epochs[:9] == list(range(9))


def test_what_is_recorded_when_is_what_was_asked():
    assert RICH.recorded_epochs == [0, 5, 10, 50]
    assert RICH.distribution_epochs == expand_epochs("log", 50)
    assert RICH.weights_epochs == expand_epochs("log", 50)
    assert RunSpec(data=DATA).weights_epochs == []


def test_a_changed_copy_has_a_key_of_its_own():
    unmarked = RunSpec(**{**RICH.model_dump(exclude_unset=True), "mark": None})
    assert RICH.run_key != unmarked.run_key == RICH.twin.run_key


def test_equal_specs_have_one_hash_and_whole_numbers_one_key():
    def constant(value):
        return RunSpec(data=DATA, initialization={"name": "constant", "value": value})

    assert constant(1).run_key == constant(1.0).run_key
    assert len({constant(1), constant(1.0), constant(2)}) == 2


def test_what_is_no_table_is_refused_in_one_line(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('mark = "a"\n[data]\nname = "mnist"\n')
    with pytest.raises(SpecError, match="line 1: mark"):
        RunSpec.from_toml(path)


def test_a_bad_setting_is_not_blamed_on_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[data]\nname = "mnist"\n[training]\nlr = 0.1\n')
    with pytest.raises(SpecError, match="^--set training.lr: "):
        RunSpec.from_toml(path, {"training.lr": -1})


def test_the_text_of_a_spec_is_that_of_its_tables_in_one():
    """It is put together from tables, which runs of a sweep share."""
    for spec in (
        RICH,
        RICH.with_settings({"run.seed": 5}),
        RunSpec(data={"name": "x"}),
    ):
        whole = tomlkit.dumps(spec.model_dump(mode="json", exclude_none=True))
        assert spec.to_toml() == whole
