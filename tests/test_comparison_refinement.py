"""Boundaries that are followed, against the whole grid."""

import pytest

from birthmark.analysis import LEARNERS
from birthmark.comparison import follow_boundaries, refine
from birthmark.store import open_store
from birthmark.sweeps import Here, make_plan


@pytest.mark.parametrize(
    ("size", "is_inside"),
    [
        ((65, 65), lambda x, y: (x - 28) ** 2 + (y - 34) ** 2 < 360),
        ((65, 33), lambda x, y: 3 * y > 2 * x - 30),
        ((50, 41), lambda x, y: y > 20 + 8 * ((x / 20) ** 3 - x / 10)),
        ((40, 40), lambda x, y: (x > 17) + 2 * (y > 23)),
    ],
)
def test_boundaries_are_those_of_the_whole_grid_for_a_quarter_of_it(size, is_inside):
    asked = []

    def look(points):
        asked.extend(points)
        return {point: is_inside(*point) for point in points}

    found = refine(size, look, step=8)
    whole = {(x, y): is_inside(x, y) for x in range(size[0]) for y in range(size[1])}
    assert found.labels == whole
    assert len(asked) == len(set(asked)) == len(found.seen)
    assert len(asked) < len(whole) / 4


def test_an_axis_of_one_value_and_a_grid_all_alike_ask_for_corners_alone():
    def look(points):
        return dict.fromkeys(points, "same")

    assert refine((1, 1), look).seen == {(0, 0)}
    assert refine((1, 9), look, step=8).seen == {(0, 0), (0, 8)}
    found = refine((9, 9), look, step=8)
    assert len(found.seen) == 4 and len(found.labels) == 81


@pytest.mark.slow
def test_boundaries_of_real_training_are_those_of_the_whole_grid(tmp_path):
    """Weak learners against those that learn, over width and learning rate."""
    rates = [round(0.02 * 10 ** (step / 32), 5) for step in range(33)]
    grid = {
        "spec": {
            "data": {"name": "digits", "examples_per_class": 10},
            "training": {"epochs": 30, "batch_size": 10, "loss": "cross_entropy"},
            "run": {"replicas": 3},
            "record": {"epochs": [30], "distributions": []},
        },
        "grid": {
            "product": {
                "network.widths": [[width] for width in range(4, 37)],
                "training.lr": rates,
            }
        },
    }
    store = open_store(tmp_path, create=True)

    def carry_out(specs):
        plan = make_plan(specs, store, threads=1)
        for outcome in Here().carry_out(plan.tasks, tmp_path, lambda standing: None):
            assert outcome.status == "done"
        return store

    axes = ("network.widths", "training.lr")
    found = follow_boundaries(grid, *axes, carry_out)
    assert len(store.runs(state="done")) == len(found.seen)
    whole = follow_boundaries(grid, *axes, carry_out, step=1)
    assert len(whole.seen) == len(found.labels) == 33 * 33
    other = [at for at in whole.labels if found.labels[at] != whole.labels[at]]
    share = len(found.seen) / len(whole.seen)
    learners = {name: [*whole.labels.values()].count(name) for name in LEARNERS}
    print(f"{share:.1%} of {learners}, {len(other)} places otherwise: {other}")
    assert share < 1 / 4
    # lone places of another kind, away from the boundary, are not seen
    assert len(other) <= 0.01 * len(whole.labels)
