"""The report put together: gathered, laid out, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from birthmark.analysis import Survey, Thresholds, as_survey, summarize_survey
from birthmark.errors import StoreError
from birthmark.figures import draw_survey, make_each
from birthmark.report.chapters import write_chapter
from birthmark.report.facts import split_facts
from birthmark.report.glossary import GLOSSARY
from birthmark.report.pages import write_page
from birthmark.report.pictures import embed
from birthmark.report.runs import list_runs
from birthmark.store import Store, check_target

OPEN_CHAPTERS = 2  # families that are not folded


def write_report(
    source: Store | Survey,
    path: str | Path,
    thresholds: Thresholds | None = None,
    *,
    apart: bool = False,
) -> Path:
    """Write what a store holds as one HTML file that needs nothing else to be read.

    What happened comes first, in one screen; then each finding beside its picture, the
    protocol, the runs, and where the numbers come from. A file that stands there
    already is replaced when the new one is complete.

    Args:
        source: A store with at least one run that has records, or a survey of one.
        path: The file; its folder must be there.
        thresholds: Of a store; a survey has its own.
        apart: Drawn in a process a core, where Linux can copy this one.

    Returns:
        The path of the file.

    Raises:
        StoreError: There is nothing to report yet, or the file cannot be written.
    """
    target = check_target(path)  # before minutes of drawing
    survey = as_survey(source, thresholds)
    store = survey.store
    if store is None or not survey.runs:
        where = "this study" if store is None else store.path
        raise StoreError(
            f"{where} holds no records to report: start a run with "
            f"birthmark run SPEC.toml --store {where}"
        )
    return write_page("report.html", target, **_gather(store, survey, apart=apart))


def _gather(store: Store, survey: Survey, *, apart: bool) -> dict[str, Any]:
    drawn = draw_survey(survey)
    made = make_each(embed, drawn.drawings, formats=("svg",), apart=apart)
    pictures = {one.name: one for one in made}
    of_family = {
        family.name: [one for one in drawn.drawings if one.family == family.name]
        for family in survey.families
    }
    chapters = [
        write_chapter(family, of_family[family.name], pictures)
        for family in survey.families
    ]
    runs = _table(store, survey)
    keys = [run.run_key for run in survey.runs]
    protocol = split_facts({run.run_key: _asked(run.fields) for run in survey.runs})
    return {
        "title": chapters[0].overview.title,
        "store": store.path.resolve().name,
        "summary": summarize_survey(survey),
        "chapters": chapters,
        "open_chapters": OPEN_CHAPTERS,
        "damaged": survey.damaged,
        "missing": list(drawn.missing.values()),
        "protocol": protocol,
        "thresholds": survey.thresholds.rows(),
        "glossary": GLOSSARY,
        "table": list_runs(runs, survey, protocol.names_apart),
        "origin": split_facts({key: _origin(store.manifest(key)) for key in keys}),
    }


def _table(store: Store, survey: Survey) -> list[dict[str, Any]]:
    """The runs in the order of the survey; those without records come last."""
    place = {run.run_key: i for i, run in enumerate(survey.runs)}
    rows = store.rows()
    return sorted(
        rows, key=lambda row: (place.get(row["run_key"], len(place)), row["run_key"])
    )


def _asked(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    nothing = (None, "", ())
    return {n: v for n, v in fields.items() if "." in n or v not in nothing}


def _origin(manifest: Mapping[str, Any]) -> dict[str, Any]:
    # the time is a column of the table of runs
    return {name: value for name, value in manifest.items() if "wall" not in name}
