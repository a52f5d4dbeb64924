"""Adapters
========

The weight that really acts, and whether the adapter has trained.
``pip install peft``.
"""

import peft
import torch
from torch import nn

import birthmark as bm
from birthmark.integrations.peft import describe_adapters, effective_weights


def main(store: str = "runs", steps: int = 50) -> None:
    """Adapt one layer of a small network to a shifted task."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    config = peft.LoraConfig(r=2, target_modules=["0", "2"])
    model = peft.get_peft_model(net, config)
    for adapter in describe_adapters(model):
        print(adapter)  # B is still zero: it changes nothing

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    tracker = bm.Tracker(
        lambda: effective_weights(model), optimizer, store=store, name="lora"
    )
    x = torch.randn(256, 16)
    y = x[:, :4].argmax(1)
    for _ in range(steps):
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    print(tracker.summary())
    for adapter in describe_adapters(model):
        print(adapter)
    tracker.finish()


if __name__ == "__main__":
    main()
