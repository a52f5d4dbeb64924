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
    Study,
    Thresholds,
    find_findings,
    find_headlines,
    protocol_names,
    read_study,
    split_by_protocol,
)
from birthmark.errors import StoreError
from birthmark.figures import explain_missing, find_drawings
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
    store: Store, path: str | Path, thresholds: Thresholds | None = None
) -> Path:
    """Write what a store holds as one HTML file that needs nothing else to be read.

    Findings in words come first, then the figures of the paper with their data, the
    protocol, the runs, and where the numbers come from. A file that stands there
    already is replaced when the new one is complete.

    Args:
        store: With at least one run that has records.
        path: The file; its folder must be there.
        thresholds: Where the lines between regimes, learners and jumps are drawn.

    Returns:
        The path of the file.

    Raises:
        StoreError: There is nothing to report yet, a run cannot be read, or the file
            cannot be written.
    """
    target = Path(path)
    _check_target(target)
    study = read_study(store)
    if not study.runs:
        raise StoreError(
            f"{store.path} holds no records to report: start a run with "
            f"birthmark run SPEC.toml --store {store.path}"
        )
    page = _render(store, study, thresholds or Thresholds())
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def _check_target(target: Path) -> None:
    """Refuse before minutes of drawing what could not be written after them."""
    if target.is_dir():
        raise StoreError(f"cannot write {target}: it is a folder; name a file")
    if not target.parent.is_dir():
        raise StoreError(f"cannot write {target}: there is no folder {target.parent}")


def _render(store: Store, study: Study, thresholds: Thresholds) -> str:
    keys = [run.run_key for run in study]
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
    studies = split_by_protocol(study)
    return _template().render(
        title=f"birthmark: {_names(study)}",
        store=store.path.resolve().name,
        css=Markup(css),  # ours, and no place for what others wrote
        css_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        version=__version__,
        written=datetime.now(UTC),
        summary=summarize_study(study),
        headlines=find_headlines(study, thresholds),
        chapters=[
            Chapter(name, find_findings(one, thresholds))
            for one, name in zip(studies, protocol_names(studies), strict=True)
        ],
        pictures=[embed(drawing) for drawing in find_drawings(store, thresholds)],
        missing=list(explain_missing(store, thresholds).values()),
        spec=spec,
        thresholds=thresholds.rows(),
        glossary=GLOSSARY,
        tables=[list_runs(runs, spec.names_apart), list_outcomes(study, thresholds)],
        origin=split_facts({key: _origin(store.manifest(key)) for key in keys}),
    )


def summarize_study(study: Study) -> str:
    """What was done, in one sentence."""
    networks = sum(run.records.sizes["replica"] for run in study)
    epochs = max(int(run.records["epoch"][-1]) for run in study)
    widths = study.widths
    span = f"{widths[0]} to {widths[-1]}" if len(widths) > 1 else str(widths[0])
    return (
        f"{_count(networks, 'network')} of width {span} in "
        f"{_count(len(study.runs), 'run')}, trained on {_names(study)} for up to "
        f"{_count(epochs, 'epoch')}: how far their weights have moved from their "
        "random start, where it still shows, and when it is lost."
    )


def _names(study: Study) -> str:
    return ", ".join(sorted({run.spec.data.name for run in study}))


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
