"""Sharded and copied models in several processes: what is said is that of the whole."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import birthmark as bm

SCRIPT = Path(__file__).parent / "sharded_training.py"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def train(folder, kind, world, *options):
    port = free_port()
    folder.mkdir(exist_ok=True)
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), str(world), port, kind, folder]
            + list(options),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for one in running:
        error = one.communicate(timeout=400)[1]
        assert one.returncode == 0, error


def read(folder, rank=0):
    found = torch.load(folder / f"records{rank}.pt", weights_only=False)
    states = torch.load(folder / f"states{rank}.pt", weights_only=False)
    return xr.Dataset.from_dict(found).isel(replica=0), states


def check(records, states):
    """Against plain float64 of the tensors that torch put together."""
    moved = {name: 0.0 for name in states[0]}
    for before, after in ((0, 1), (1, 3), (3, 6)):
        for name, w0 in states[0].items():
            w, at = states[after][name], records.sel(step=after, parameter=name)
            d = w - w0
            moved[name] += float((w - states[before][name]).norm())
            expected = {
                "distance": float(d.norm()),
                "path_length": moved[name],
                "deviation_mean": float(d.mean()),
                "deviation_std": float(d.std(correction=0)),
                "deviation_mean_abs": float(d.abs().mean()),
                "deviation_max": float(d.abs().max()),
                "cosine": float((w * w0).sum() / w.norm() / w0.norm()),
                "changed_share": float((d != 0).double().mean()),
            }
            if d.numel() > 2:
                z = (d - d.mean()) / d.std(correction=0)
                expected["deviation_kurtosis"] = float((z**4).mean()) - 3
            for one, value in expected.items():
                np.testing.assert_allclose(
                    at[one].item(),
                    value,
                    rtol=1e-7,
                    atol=1e-12,
                    err_msg=f"{name} {one}",
                )
            assert int(at["size"]) == w.numel()
            assert str(at["shape"].item()) == "x".join(map(str, w.shape))
            np.testing.assert_allclose(at["norm"].item(), float(w0.norm()), rtol=1e-12)


def test_shards_have_the_numbers_of_the_whole_tensors(tmp_path):
    """Two processes; rows of 7 and 3 are split unevenly, the single row not at all."""
    train(tmp_path, "fsdp", 2)
    records, states = read(tmp_path)
    check(records, states)
    assert records.identical(read(tmp_path, 1)[0])  # both know the same, bit for bit
    (key,) = bm.open_store(tmp_path / "runs").runs()["run_key"]
    stored = bm.open_store(tmp_path / "runs").records(key, by="parameter")
    np.testing.assert_array_equal(stored["distance"].isel(replica=0), records.distance)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "world"), [("fsdp", 3), ("hsdp", 4), ("ddp", 2)])
def test_however_a_model_is_spread_its_numbers_are_those_of_the_whole(
    tmp_path, kind, world
):
    train(tmp_path, kind, world)
    check(*read(tmp_path))
    assert len(bm.open_store(tmp_path / "runs").runs()) == 1


@pytest.mark.slow
def test_a_sharded_training_goes_on_with_its_true_start(tmp_path):
    train(tmp_path / "whole", "fsdp", 2)
    train(tmp_path / "cut", "fsdp", 2, "stop")
    train(tmp_path / "cut", "fsdp", 2, "resume")
    found = []
    for folder in ("whole", "cut"):
        store = bm.open_store(tmp_path / folder / "runs")
        (key,) = store.runs()["run_key"]
        found.append(store.records(key, by="parameter"))
    assert found[0].identical(found[1])
