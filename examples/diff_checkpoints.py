"""Two checkpoints, a trajectory and three causal tests: python diff_checkpoints.py."""

import copy

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

import birthmark as bm

x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)


def evaluate(model: nn.Module) -> torch.Tensor:
    """The loss on all examples."""
    return nn.functional.cross_entropy(model(x), y)


torch.manual_seed(0)
model = nn.Sequential(
    *(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()),
    nn.Linear(128, 10),
)
start = copy.deepcopy(model.state_dict())
save_file(start, "step0.safetensors")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for step in range(1, 401):
    chosen = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
    optimizer.step()
    if step in (20, 400):
        save_file(model.state_dict(), f"step{step}.safetensors")

compared = bm.diff("step0.safetensors", "step400.safetensors")
print(compared)  # the same as `birthmark diff step0.safetensors step400.safetensors`
print(compared["2.weight"].readings["correlation"])  # beside its null models

files = ["step0.safetensors", "step20.safetensors", "step400.safetensors"]
bm.follow(files, store="runs", name="digits", fields={"lr": 0.1})

print(bm.rewind(model, start, evaluate))
print(bm.interpolate(model, start, evaluate, points=6))
