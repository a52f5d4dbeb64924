"""What was found, in plain words, each with its number, interval and threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from birthmark.analysis.findings_of_loops import (
    find_farthest,
    find_least_loss,
    find_lost,
)
from birthmark.analysis.findings_of_training import (
    find_coincidence,
    find_collapse,
    find_examples,
    find_learners,
    find_minima,
    find_unfinished,
)
from birthmark.analysis.findings_of_weights import (
    find_kept_marks,
    find_nearness,
    find_retention,
    find_scaling,
)
from birthmark.analysis.studies import Study
from birthmark.analysis.surveys import Family, Survey, survey_study
from birthmark.analysis.thresholds import Thresholds
from birthmark.shapes import Finding

HEADLINES = 5
FINDINGS: tuple[Callable[[Family], Finding | None], ...] = (
    find_unfinished,
    find_learners,
    find_nearness,
    find_retention,
    find_kept_marks,
    find_scaling,
    find_coincidence,
    find_collapse,
    find_minima,
    find_examples,
)
OF_LOOPS = (find_lost, find_least_loss, find_farthest)  # of runs that have no spec


def find_findings(
    source: Study | Survey, thresholds: Thresholds | None = None
) -> list[Finding]:
    """State what the runs show, and where they show no difference.

    Runs are compared within one family only. With several families each finding begins
    with what sets its family apart.

    Args:
        source: A survey of a store, or runs that were read without one.
        thresholds: Of a study; a survey has its own.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    survey = source if isinstance(source, Survey) else survey_study(source, thresholds)
    return [
        replace(one, what=f"[{family.said}] {one.what}") if family.said else one
        for family in survey.families
        for one in family_findings(family)
    ]


def family_findings(family: Family) -> list[Finding]:
    """What the runs of one family show, the most telling first; found once.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """

    def find() -> list[Finding]:
        known = FINDINGS if family.is_judged else OF_LOOPS
        found = (state(family) for state in known)
        return [finding for finding in found if finding is not None]

    return family.remember("findings", find)


def find_headlines(
    source: Study | Survey, thresholds: Thresholds | None = None
) -> list[str]:
    """At most five lines, each the sentence of a finding about the most runs.

    What their family does not allow to be said is said of the next that does.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    lines: dict[str, str] = {}
    for finding in find_findings(source, thresholds):
        lines.setdefault(finding.name, finding.what)
    return list(lines.values())[:HEADLINES]
