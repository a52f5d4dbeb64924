"""The check-up: a model's initialization on the user's data, before the first step."""

from birthmark.checkup.batches import take_batch
from birthmark.checkup.examination import check
from birthmark.checkup.health import assert_healthy, ignoring
from birthmark.checkup.isolation import seed_streams
from birthmark.checkup.law_detection import detect_law
from birthmark.checkup.passport import (
    make_passport,
    read_passport,
    write_passport,
)
from birthmark.checkup.passport_changes import compare_passports, group_changes
from birthmark.checkup.readings import LEVELS, CheckUp

__all__ = ["CheckUp", "assert_healthy", "check"]
