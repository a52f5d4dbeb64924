"""The report put together: gathered, laid out, and written whole or not at all."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from birthmark import __version__
from birthmark.analysis import (
    Survey,
    Thresholds,
    as_survey,
    family_findings,
    find_headlines,
)
from birthmark.errors import StoreError
from birthmark.figures import draw_survey
from birthmark.report.facts import split_facts
from birthmark.report.glossary import GLOSSARY
from birthmark.report.pictures import embed
from birthmark.report.runs import list_outcomes, list_runs
from birthmark.shapes import Finding
from birthmark.store import Store, replacing


@dataclass(frozen=True)
class Chapter:
    """The findings about the runs of one protocol."""

    name: str  # what sets the protocol apart; '' for one alone
    findings: list[Finding]


def write_report(
    source: Store | Survey, path: str | Path, thresholds: Thresholds | None = None
) -> Path:
    """Write what a store holds as one HTML file that needs nothing else to be read.

    Findings in words come first, then the figures of the paper with their data, the
    protocol, the runs, and where the numbers come from. A file that stands there
    already is replaced when the new one is complete.

    Args:
        source: A store with at least one run that has records, or a survey of one.
        path: The file; its folder must be there.
        thresholds: Of a store; a survey has its own.

    Returns:
        The path of the file.

    Raises:
        StoreError: There is nothing to report yet, a run cannot be read, or the file
            cannot be written.
    """
    target = Path(path)
    _check_target(target)
    survey = as_survey(source, thresholds)
    store = survey.store
    if store is None or not survey.runs:
        where = "this study" if store is None else store.path
        raise StoreError(
            f"{where} holds no records to report: start a run with "
            f"birthmark run SPEC.toml --store {where}"
        )
    page = _render(store, survey)
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def _check_target(target: Path) -> None:
    """Refuse before minutes of drawing what could not be written after them."""
    if target.is_dir():
        raise StoreError(f"cannot write {target}: it is a folder; name a file")
    if not target.parent.is_dir():
        raise StoreError(f"cannot write {target}: there is no folder {target.parent}")


def _render(store: Store, survey: Survey) -> str:
    keys = [run.run_key for run in survey.runs]
    table = store.runs().set_index("run_key", drop=False)
    # in the order of the study; runs without records come last
    runs = table.loc[[*keys, *table.index.difference(keys)]]
    spec = split_facts(
        {
            key: {name: runs.at[key, name] for name in runs.columns if "." in name}
            for key in keys
        }
    )
    style = files("birthmark.report").joinpath("templates", "report.css")
    css = style.read_text(encoding="utf-8")
    drawn = draw_survey(survey)
    return _template().render(
        title=f"birthmark: {_names(survey)}",
        store=store.path.resolve().name,
        css=Markup(css),  # ours, and no place for what others wrote
        css_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        version=__version__,
        written=datetime.now(UTC),
        summary=summarize_survey(survey),
        headlines=find_headlines(survey),
        chapters=[
            Chapter(family.said, family_findings(family)) for family in survey.families
        ],
        pictures=[embed(drawing) for drawing in drawn.drawings],
        missing=list(drawn.missing.values()),
        spec=spec,
        thresholds=survey.thresholds.rows(),
        glossary=GLOSSARY,
        tables=[list_runs(runs, spec.names_apart), list_outcomes(survey)],
        origin=split_facts({key: _origin(store.manifest(key)) for key in keys}),
    )


def summarize_survey(survey: Survey) -> str:
    """What was done, in one sentence."""
    networks = sum(run.num_replicas for run in survey.runs)
    epochs = int(max(run.epochs[-1] for run in survey.runs))
    widths = sorted({run.width for run in survey.runs})
    span = f"{widths[0]} to {widths[-1]}" if len(widths) > 1 else str(widths[0])
    return (
        f"{_count(networks, 'network')} of width {span} in "
        f"{_count(len(survey.runs), 'run')}, trained on {_names(survey)} for up to "
        f"{_count(epochs, 'epoch')}: how far their weights have moved from their "
        "random start, where it still shows, and when it is lost."
    )


def _names(survey: Survey) -> str:
    return ", ".join(sorted({run.spec.data.name for run in survey.runs}))


def _origin(manifest: Mapping[str, Any]) -> dict[str, Any]:
    # the time is a column of the table of runs
    return {name: value for name, value in manifest.items() if "wall" not in name}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("birthmark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
