"""Run folders: records, weights and checkpoints that survive a kill at any moment.

This room alone knows file names. A file is there whole or not at all; records are
immutable Parquet segments, each of which says where the one before it ends.
"""

from birthmark.store.description import RunDescription, describe_spec
from birthmark.store.files import replacing
from birthmark.store.folder import RunFolder
from birthmark.store.results import has_results, load_results, save_results
from birthmark.store.runs import FORMAT_VERSION, Store, open_store
from birthmark.store.shipping import open_shipped, ship_run
from birthmark.store.views import by_layer, by_parameter

__all__ = [
    "FORMAT_VERSION",
    "RunDescription",
    "RunFolder",
    "Store",
    "by_layer",
    "by_parameter",
    "describe_spec",
    "has_results",
    "load_results",
    "open_shipped",
    "open_store",
    "replacing",
    "save_results",
    "ship_run",
]
