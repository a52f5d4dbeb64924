"""What pages fold away or give as a file, so that the rest is read in five minutes.

Templates call these around a part of their text:

    {% call fold("How it was measured") %} ... {% endcall %}    opened by the reader
    {% call file("replicas", "All replicas") %} | a | table | {% endcall %}   as CSV
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)


class Downloads:
    """The files of one page, gathered while its template is filled."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.files: dict[str, str] = {}  # name: text

    def fold(self, title: str, caller: Callable[[], str]) -> str:
        """A part that is closed until the reader opens it."""
        text = caller().strip("\n")
        return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>\n"

    def file(self, name: str, title: str, caller: Callable[[], str]) -> str:
        """A Markdown table as a file with a link; what stands around it stays."""
        lines = caller().strip("\n").splitlines()
        rows = [line for line in lines if line.lstrip().startswith("|")]
        around = [line for line in lines if not line.lstrip().startswith("|")]
        cells = [
            [cell.strip().strip("*`") for cell in row.strip().strip("|").split("|")]
            for row in rows
            if set(row) - set("|-: ")
        ]
        link = self._add(name, cells, title)
        return "\n".join([*around, link]).strip("\n") + "\n"

    def rows(self, name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Numbers as a file with a link, four digits each."""
        cells = [list(rows[0])] + [[_say(x) for x in row.values()] for row in rows]
        return self._add(name, cells, title)

    def _add(self, name: str, cells: list[list[str]], title: str) -> str:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(cells)
        path = f"tables/{self.page}-{name}.csv"
        self.files[path] = out.getvalue()
        return f"[{title}]({path}) (CSV, {len(cells) - 1} rows)."


def count_words(page: str) -> int:
    """Words that a reader meets without opening anything."""
    return len(_FOLDED.sub("", page).split())


def _say(x: Any) -> str:
    if isinstance(x, float):
        return "" if x != x else f"{x:.4g}"
    return str(x)
