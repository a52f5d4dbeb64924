"""The check-up as an assertion, for the tests of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from birthmark.checkup.examination import check
from birthmark.checkup.readings import LEVELS, CheckUp
from birthmark.errors import unknown_name


def assert_healthy(
    model: Any,
    batch: Any,
    *,
    level: str = "warning",
    ignore: Sequence[str] = (),
    **options: Any,
) -> CheckUp:
    """Fail a test when the check-up finds something.

        def test_the_start_of_my_model_is_sound():
            bm.assert_healthy(make_model(), batch, ignore=["late_start"])

    Args:
        model: As for `check`.
        batch: As for `check`.
        level: `note`, `warning` or `error`: what is asked for at least.
        ignore: Names of findings, or `name:tensor` for one of them at one place.
        **options: Further arguments of `check`.

    Raises:
        AssertionError: With the findings, one line each.
        SpecError: No such level.
    """
    if level not in LEVELS:
        raise unknown_name("level", level, LEVELS)
    checkup = ignoring(check(model, batch, **options), ignore)
    found = checkup.at_or_above(level)
    if found:
        lines = [f"[{f.name}] {f.what} {f.advice}" for f in found]
        raise AssertionError("\n".join([checkup.verdict, *lines]))
    return checkup


def ignoring(checkup: CheckUp, ignore: Sequence[str]) -> CheckUp:
    """The check-up without the findings of these names, or `name:tensor`."""
    kept = []
    for finding in checkup.findings:
        places = {f"{finding.name}:{name}" for name in finding.where}
        everywhere = bool(finding.where) and places <= set(ignore)
        if finding.name not in ignore and not everywhere:
            kept.append(finding)
    return replace(checkup, findings=tuple(kept))
