"""Run folders: records, weights and checkpoints that survive a kill at any moment.

This room alone knows file names. A file is there whole or not at all; records are
immutable Parquet segments, each of which says where the one before it ends.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birthmark.store.claims import ClaimedError as ClaimedError
    from birthmark.store.claims import Leases as Leases
    from birthmark.store.claims import LostClaimError as LostClaimError
    from birthmark.store.description import RUN_COLUMNS as RUN_COLUMNS
    from birthmark.store.description import RunDescription as RunDescription
    from birthmark.store.description import describe_spec as describe_spec
    from birthmark.store.description import flatten as flatten
    from birthmark.store.exports import export_store as export_store
    from birthmark.store.files import DamageError as DamageError
    from birthmark.store.files import check_target as check_target
    from birthmark.store.files import make_output_folder as make_output_folder
    from birthmark.store.files import replacing as replacing
    from birthmark.store.folder import RunFolder as RunFolder
    from birthmark.store.followed import FollowedRun as FollowedRun
    from birthmark.store.formats import FORMAT_VERSION as FORMAT_VERSION
    from birthmark.store.listing import list_runs as list_runs
    from birthmark.store.named_arrays import AnyRecords as AnyRecords
    from birthmark.store.named_arrays import Records as Records
    from birthmark.store.results import has_results as has_results
    from birthmark.store.results import load_results as load_results
    from birthmark.store.results import save_results as save_results
    from birthmark.store.runs import Store as Store
    from birthmark.store.runs import open_store as open_store
    from birthmark.store.shipping import copy_run as copy_run
    from birthmark.store.shipping import find_copies as find_copies
    from birthmark.store.shipping import open_shipped as open_shipped
    from birthmark.store.shipping import ship_run as ship_run
    from birthmark.store.verification import Damage as Damage
    from birthmark.store.verification import clear_run as clear_run
    from birthmark.store.verification import verify_store as verify_store
    from birthmark.store.views import by_layer as by_layer
    from birthmark.store.views import by_parameter as by_parameter

# each file is loaded when it is asked for: a list of runs needs no pandas
_FILES = {
    "ClaimedError": "claims",
    "Damage": "verification",
    "DamageError": "files",
    "FORMAT_VERSION": "formats",
    "FollowedRun": "followed",
    "Leases": "claims",
    "LostClaimError": "claims",
    "Records": "named_arrays",
    "RUN_COLUMNS": "description",
    "RunDescription": "description",
    "RunFolder": "folder",
    "Store": "runs",
    "by_layer": "views",
    "by_parameter": "views",
    "check_target": "files",
    "clear_run": "verification",
    "copy_run": "shipping",
    "describe_spec": "description",
    "export_store": "exports",
    "find_copies": "shipping",
    "flatten": "description",
    "has_results": "results",
    "list_runs": "listing",
    "load_results": "results",
    "make_output_folder": "files",
    "open_shipped": "shipping",
    "open_store": "runs",
    "replacing": "files",
    "save_results": "results",
    "ship_run": "shipping",
    "verify_store": "verification",
}

__all__ = ["Store", "open_store"]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
