"""Boundaries that are followed, against the whole grid."""

import pytest

from birthmark.comparison import refine


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
