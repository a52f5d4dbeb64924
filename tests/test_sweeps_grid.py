"""What a grid says, counted by hand."""

import numpy as np
import pytest

from birthmark.errors import SpecError
from birthmark.spec import RunSpec
from birthmark.store import open_store
from birthmark.sweeps import Grid, make_plan, parse_shard, sweep
from birthmark.sweeps.expressions import evaluate

BASE = {"data": {"name": "digits"}, "training": {"epochs": 2}}


def grid(**tables):
    return Grid.from_tables({"spec": BASE, "grid": tables})


def seen(made):
    return [(s.network.widths[0], s.training.lr, s.run.seed) for s in made]


def test_product_zip_and_list_are_multiplied():
    found = grid(
        product={"run.seed": {"seeds": 2, "from": 5}},
        zip={"network.widths": [[4, 4], [8, 8]], "training.lr": [0.4, 0.2]},
        list=[{"training.batch_size": 16}, {"training.batch_size": 32}],
    )
    assert len(found) == 8
    half = [(4, 0.4, 5), (4, 0.4, 6), (8, 0.2, 5), (8, 0.2, 6)]
    assert seen(found) == half + half
    assert [spec.training.batch_size for spec in found] == [16] * 4 + [32] * 4


def test_fields_are_derived_from_others_and_runs_are_left_out():
    found = grid(
        product={"network.widths": [[4, 4], [8, 8], [16, 16]], "run.seed": [0, 1]},
        derive={"training.lr": "0.8 / widths[0]"},
        where=["lr < 0.2", "not (widths[-1] == 16 and seed == 1)"],
    )
    assert seen(found) == [(8, 0.1, 0), (8, 0.1, 1), (16, 0.05, 0)]


def test_python_says_the_same_as_toml():
    rules = {"training.lr": lambda run: 0.8 / run["network.widths"][0]}
    found = Grid.over(
        RunSpec(**BASE),
        {"network.widths": [[4, 4], [8, 8]], "run.seed": range(3)},
        derive=rules,
        where=lambda run: run["run.seed"] != 1,
    )
    expected = grid(
        product={"network.widths": [[4, 4], [8, 8]], "run.seed": [0, 1, 2]},
        derive={"training.lr": "0.8 / widths[0]"},
        where="seed != 1",
    )
    assert [s.run_key for s in found] == [s.run_key for s in expected]
    assert len(found) == 4


def test_seeds_of_starts_and_of_orders_are_set_apart_and_old_keys_stay():
    plain = RunSpec(**BASE)
    assert plain.with_settings({"run.order_seed": 7}).run_key != plain.run_key
    assert plain.with_settings({"run.order_seed": None}).run_key == plain.run_key
    from birthmark.data import load_dataset
    from birthmark.training import DrawnOrder

    del load_dataset
    orders = [
        DrawnOrder(spec, range(2), 50, "cpu")
        for spec in (
            plain.with_settings({"run.seed": 3}),
            plain.with_settings({"run.seed": 1, "run.order_seed": 3}),
        )
    ]
    first, second = ([order(epoch) for epoch in (0, 1)] for order in orders)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 ** -3 * 8", 1.0),
        ("widths[-1] // 3 if lr > 0.05 else 0", 5),
        ("max(widths) >= 16 and name in ['digits', 'mnist']", True),
        ("sqrt(2 / sum(widths)) == (2 / 24) ** 0.5", True),
        ("network.widths == [8, 16]", True),
        ("1 < lr < 2 or not lr", False),
    ],
)
def test_expressions_have_the_value_that_python_gives_them(text, value):
    fields = {"network.widths": (8, 16), "training.lr": 0.1, "data.name": "digits"}
    assert evaluate(text, fields) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "widths.__class__",
        "lambda: 1",
        "open('/etc/passwd')",
        "[x for x in widths]",
        "9 ** 9 ** 9",
        "'a' * 10 ** 9",
        "lrr",
        "1 / 0",
        "widths[9]",
        "(" * 2000,
        "",
    ],
)
def test_what_is_no_arithmetic_is_refused_in_one_line(text):
    with pytest.raises(SpecError) as error:
        evaluate(text, {"network.widths": (8, 16), "training.lr": 0.1})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"zip": {"run.seed": [1], "training.lr": [0.1, 0.2]}}, "of one length"),
        ({"product": {"run.seed": {"seeds": 0}}}, "seeds = N"),
        ({"list": 3}, "list of tables"),
        ({"derive": {"training.lr": 0.1}}, "expression in quotes"),
        ({"derive": {"training.lr": "lrr"}}, "training.lr: in 'lrr': unknown field"),
        ({"where": "lr > 9"}, "no run is left"),
        (
            {"product": {"training.lr": [0.1]}, "derive": {"training.lr": "0.2"}},
            "training.lr: is derived, and has values",
        ),
        ({"prodct": {}}, "did you mean 'product'"),
        ({"product": {"run.seed": {"seeds": 10**9}}}, "seeds = N"),
    ],
)
def test_a_grid_that_is_none_is_refused_in_one_line(tables, words):
    with pytest.raises(SpecError) as error:
        grid(**tables)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_values_of_numpy_are_those_of_python_and_a_number_is_no_list(tmp_path):
    base, rates = grid().specs[0], np.array([0.1, 0.2])
    axes = {"training.lr": rates, "run.seed": np.arange(2)}
    plain = {"training.lr": [0.1, 0.2], "run.seed": [0, 1]}
    assert Grid.over(base, axes) == Grid.over(base, plain)
    for values in (0.1, "ab"):
        with pytest.raises(SpecError, match="training.lr: needs a list of values"):
            Grid.over(base, {"training.lr": values})
    with pytest.raises(SpecError, match="seed: needs whole numbers, got 'a'"):
        sweep(print, {"seed": ["a"]}, store=tmp_path / "nowhere")
    assert not [*tmp_path.iterdir()]


def test_a_part_of_a_plan_speaks_of_its_own_runs_alone(tmp_path):
    specs = list(grid(product={"run.seed": {"seeds": 5}}))
    store = open_store(tmp_path, create=True)
    for spec in specs[:2]:
        store.start_run(spec).finish({})
    parts = [make_plan(specs, store, shard=(i, 2), threads=1) for i in (1, 2)]
    assert [[*part.done] for part in parts] == [[specs[0]], [specs[1]]]
    left = [[task.spec for task in part.tasks] for part in parts]
    assert left == [[specs[2], specs[4]], [specs[3]]]


def test_the_shards_of_a_plan_have_each_run_once():
    specs = list(grid(product={"run.seed": {"seeds": 10}}))
    parts = [make_plan(specs, None, shard=(i, 3), threads=1) for i in (1, 2, 3)]
    assert [len(part.tasks) for part in parts] == [4, 3, 3]
    dealt = [task.key for part in parts for task in part.tasks]
    assert sorted(dealt) == sorted(spec.run_key for spec in specs)
    assert parts[0].tasks[1].words == "seed 3"
    for text in ("0/3", "4/3", "3", "a/b", "1/0"):
        with pytest.raises(SpecError, match="I/N"):
            parse_shard(text)
