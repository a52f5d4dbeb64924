"""Boundaries between regions of a grid, found without looking at all of its points.

Squares whose corners are not all alike are split in four, and so are those beside a
point that turned out to be another than the ends of its edge; the others count as
filled. What is smaller than the first squares and touches none of their edges is not
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

Point = tuple[int, int]
Look = Callable[[list[Point]], Mapping[Point, Hashable]]


@dataclass(frozen=True)
class Refined:
    """What a grid looks like, and where it was looked at."""

    labels: dict[Point, Hashable]  # of all points of the grid
    seen: frozenset[Point]  # those that were looked at


@dataclass(frozen=True)
class _Box:
    """A rectangle of points, its ends included."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def corners(self) -> list[Point]:
        return [(x, y) for x in (self.x0, self.x1) for y in (self.y0, self.y1)]

    @property
    def is_smallest(self) -> bool:
        return self.x1 - self.x0 <= 1 and self.y1 - self.y0 <= 1

    def points(self) -> Iterable[Point]:
        for x in range(self.x0, self.x1 + 1):
            for y in range(self.y0, self.y1 + 1):
                yield x, y

    def on_edges(self) -> Iterable[Point]:
        for x, y in self.points():
            if x in (self.x0, self.x1) or y in (self.y0, self.y1):
                yield x, y

    def split(self) -> list[_Box]:
        xs = _halves(self.x0, self.x1)
        ys = _halves(self.y0, self.y1)
        return [_Box(x0, y0, x1, y1) for x0, x1 in xs for y0, y1 in ys]


def refine(size: tuple[int, int], look: Look, *, step: int = 4) -> Refined:
    """Label all points of a grid, looking only along the boundaries.

    Args:
        size: Points along each axis, X and Y.
        look: Gives the labels of points; called with many at a time, with none twice.
        step: Points between two of those that are looked at first.

    Returns:
        Each point that was not looked at has the label of the square that it lies in.
    """
    xs, ys = (_cut(count, step) for count in size)
    boxes = [_Box(x0, y0, x1, y1) for x0, x1 in xs for y0, y1 in ys]
    seen: dict[Point, Hashable] = {}
    _look_at(boxes, seen, look)
    while True:
        torn = [box for box in boxes if not box.is_smallest and _is_torn(box, seen)]
        if not torn:
            break
        parts = [part for box in torn for part in box.split()]
        boxes = [box for box in boxes if box not in set(torn)] + parts
        _look_at(parts, seen, look)
    labels = dict(seen)
    for box in boxes:
        for point in box.points():
            labels.setdefault(point, seen[box.x0, box.y0])
    return Refined(labels, frozenset(seen))


def _is_torn(box: _Box, seen: Mapping[Point, Hashable]) -> bool:
    here = {seen[point] for point in box.on_edges() if point in seen}
    return len(here) > 1


def _look_at(boxes: Iterable[_Box], seen: dict[Point, Hashable], look: Look) -> None:
    corners = {point for box in boxes for point in box.corners}
    new = sorted(corners - seen.keys())
    if new:
        found = look(new)
        seen.update({point: found[point] for point in new})


def _cut(count: int, step: int) -> list[tuple[int, int]]:
    """The whole axis in pieces of so many points, the last one as long as it is."""
    if count == 1:
        return [(0, 0)]
    ends = [*range(0, count - 1, step), count - 1]
    return list(zip(ends, ends[1:], strict=False))


def _halves(low: int, high: int) -> list[tuple[int, int]]:
    if high - low <= 1:
        return [(low, high)]
    middle = (low + high) // 2
    return [(low, middle), (middle, high)]
