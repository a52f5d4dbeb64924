"""What was found, in plain words, each with its number, interval and threshold."""

from __future__ import annotations

import json

from birthmark.analysis.columns import read_columns
from birthmark.analysis.findings_of_training import TRAINING_FINDINGS
from birthmark.analysis.findings_of_weights import WEIGHTS_FINDINGS
from birthmark.analysis.studies import Study, split_by_protocol
from birthmark.analysis.thresholds import Thresholds
from birthmark.shapes import Finding
from birthmark.spec import RunSpec


def find_findings(study: Study, thresholds: Thresholds | None = None) -> list[Finding]:
    """State what the runs show, and where they show no difference.

    Runs are compared across width within one protocol only. With several protocols each
    finding begins with what sets its protocol apart.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    lines = thresholds or Thresholds()
    studies = split_by_protocol(study)
    findings = []
    for one, name in zip(studies, protocol_names(studies), strict=True):
        columns = read_columns(one, lines)
        for state in (*TRAINING_FINDINGS, *WEIGHTS_FINDINGS):
            finding = state(columns, lines)
            if finding is not None:
                findings.append(_within(name, finding))
    return findings


def protocol_names(studies: list[Study]) -> list[str]:
    """What sets each protocol apart: `training.lr=0.3, no mark`; '' for one alone."""
    flat = [_fields(study.runs[0].spec) for study in studies]
    keys = sorted({key for one in flat for key in one})
    free = ("network.widths", "run.seed", "run.replicas", "run.device", "record.")
    apart = [
        key
        for key in keys
        if not key.startswith(free) and len({one.get(key) for one in flat}) > 1
    ]
    return [
        ", ".join(
            one[key] if key == "mark" else f"{key}={one[key]}"
            for key in apart
            if key in one
        )
        for one in flat
    ]


def _fields(spec: RunSpec) -> dict[str, str]:
    mark = spec.mark
    said = "no mark"
    if mark is not None:
        how = mark.mode if mark.value is None else f"{mark.mode} {mark.value:g}"
        said = f'mark "{mark.text or mark.image}" in {mark.layer} ({how})'
    return _flatten(spec.model_dump(mode="json", exclude={"mark"})) | {"mark": said}


def _flatten(table: dict[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value)
    return flat


def _within(name: str, finding: Finding) -> Finding:
    if not name:
        return finding
    return Finding(
        what=f"[{name}] {finding.what}",
        why=finding.why,
        how=finding.how,
        source=finding.source,
        level=finding.level,
        values=finding.values,
    )
