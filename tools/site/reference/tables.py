"""Markdown tables."""

from collections.abc import Iterable, Iterator


def say_table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """The lines of a table; bars and line breaks in cells are made harmless."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""
