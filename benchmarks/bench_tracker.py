"""What a tracker costs: a recorded step beside a training step, and memory.

A transformer of GPT-2's shape (124 million parameters, the head tied to the embedding)
is trained with AdamW on random tokens. Steps with a record, without one, and without
a tracker take turns, so that all meet the same machine; the share is that of the
default schedule over so many steps.

    python benchmarks/bench_tracker.py
    python benchmarks/bench_tracker.py --ask attribution
    python benchmarks/bench_tracker.py --ask probe
    python benchmarks/bench_tracker.py --layers 2 --width 128 --vocabulary 500
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu

import birthmark as bm
from birthmark.tracking import ATTRIBUTION, LIGHT, LogSpaced


class Block(nn.Module):
    """Attention and a dense layer four times as wide, each behind a norm."""

    def __init__(self, width: int) -> None:
        """Heads are 64 wide."""
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, max(1, width // 64), batch_first=True)
        self.c_fc, self.c_proj = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what both say."""
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.c_proj(gelu(self.c_fc(self.ln_2(x))))


class Transformer(nn.Module):
    """Token and place embeddings, blocks, a norm, a tied head."""

    def __init__(self, vocabulary: int, width: int, layers: int, length: int) -> None:
        """As GPT-2."""
        super().__init__()
        self.wte, self.wpe = (
            nn.Embedding(vocabulary, width),
            nn.Embedding(length, width),
        )
        self.h = nn.ModuleList(Block(width) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores of the next token."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.wte(tokens) + self.wpe(places)
        for block in self.h:
            x = block(x)
        return nn.functional.linear(self.ln_f(x), self.wte.weight)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        *(("vocabulary", 50257), ("width", 768), ("layers", 12)),
        *(("batch", 4), ("length", 256), ("rounds", 5)),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keep", default="device")
    parser.add_argument("--ask", choices=("attribution", "probe"))
    asked = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = (asked.vocabulary, asked.width, asked.layers, asked.length)
    model = Transformer(*shape).to(device)
    size = sum(value.numel() for value in model.parameters())
    watched, plain = (torch.optim.AdamW(model.parameters(), lr=1e-4) for _ in range(2))

    def draw() -> torch.Tensor:
        shape = (asked.batch, asked.length + 1)
        return torch.randint(asked.vocabulary, shape).to(device)

    def loss_on(tokens: torch.Tensor) -> torch.Tensor:
        scores = model(tokens[:, :-1])
        return cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())

    def step(optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss_on(draw()).backward()
        optimizer.step()

    step(plain)
    fixed = draw()
    tracker = bm.Tracker(
        model,
        watched,
        keep=asked.keep,
        schedule=2,
        measurements=(*LIGHT, *ATTRIBUTION) if asked.ask == "attribution" else LIGHT,
        probe=(lambda _: loss_on(fixed)) if asked.ask == "probe" else None,
    )
    first = seconds_of(tracker.begin)
    for _ in range(8):  # the first powers of two are recorded whatever the schedule
        step(watched)
    turns: dict[str, list[float]] = {"plain": [], "watched": [], "recorded": []}
    for _ in range(asked.rounds):
        turns["plain"].append(seconds_of(lambda: step(plain)))
        turns["watched"].append(seconds_of(lambda: step(watched)))
        turns["recorded"].append(seconds_of(lambda: step(watched)))
    per_step, between, recorded = map(statistics.median, turns.values())
    print(
        f"{size:,} parameters on {device}, torch {torch.__version__}, "
        f"start {first:.2f} s; medians of {asked.rounds}:"
    )
    print(
        f"step {per_step:.3f} s, step between records {between:.3f} s, "
        f"record {recorded - between:.3f} s"
    )
    each = max(0.0, between - per_step)
    for count in (1_000, 10_000, 100_000):
        due = sum(LogSpaced().due(number) is not None for number in range(count + 1))
        cost = first + due * (recorded - between) + count * each
        share = 100 * cost / (count * per_step)
        print(f"{count:>7,} steps: {due} records, {share:.2f} % of training time")


def seconds_of(function: Callable[[], None]) -> float:
    """Of one call: of all threads on a CPU, so that a busy machine counts less."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        started = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - started
    started = time.process_time()
    function()
    return time.process_time() - started


if __name__ == "__main__":
    main()
