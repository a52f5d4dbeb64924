"""The 8x8 digits inside scikit-learn: the data set that is always there.

E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998): the
1,797 images of its test part, with pixels from 0 to 16.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from birthmark.data.entries import Entry, Examples
from birthmark.seeds import stream
from birthmark.shapes import Array


def read_digits(entry: Entry, paths: Mapping[str, Path], fold: int) -> Examples:
    """The digits in one fixed split, the same shares of every class in both parts.

    The test set is every fifth image of those ordered by class and, within a class, by
    a random number that depends on nothing but an address of `seeds`.
    """
    rows = _read_rows()
    x_NI, y_N = rows[:, :-1], rows[:, -1].astype(np.int64)
    draws_N = stream(0, 0, "split", "digits").random(len(y_N))
    test_N = np.zeros(len(y_N), dtype=bool)
    test_N[np.lexsort((draws_N, y_N))[::5]] = True
    return Examples(x_NI[~test_N], y_N[~test_N], x_NI[test_N], y_N[test_N])


@cache
def _read_rows() -> Array:
    """Pixels and class of each image, as scikit-learn has them, without importing it.

    That would take more than a second of each process that trains on the digits.
    """
    package = find_spec("sklearn")
    assert package is not None and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0])
    path = folder / "datasets" / "data" / "digits.csv.gz"
    rows: Array = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return rows
