"""The draws of `make attack`, a few of each in every run of the tests.

`make test-slow` draws ten times as many, and new ones; `tools/attack.py` goes on for
ten minutes, and kills sweeps besides.
"""

import random
import warnings

import pytest
from attacks.files import checkpoints, data_sets, pictures, results
from attacks.numbers import extremes
from attacks.runs import stores
from attacks.settings import grids
from attacks.tensors import initializations
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.errors import BirthmarkError

KINDS = [grids, pictures, checkpoints, initializations, data_sets]
KINDS += [results, stores, pytest.param(extremes, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def attack(request, tmp_path_factory):
    """What is drawn from, and a try that draws."""
    draw = random.Random()
    attempts = request.param(draw, tmp_path_factory.mktemp("attack"))
    yield draw, next(attempts)
    attempts.close()  # what it has patched is as before


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=settings.default.max_examples // 4)
def test_what_is_odd_or_damaged_is_right_or_refused_in_one_line(attack, seed):
    draw, attempt = attack
    draw.seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, over what nobody wrote
        try:
            assert attempt(), "another result"
        except BirthmarkError as error:
            assert "\n" not in str(error)
