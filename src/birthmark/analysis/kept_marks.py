"""The mark in weights that were kept: read as an eye does, and beside what is no mark.

Records of older versions have the retention of single weights alone. Where the weights
were kept, what an eye sees of them can be read afterwards; and whether that is the mark
is then told by two nulls, other letters and the same matrix in another order.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from birthmark.errors import SpecError, StoreError
from birthmark.spec import MarkSpec
from birthmark.statistics import pooled_auc, read_mark
from birthmark.store import Records

if TYPE_CHECKING:
    from birthmark.analysis.columns import Column
    from birthmark.analysis.studies import Run
    from birthmark.analysis.surveys import Family
    from birthmark.shapes import Array
    from birthmark.spec import RunSpec
    from birthmark.store import AnyRecords, Store

POOLED = "mark_pooled_auc"
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # what a mark might be taken for
TWINS = 19  # matrices without a mark beside each one: the least p is 1 in 20
_AT_THE_END = 0.9  # of the training: weights kept from then on are those of its end


def draw_masks(mark: MarkSpec, w_IO: Array) -> tuple[Array, dict[str, Array]]:
    """The mask of a mark in a matrix, and those of all other letters that fit into it.

    Raises:
        SpecError: The image of the mark cannot be read.
    """
    wrong = {}
    for letter in LETTERS:
        # an `i` covers all of a matrix of eight, and nothing is beside it
        with suppress(SpecError):
            wrong[letter] = _mask(MarkSpec(text=letter), w_IO)
    wrong.pop(mark.text or "", None)
    return _mask(mark, w_IO), wrong


def add_pooled(records: AnyRecords, spec: RunSpec, store: Store) -> AnyRecords:
    """Records with what an eye reads of the mark at the epochs of kept weights.

    Records that have it are given back as they are, and so are those whose weights or
    mark cannot be read.
    """
    mark = spec.mark
    if mark is None or mark.mode == "shift" or POOLED in records:
        return records
    if "mark_auc" not in records:
        return records
    if isinstance(records, Records):
        records = records.to_dataset()
    pixel = records["mark_auc"].transpose("step", "replica", "layer")
    found = pixel.astype(float) * np.nan
    layer = list(records["layer"].to_numpy()).index(mark.layer)
    places = {int(epoch): i for i, epoch in enumerate(records["epoch"].to_numpy())}
    try:
        for epoch in places.keys() & set(store.weights_epochs(spec.run_key)):
            kept = store.weights(spec.run_key, epoch)
            if mark.layer in set(kept):
                values = [_pool(w_IO, mark) for w_IO in np.asarray(kept[mark.layer].w)]
                found.values[places[epoch], :, layer] = values
    except (SpecError, StoreError):
        return records
    words = {"long_name": "ROC-AUC of pooled sizes for the mark", "units": "1"}
    return records.assign({POOLED: found.assign_attrs(words)})


def read_at_end(family: Family, column: Column) -> tuple[Array, Array]:
    """Whether the mark is read in the last weights of each network, and their epoch.

    It is where its mask scores best of all letters, and higher than all twins without a
    mark (`statistics.read_mark`).

    Returns:
        1 or 0, [R], NaN where no weights of the end were kept; and the epochs, [R].
    """
    both = [_read_run(family, run) for run in column.runs]
    flags, epochs = (np.concatenate(one) for one in zip(*both, strict=True))
    return flags, epochs


def _read_run(family: Family, run: Run) -> tuple[Array, Array]:
    nothing = np.full((2, run.num_replicas), np.nan)
    mark = None if run.given is None else run.given.mark
    if mark is None or family.store is None or not _makes_small(mark):
        return nothing[0], nothing[1]

    def find() -> Array:
        last = family.kept_epochs(run)[-1:]
        if not last or last[0] < _AT_THE_END * run.epochs[-1]:
            return nothing
        try:
            kept = family.weights_at(run, last, mark.layer)
            flags = [_read(w_IO, mark) for w_RIO in kept.values() for w_IO in w_RIO]
        except (SpecError, StoreError):
            return nothing
        return np.array([flags, [float(last[0])] * len(flags)]) if flags else nothing

    flags, epochs = run.remember(("mark at the end",), find)
    return flags, epochs


def _read(w_IO: Array, mark: MarkSpec) -> float:
    if not np.isfinite(w_IO).all():
        return np.nan
    w_IO = np.asarray(w_IO, dtype=float)
    return float(read_mark(w_IO, *draw_masks(mark, w_IO), twins=TWINS).is_read)


def _pool(w_IO: Array, mark: MarkSpec) -> float:
    if not np.isfinite(w_IO).all():
        return np.nan
    small = pooled_auc(w_IO, _mask(mark, w_IO))
    return small if _makes_small(mark) else 1 - small


def _makes_small(mark: MarkSpec) -> bool:
    """Whether the weights under a mark are smaller than those beside it."""
    return mark.mode == "zero" or (mark.mode == "scale" and abs(mark.value or 0) < 1)


def _mask(mark: MarkSpec, w_IO: Array) -> Array:
    from birthmark.marks import draw_mark  # with Pillow, which few readers need

    return draw_mark(mark, *w_IO.shape).mask_IO
