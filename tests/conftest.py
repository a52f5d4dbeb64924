"""What tests of several rooms need."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets, named in BIRTHMARK_DATA."""
    named = os.environ.get("BIRTHMARK_DATA", "").split(os.pathsep)[0]
    if not named:
        pytest.skip("needs the real data sets: name their folder in BIRTHMARK_DATA")
    return Path(named)
