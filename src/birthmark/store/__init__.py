"""Run folders: records, weights and checkpoints that survive a kill at any moment.

This room alone knows file names. A file is there whole or not at all; records are
immutable Parquet segments, each of which says where the one before it ends.
"""

from birthmark.store.claims import ClaimedError, LostClaimError
from birthmark.store.copies import copy_run, find_copies
from birthmark.store.description import (
    RUN_COLUMNS,
    RunDescription,
    describe_spec,
    flatten,
)
from birthmark.store.exports import export_store
from birthmark.store.files import DamageError, replacing
from birthmark.store.folder import RunFolder
from birthmark.store.formats import FORMAT_VERSION
from birthmark.store.results import has_results, load_results, save_results
from birthmark.store.runs import Store, open_store
from birthmark.store.shipping import open_shipped, ship_run
from birthmark.store.verification import Damage, clear_run, verify_store
from birthmark.store.views import by_layer, by_parameter

__all__ = [
    "FORMAT_VERSION",
    "RUN_COLUMNS",
    "ClaimedError",
    "Damage",
    "DamageError",
    "LostClaimError",
    "RunDescription",
    "RunFolder",
    "Store",
    "by_layer",
    "by_parameter",
    "clear_run",
    "copy_run",
    "describe_spec",
    "flatten",
    "export_store",
    "find_copies",
    "has_results",
    "load_results",
    "open_shipped",
    "open_store",
    "replacing",
    "save_results",
    "ship_run",
    "verify_store",
]
