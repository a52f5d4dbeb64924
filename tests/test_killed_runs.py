"""Runs that an older version trained until it was killed go on to their end.

The folders of `fixtures/killed_runs` were written by the version of November 2026 with
a checkpoint at every epoch and ended by `os._exit` after the fifth; `whole.npz` beside
them is what the same version made of the same runs undisturbed. Those of `mixed` were
trained as one padded stack, and go on side by side.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from birthmark.store import open_store
from birthmark.sweeps import reproduction
from birthmark.sweeps.pipeline import carry_out

KILLED = Path(__file__).parent / "fixtures" / "killed_runs"
KEYS = {
    "compiled": ["34220d454e79df4b"],
    "fast": ["878095f2a0e6c502"],
    "general": ["e179103d9de34775"],
    "mixed": ["7023422bdf576825", "d10e0217c14ca4e0"],
}
DEMO = [
    "aa5da0bc8f46b926",
    "46aa156aaff5aa11",
    "2272fb3f666ce0a0",
    "53e4f05d309592a4",
    "59765acbb94d2a0f",
    "45d8c921f16f9d8e",
]


@pytest.mark.parametrize("path", KEYS)
def test_a_run_killed_by_an_older_version_goes_on(path, tmp_path):
    with zipfile.ZipFile(KILLED / f"{path}.zip") as packed:
        packed.extractall(tmp_path)
    whole = np.load(tmp_path / "whole.npz")
    store = open_store(tmp_path)
    before = [store.records(key, distributions=False) for key in KEYS[path]]
    specs = tuple(store.spec(key) for key in KEYS[path])
    for _ in carry_out(specs, store):
        pass
    for key, begun in zip(KEYS[path], before, strict=True):
        assert store.is_done(key)
        assert store.manifest(key)["path"] == ("compiled" if path == "mixed" else path)
        loss = store.records(key)["train_loss"].transpose("replica", "step").to_numpy()
        # what was recorded stays, to the last bit
        kept = begun["train_loss"].transpose("replica", "step").to_numpy()
        np.testing.assert_array_equal(loss[:, : kept.shape[1]], kept)
        assert 1 < kept.shape[1] < loss.shape[1] == 13
        # and what follows is the same training; other processors round otherwise
        rtol = 1e-4 if path == "compiled" else 1e-9
        np.testing.assert_allclose(loss, whole[f"{key}.train_loss"], rtol=rtol)
        for name, layer in store.weights(key, 12).items():
            np.testing.assert_allclose(
                layer.w, whole[f"{key}.{name}.w"], rtol=1e-3, atol=rtol
            )


def test_the_demo_has_the_run_keys_it_always_had():
    assert [spec.run_key for spec in reproduction("demo")] == DEMO
