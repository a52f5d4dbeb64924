"""The answer to a question in words, as its page states it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from birthmark_experiments.frame import experiment_names, find_experiment
from birthmark_experiments.pages import (
    Lazy,
    find_gathering,
    find_page,
    find_sources,
    find_templates,
    render,
    summarize,
)

if TYPE_CHECKING:
    import xarray as xr

_SECTION = re.compile(
    r"^## The short answer\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
_PICTURE = re.compile(r"^!\[.*\n?", re.MULTILINE)


def say_answer(name: str, results: xr.Dataset | None = None) -> str:
    """The short answer of a question's page as plain text, and where the rest stands.

    Args:
        name: Of the experiment; some share a page, and with it the answer.
        results: Measured anew at the full scale, in the place of the shipped ones.
    """
    sources = find_sources()
    if results is not None:
        measured = find_experiment(name).summarize(results)
        sources["experiments"] = Lazy(
            experiment_names(),
            lambda one: measured if one == name else summarize(one),
        )
    page_name = find_gathering(name)
    [template] = find_templates([page_name])
    page = render(template, sources)[find_page(template)]
    [answer] = _SECTION.findall(page)
    plain = _LINK.sub(r"\1", _PICTURE.sub("", answer)).replace("**", "").strip()
    return f"{plain}\n\nProtocol, tables and theory: docs/experiments/{page_name}.md"
