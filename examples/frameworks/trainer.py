"""Transformers
============

A callback for ``Trainer``; a resume keeps the true start.
``pip install transformers accelerate``.
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from birthmark.integrations.transformers import TrackerCallback


def main(store: str = "runs", out: str = "out", steps: int = 40) -> None:
    """A tiny language model that learns to count."""
    config = GPT2Config(vocab_size=32, n_positions=16, n_embd=32, n_layer=2, n_head=2)
    rows = (torch.arange(16)[None] + torch.arange(64)[:, None]) % 32
    data = [{"input_ids": row, "labels": row} for row in rows]
    watch = TrackerCallback(store=store, name="counting")
    trainer = Trainer(
        GPT2LMHeadModel(config),
        TrainingArguments(out, max_steps=steps, report_to=[], logging_steps=5),
        train_dataset=data,
        callbacks=[watch],
    )
    trainer.train()
    print(watch.summary())


if __name__ == "__main__":
    main()
