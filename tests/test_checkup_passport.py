"""The passport: written before the first step, held against the model after it."""

import hashlib
import json

import pytest
import torch
from torch import nn

from birthmark.checkup import (
    compare_passports,
    make_passport,
    read_passport,
    write_passport,
)
from birthmark.errors import StoreError


def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(40, 30), nn.LayerNorm(30), nn.Linear(30, 10))
    nn.init.xavier_uniform_(net[0].weight)
    return net


def test_a_passport_holds_law_numbers_and_the_bytes_hash(tmp_path):
    net = model()
    path = write_passport(make_passport(net), tmp_path / "start.json")
    table = json.loads(path.read_text())["tensors"]
    entry = table["0.weight"]
    assert entry["rules"][0] == "glorot_uniform"
    assert (entry["fan_in"], entry["fan_out"]) == (40, 30)
    assert entry["std"] == pytest.approx(float(net[0].weight.detach().std()), rel=1e-2)
    head = b"torch.float32 [30, 40] "
    bits = net[0].weight.detach().numpy().tobytes()
    assert entry["fingerprint"] == hashlib.sha256(head + bits).hexdigest()
    assert not compare_passports(read_passport(path), make_passport(net))


def test_what_changed_after_a_resume_is_named():
    net = model()
    before = make_passport(net)
    with torch.no_grad():
        net[0].weight.view(-1)[7].add_(1e-6)
        nn.init.normal_(net[2].weight)
    net[1] = nn.LayerNorm(30, dtype=torch.float64)
    net[2].bias = None
    net.append(nn.Linear(10, 2))
    changes = {c.name: c.what for c in compare_passports(before, make_passport(net))}
    assert changes == {
        "0.weight": "numbers",
        "1.weight": "dtype",
        "1.bias": "dtype",
        "2.weight": "numbers",
        "2.bias": "missing",
        "3.weight": "new",
        "3.bias": "new",
    }


def test_a_model_without_numbers_has_a_passport_of_shapes():
    with torch.device("meta"):
        empty = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 10))
    before = make_passport(empty)
    assert before["0.weight"].shape == (30, 40)
    assert before["0.weight"].fingerprint is None
    full = empty.to_empty(device="cpu")
    for layer in full:
        layer.reset_parameters()
    changes = compare_passports(before, make_passport(full))
    assert {c.what for c in changes} == {"materialized"}
    assert "torch_default" in changes[0].words


def test_each_rank_writes_its_own_shards(tmp_path):
    from torch import distributed
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'mesh'}", rank=0, world_size=1
    )
    try:
        net = model()
        plain = make_passport(net)
        mesh = init_device_mesh("cpu", (1,))
        sharded = distribute_tensor(net[0].weight.detach(), mesh, [Shard(0)])
        net[0].weight = nn.Parameter(sharded)
        entry = make_passport(net)["0.weight"]
    finally:
        distributed.destroy_process_group()
    assert "Shard" in entry.shard
    assert entry.fingerprint == plain["0.weight"].fingerprint
    assert entry.std == pytest.approx(plain["0.weight"].std)


def test_what_is_no_passport_is_refused_in_one_line(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"tensors": {}}')
    for one in (path, tmp_path / "missing.json"):
        with pytest.raises(StoreError) as refused:
            read_passport(one)
        assert "\n" not in str(refused.value)
