"""The products in C: each sum in the order of its terms, wherever the rows lie."""

import ctypes
import os
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from birthmark.compilation import compile_command
from birthmark.training.compiled import library as library_module

COMPILER = shutil.which(os.environ.get("CC", "cc"))
SOURCE = Path(library_module.__file__).parent
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")

# Term by term: what a product must be to the last bit. Some compilers fuse product and
# sum in all tiles, others not in the smallest, whose terms wait for each other.
WRAPPER = """
#include "products.h"
#include <stdlib.h>
void product(int64_t rows, int64_t columns, int64_t depth, const REAL *a, int64_t a_row,
             int64_t a_column, REAL *b, int64_t b_row, REAL *c, int64_t c_row,
             REAL *start, int64_t often, int64_t cuts)
{
    REAL *panel = malloc(panel_size(depth) * sizeof(REAL));
    REAL *left = malloc(num_kept() * sizeof(REAL));
    multiply(rows, columns, depth, (left_matrix){a, a_row, a_column},
             (right_matrix){b, b_row}, (right_matrix){start, c_row},
             (right_matrix){c, c_row}, (copies_room){panel, left, often, cuts});
    free(left);
    free(panel);
}
__attribute__((optimize("no-tree-vectorize", "fp-contract=off")))
void term_by_term(int64_t rows, int64_t columns, int64_t depth, const REAL *a,
                  const REAL *b, REAL *c, int fused)
{
    for (int64_t m = 0; m < rows; m++)
        for (int64_t n = 0; n < columns; n++) {
            REAL sum = 0;
            for (int64_t k = 0; k < depth; k++) {
                const REAL one = a[m * depth + k], other = b[k * columns + n];
                sum = fused ? FMA(one, other, sum) : one * other + sum;
            }
            c[m * columns + n] += sum;
        }
}
"""


@pytest.fixture(scope="module", params=["float", "double"])
def library(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    (folder / "wrapper.c").write_text(WRAPPER)
    fma = "-DFMA=fmaf" if request.param == "float" else "-DFMA=fma"
    defines = [f"-DREAL={request.param}", fma]
    defines += ["-DREAL_IS_DOUBLE"] if request.param == "double" else []
    command = [
        *compile_command(COMPILER),
        *defines,
        f"-I{SOURCE}",
        str(folder / "wrapper.c"),
    ]
    subprocess.run([*command, "-o", str(folder / "w.so"), "-lm"], check=True)
    found = ctypes.CDLL(str(folder / "w.so"))
    found.dtype = np.float32 if request.param == "float" else np.float64
    return found


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


def numbers(*values):
    return [ctypes.c_int64(value) for value in values]


def lay(values, row):
    """A copy whose rows lie so far apart, and what there is to change."""
    held = np.zeros((len(values) + 1, row), dtype=values.dtype)
    held[: len(values), : values.shape[1]] = values
    return held


SIZES = [*product([1, 8, 100], [1, 24, 100], [1, 128, 1000]), (700, 130, 128)]


@pytest.mark.parametrize("rows, columns, depth", SIZES)
def test_a_product_has_the_bits_of_its_terms_one_by_one_at_any_stride(
    library, rows, columns, depth
):
    draws = np.random.default_rng(rows * columns + depth)
    a, b, start = (
        draws.normal(size=shape).astype(library.dtype)
        for shape in ((rows, depth), (depth, columns), (rows, columns))
    )
    fused, apart = start.copy(), start.copy()
    sizes = numbers(rows, columns, depth)
    library.term_by_term(*sizes, address(a), address(b), address(fused), 1)
    library.term_by_term(*sizes, address(a), address(b), address(apart), 0)
    found = []
    library.row_stride.restype = ctypes.c_int64
    for wider, often, cuts in ((0, 8, 0), (16, 8, 1), (32, 0, 0), (0, 1, 1)):
        row = library.row_stride(*numbers(columns)) + wider
        held_b = lay(b, row)
        for held_a, steps in (
            (lay(a, depth + wider), (depth + wider, 1)),
            (lay(a.T.copy(), rows + wider), (1, rows + wider)),
        ):
            held_c = lay(start, row)
            held_start = lay(start, row) if cuts else held_c
            library.product(
                *sizes,
                address(held_a),
                *numbers(*steps),
                address(held_b),
                *numbers(row),
                address(held_c),
                *numbers(row),
                address(held_start),
                *numbers(often, cuts),
            )
            c = held_c[:rows, :columns]
            assert ((c == fused) | (c == apart)).all()
            found.append(c)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_long_rows_begin_in_all_sets_of_the_cache(library):
    library.row_stride.restype = ctypes.c_int64
    size = np.dtype(library.dtype).itemsize
    for count in range(1, 2000):
        row = library.row_stride(*numbers(count))
        assert row >= count
        if row * size >= 256:
            sets = {step * row * size // 64 % 64 for step in range(64)}
            assert len(sets) == 64, count
