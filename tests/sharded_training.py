"""One process of a sharded or copied training that a tracker watches.

    python sharded_training.py RANK WORLD PORT KIND FOLDER [resume]

KIND is `fsdp`, `hsdp` (two copies of the shards), `ddp` or `plain`. Weights at each
recorded step are put together by torch itself, apart from what is tested.
"""

import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

import birthmark as bm
from birthmark.errors import WeightsError
from birthmark.measurements import MEASUREMENTS, extend_path

SCHEDULE = [1, 3, 6]
HALF = 4  # steps before the training is stopped


def make_model():
    # rows of 7, 3 and 1: uneven shards, and empty ones
    torch.manual_seed(0)
    layers = (nn.Linear(6, 7), nn.LayerNorm(7), nn.Linear(7, 3), nn.Linear(3, 1))
    return nn.Sequential(*layers)


def batch(step):
    draws = torch.Generator().manual_seed(step)
    return torch.randn(8, 6, generator=draws), torch.randn(8, 1, generator=draws)


def shard(model, kind, world):
    if kind in ("fsdp", "hsdp"):
        shape, names = ((world,), ("shard",))
        if kind == "hsdp":
            shape, names = (2, world // 2), ("copy", "shard")
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
        return fully_shard(model, mesh=mesh)
    return nn.parallel.DistributedDataParallel(model) if kind == "ddp" else model


def whole(model):
    own = model.module if hasattr(model, "module") else model
    named = {}
    for name, value in own.named_parameters():
        value = value.detach()
        full = value.full_tensor() if hasattr(value, "full_tensor") else value
        named[name] = full.double().clone()
    return named


def check_what_is_wrong(model, tracker, rank, world):
    """A NaN in one shard is known everywhere; parts of a sum are refused."""
    weight = model[0].weight
    with torch.no_grad():
        before = weight.to_local().clone()
        if rank == 0:
            weight.to_local()[0, 0] = torch.nan
    (found,) = [one for one in tracker.findings() if one.name == "nonfinite"]
    assert found.where == ("0.weight",), (rank, found)
    with torch.no_grad():
        weight.to_local().copy_(before)
    mesh = init_device_mesh("cpu", (world,))
    part = DTensor.from_local(torch.ones(3), mesh, [Partial()])
    with pytest.raises(WeightsError, match="parts of a sum"):
        bm.to_parameters({"w": part})


def check_extreme_sizes(world):
    """Shards of any size, also far apart, have the numbers of the whole tensors."""
    mesh = init_device_mesh("cpu", (world,))
    draws = torch.Generator().manual_seed(3)
    # the first shard has rows of zeros alone, the last one rows of sizes far apart
    rows = torch.tensor([0, 0, 0, 0, 1e-180, 1e-20, 1], dtype=torch.float64)[:, None]
    sizes = {"huge": 1e200, "tiny": 1e-200, "usual": 1.0, "denormal": 1e-310}
    units = {
        name: torch.full((7, 1), size, dtype=torch.float64)
        for name, size in sizes.items()
    }
    units |= {"huge rows": rows * 1e200, "tiny rows": rows * 1e-130}
    states = [{name: torch.zeros(7, 5).double() for name in units}]
    for _ in range(3):
        moves = {
            n: unit * torch.randn(7, 5, generator=draws) for n, unit in units.items()
        }
        states.append({name: w + moves[name] for name, w in states[-1].items()})

    def split(state):
        return {n: distribute_tensor(w, mesh, [Shard(0)]) for n, w in state.items()}

    found = []
    for spread in (split, dict):
        path = {}
        for before, after in pairwise(map(spread, states[1:])):
            path = extend_path(path, before, after)
        ends = spread(states[1]), spread(states[-1])
        found.append(bm.measure(*ends, path=path, kind="scalars"))
    shards, whole = found
    # the null of signs takes the deviation of another weight, here of the same shard
    summed = {n for n, one in MEASUREMENTS.items() if one.is_summed and n in whole}
    for name in summed - {"sign_flips_by_noise"}:
        np.testing.assert_allclose(shards[name], whole[name], 1e-12, 0, err_msg=name)
    assert bool((shards.distance > 0).all()) and bool(shards.cosine.notnull().all())


def main(rank, world, port, kind, folder, resume):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    model = shard(make_model(), kind, world)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    tracker = bm.Tracker(
        model, optimizer, store=folder / "runs", name=kind, schedule=SCHEDULE
    )
    kept = folder / f"state{rank}.pt"
    first = 0
    if resume:
        state = torch.load(kept, weights_only=False)
        with torch.no_grad():
            for value, before in zip(model.parameters(), state["model"], strict=True):
                local = value.to_local() if hasattr(value, "to_local") else value
                local.copy_(before)
        optimizer.load_state_dict(state["optimizer"])
        tracker.load_state_dict(state["tracker"])
        first = HALF
    states = {0: whole(model)}
    for step in range(first, 6):
        x, y = batch(step)
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
        states[step + 1] = whole(model)
        if step + 1 == HALF and not resume:
            locals_ = [
                (v.to_local() if hasattr(v, "to_local") else v).detach().clone()
                for v in model.parameters()
            ]
            state = {
                "model": locals_,
                "optimizer": optimizer.state_dict(),
                "tracker": tracker.state_dict(),
            }
            torch.save(state, kept)
            if "stop" in sys.argv:
                os._exit(0)
    if kind != "ddp" or rank == 0:
        tracker.summary()
        records = tracker.records
        torch.save(records.to_dict(), folder / f"records{rank}.pt")
        torch.save(states, folder / f"states{rank}.pt")
    if kind == "fsdp":
        check_what_is_wrong(model, tracker, rank, world)
        check_extreme_sizes(world)
    tracker.finish()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    rank, world, port, kind, folder, *rest = sys.argv[1:]
    main(int(rank), int(world), port, kind, Path(folder), "resume" in rest)
