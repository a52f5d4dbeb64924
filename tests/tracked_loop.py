"""A user's own loop with a tracker, in a process that may be killed: see the tests."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import birthmark as bm

STEPS, SAVED, KILLED = 40, 19, 33
SCHEDULE = [1, 2, 4, 8, 16, 24, 32, 40]


def make_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(12, 20), nn.ReLU(), nn.LayerNorm(20), nn.Linear(20, 5)
    )


def train(folder: Path, *, kill: bool = False, resume: bool = False) -> bm.Tracker:
    """To the end, or to a SIGKILL; from the beginning, or from the checkpoint."""
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    tracker = bm.Tracker(
        model, optimizer, store=folder / "runs", name="mine", schedule=SCHEDULE
    )
    first = 0
    if resume:
        saved = torch.load(folder / "checkpoint.pt", weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        tracker.load_state_dict(saved["tracker"])
        first = saved["step"]
    for step in range(first, STEPS):
        draws = torch.Generator().manual_seed(step)
        x = torch.randn(16, 12, generator=draws)
        y = torch.randint(5, (16,), generator=draws)
        loss = cross_entropy(model(x), y)
        tracker.log(loss=loss, epoch=step // 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 == SAVED:
            states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            states |= {"tracker": tracker.state_dict(), "step": step + 1}
            torch.save(states, folder / "checkpoint.pt")
        if kill and step + 1 == KILLED:
            tracker.flush()  # records beyond the checkpoint, which must come again
            os.kill(os.getpid(), signal.SIGKILL)
    tracker.finish()
    return tracker


if __name__ == "__main__":
    train(Path(sys.argv[1]), kill=True)
