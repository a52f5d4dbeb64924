"""Data sets by name: found, fetched with checksums, imported, kept in a cache."""

from birthmark.data.loading import (
    DatasetFacts,
    check_dataset,
    describe_dataset,
    load_dataset,
)
from birthmark.data.local_files import (
    fetch_dataset,
    import_dataset,
    list_datasets,
    verify_dataset,
)

__all__ = ["load_dataset"]
