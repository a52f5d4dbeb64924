"""The passport: written before the first step, held against the model after it."""

import hashlib
import json

import pytest
import torch
from torch import multiprocessing, nn

from birthmark.checkup import (
    compare_passports,
    make_passport,
    read_passport,
    write_passport,
)
from birthmark.errors import SpecError, StoreError


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


def changes_of(before, after):
    return {c.name: (c.what, c.words) for c in compare_passports(before, after)}


def with_statistics():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 12), nn.BatchNorm1d(12), nn.Linear(12, 12))


def test_what_a_tensor_has_become_is_said_by_its_fingerprints():
    before = make_passport(with_statistics())
    swapped = with_statistics()
    swapped[0], swapped[2] = swapped[2], swapped[0]
    words = {words for _, words in changes_of(before, make_passport(swapped)).values()}
    assert "has the numbers that 2.weight had" in words
    renamed = changes_of(before, make_passport(nn.ModuleDict({"m": with_statistics()})))
    assert {what for what, _ in renamed.values()} == {"renamed"}
    assert "called m.1.running_var now" in renamed["1.running_var"][1]
    for dtype in (torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        low = changes_of(before, make_passport(with_statistics().to(dtype)))
        assert low["0.weight"] == (
            "dtype", f"was float32, is {name}: the same numbers, rounded"
        )  # fmt: skip
        back = changes_of(before, make_passport(with_statistics().to(dtype).float()))
        rounded = ("numbers", f"the same numbers, rounded to {name} in between")
        assert back["0.weight"] == rounded
        assert "1.weight" not in back  # ones are ones
    net = with_statistics()
    with torch.no_grad():
        net[2].weight.view(torch.int32)[3, 5] ^= 1
    assert (
        "less than bfloat16 tells"
        in changes_of(before, make_passport(net))["2.weight"][1]
    )
    net = with_statistics().train()
    net(torch.randn(8, 12))
    net[0].weight.requires_grad_(False)
    found = {
        name: what for name, (what, _) in changes_of(before, make_passport(net)).items()
    }
    numbers = dict.fromkeys(
        ("1.running_mean", "1.running_var", "1.num_batches_tracked"), "numbers"
    )
    assert found == {"0.weight": "trainable", **numbers}


def test_tying_and_untying_are_told_from_losing_a_tensor():
    def tied(tie):
        torch.manual_seed(0)
        net = nn.ModuleDict({"e": nn.Embedding(9, 4), "h": nn.Linear(4, 9, bias=False)})
        if tie:
            net.h.weight = net.e.weight
        return net

    together, apart = make_passport(tied(True)), make_passport(tied(False))
    assert together["e.weight"].tied == ("h.weight",)
    assert changes_of(apart, together)["h.weight"][0] == "tied"
    assert changes_of(together, apart)["h.weight"][0] == "untied"
    copied = tied(True)
    copied.h.weight = nn.Parameter(copied.e.weight.detach().clone())
    assert "same numbers" in changes_of(together, make_passport(copied))["h.weight"][1]


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


def shard_on_two_ranks(rank, folder):
    """Each rank: passports of its shards and of the whole, and what differs."""
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'mesh'}", rank=rank, world_size=2
    )
    net = model()
    plain = make_passport(net)
    fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
    write_passport(make_passport(net), folder / f"rank{rank}.json")
    distributed.barrier()
    own, other = (read_passport(folder / f"rank{r}.json") for r in (rank, 1 - rank))
    found = {
        "own": changes_of(own, make_passport(net)),
        "other": changes_of(other, make_passport(net)),
        "plain": changes_of(plain, make_passport(net)),
        "whole": changes_of(plain, make_passport(net, whole=True)),
    }
    with torch.no_grad():
        net[0].weight.to_local().mul_(2 if rank else 1)  # on one rank alone
    found["changed"] = changes_of(plain, make_passport(net, whole=True))
    (folder / f"found{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_each_rank_has_a_passport_of_its_shards_and_all_one_of_the_whole(tmp_path):
    multiprocessing.spawn(shard_on_two_ranks, (tmp_path,), nprocs=2)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"found{rank}.json").read_text())
        assert not found["own"] and not found["whole"]
        assert {what for what, _ in found["other"].values()} == {"shard"}
        assert f"place [{rank}] in a mesh of [2]" in found["other"]["0.weight"][1]
        assert "was whole" in found["plain"]["0.weight"][1]
        assert list(found["changed"]) == ["0.weight"]


def test_what_is_no_passport_is_refused_in_one_line(tmp_path):
    path = tmp_path / "other.json"
    good = write_passport(make_passport(model()), tmp_path / "good.json").read_text()
    table = json.loads(good)

    def with_entry(**changes):
        entry = {**table["tensors"]["0.weight"], **changes}
        return json.dumps({**table, "tensors": {"0.weight": entry}})

    texts = ["", "[1]", '{"tensors": {}}', "[" * 100_000, good[:-5], good[:2000]]
    texts += [with_entry(law=None), with_entry(shape=["a"]), with_entry(shape="12")]
    texts += [with_entry(fingerprint="ab"), with_entry(fingerprint=3)]
    for text in texts:
        path.write_text(text)
        with pytest.raises(StoreError, match="no passport of birthmark") as refused:
            read_passport(path)
        assert "\n" not in str(refused.value)
    path.write_text(json.dumps({**table, "birthmark_passport": 9}))
    with pytest.raises(StoreError, match="format 9, and this birthmark reads 1"):
        read_passport(path)
    with pytest.raises(StoreError, match="cannot read"):
        read_passport(tmp_path / "missing.json")
    with pytest.raises(SpecError, match="0.weight has no shape yet"):
        make_passport(nn.Sequential(nn.LazyLinear(3)))


def test_numbers_that_json_has_not_are_left_out(tmp_path):
    net = model()
    net[0].bias.data[0] = float("inf")
    before = make_passport(net)
    path = write_passport(before, tmp_path / "start.json")
    assert "Infinity" not in path.read_text() and "NaN" not in path.read_text()
    assert not compare_passports(read_passport(path), before)
