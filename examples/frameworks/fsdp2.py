"""Sharded by FSDP2
================

A model sharded by ``fully_shard``, tracked in every process and gathered in none.
``python examples/frameworks/fsdp2.py`` starts two processes on this machine by gloo;
with ``torchrun --nproc-per-node 4 examples/frameworks/fsdp2.py`` it takes what that
gives.

Every process makes the tracker. Each sums up its own shards, sums are exchanged, and
process 0 writes the store. The numbers are those of the whole tensors.
"""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

import birthmark as bm

STEPS = 64


def train() -> None:
    """One process of the training."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)  # the same start everywhere
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    # after fully_shard, as the optimizer is
    tracker = bm.Tracker(model, optimizer, store="runs", name="fsdp2")
    draws = torch.Generator().manual_seed(dist.get_rank())
    for _ in range(STEPS):
        x = torch.randn(32, 64, generator=draws)
        loss = cross_entropy(model(x), x[:, :10].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss)
    summary = tracker.summary()  # in every process: it is measured together
    if dist.get_rank() == 0:
        print(summary)
    tracker.finish()
    dist.destroy_process_group()


def start(rank: int, world: int) -> None:
    """What `torchrun` says in the environment."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531"}
    train()


if __name__ == "__main__":
    if "RANK" in os.environ:
        train()
    else:
        mp.start_processes(start, args=(2,), nprocs=2, start_method="spawn")
