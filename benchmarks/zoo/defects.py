"""Planted defects: healthy small architectures, and what is broken in each.

A defect is found when a finding of one of the right names, a warning or an error, names
the tensor at fault. What else is said of it is counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from images import images
from torch import Tensor, nn
from torch.nn import functional


def he(model: nn.Module) -> nn.Module:
    """He's normal law and zero biases, for what is dense or convolutional."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def vectors(count: int = 64, size: int = 64) -> tuple[Tensor, Tensor]:
    """Standard normal inputs of ten classes."""
    return torch.randn(count, size), torch.arange(count) % 10


def small_head(model: nn.Module, head: nn.Linear) -> nn.Module:
    """An output layer that starts near zero."""
    nn.init.normal_(head.weight, 0, 0.02)
    return model


def dense() -> tuple[nn.Module, Any]:
    """Six ReLU layers by He's rule."""
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    head = nn.Linear(64, 10)
    return small_head(he(nn.Sequential(*layers, head)), head), vectors()


def tanh() -> tuple[nn.Module, Any]:
    """Six tanh layers by LeCun's rule."""
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(64, 64), nn.Tanh()]
        nn.init.normal_(layers[-2].weight, 0, 1 / 8)
        nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers, nn.Linear(64, 10)), vectors()


class Residual(nn.Module):
    """Two convolutions with batch norms, added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(x + self.norm2(self.conv2(y)))


def residual() -> tuple[nn.Module, Any]:
    """Five residual blocks on images."""
    blocks = [Residual(24) for _ in range(5)]
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(nn.Conv2d(3, 24, 3), *blocks, *pool, nn.Linear(24, 10))
    he(model)
    return small_head(model, model[-1]), (images(32, 16), torch.arange(32) % 10)


class Attention(nn.Module):
    """Causal attention and a two-layer perceptron, each behind a layer norm."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for layer in (self.qkv, self.up, self.proj, self.down):
            nn.init.normal_(layer.weight, 0, 0.08)
            nn.init.zeros_(layer.bias)
        for layer in (self.proj, self.down):
            nn.init.normal_(layer.weight, 0, 0.08 / math.sqrt(2 * depth))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (one.unflatten(-1, (4, -1)).transpose(1, 2) for one in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Language(nn.Module):
    """A small language model with learned positions."""

    def __init__(self, width: int = 64, depth: int = 5, vocabulary: int = 61):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(32, width)
        self.blocks = nn.ModuleList(Attention(width, depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for table in (self.tokens, self.positions, self.head):
            nn.init.normal_(table.weight, 0, 0.02)

    def forward(self, ids: Tensor) -> Tensor:  # noqa: D102
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def language() -> tuple[nn.Module, Any]:
    """A language model of five blocks, with the next token as target."""
    ids = torch.randint(0, 61, (12, 25))
    return Language(), (ids[:, :-1], ids[:, 1:])


class Recurrent(nn.Module):
    """A recurrent layer over a sequence, and a head on its last state."""

    def __init__(self, kind: type[nn.RNNBase]):
        super().__init__()
        self.cell = kind(16, 48, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.head(self.cell(x)[0][:, -1])


def recurrent() -> tuple[nn.Module, Any]:
    """A plain recurrent network on twenty steps."""
    return Recurrent(nn.RNN), (torch.randn(48, 20, 16), torch.arange(48) % 10)


def memory() -> tuple[nn.Module, Any]:
    """An LSTM on five steps."""
    return Recurrent(nn.LSTM), (torch.randn(48, 5, 16), torch.arange(48) % 10)


class Experts(nn.Module):
    """Stacked experts behind a soft router, in raw parameters."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.router = nn.Linear(width, count, bias=False)
        self.w1 = nn.Parameter(torch.randn(count, width, 2 * width) / width**0.5)
        self.w2 = nn.Parameter(torch.randn(count, 2 * width, width) / width**0.5 / 4)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.norm(x)
        share = self.router(y).softmax(dim=-1)
        inner = functional.silu(torch.einsum("bi,eio->beo", y, self.w1))
        return x + torch.einsum("beo,eoi,be->bi", inner, self.w2, share)


def experts() -> tuple[nn.Module, Any]:
    """Four blocks of four experts."""
    blocks = [Experts(32, 4) for _ in range(4)]
    model = nn.Sequential(nn.Linear(64, 32), *blocks, nn.Linear(32, 10))
    return small_head(model, model[-1]), vectors()


ARCHITECTURES: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "dense ReLU": dense,
    "dense tanh": tanh,
    "residual convolutions": residual,
    "language model": language,
    "recurrent": recurrent,
    "LSTM": memory,
    "experts": experts,
}
# a matrix inside, one of its siblings (or none), and a matrix that ends
_INSIDE: dict[str, tuple[str, str, str]] = {
    "dense ReLU": ("4.weight", "6.weight", "12.weight"),
    "dense tanh": ("4.weight", "6.weight", "12.weight"),
    "residual convolutions": ("3.conv2.weight", "4.conv2.weight", "8.weight"),
    "language model": ("blocks.2.up.weight", "blocks.3.up.weight", "head.weight"),
    "recurrent": ("cell.weight_hh_l0", "", "head.weight"),
    "LSTM": ("cell.weight_hh_l0", "", "head.weight"),
    "experts": ("2.w1", "3.w1", "5.weight"),
}


@dataclass(frozen=True)
class Defect:
    """What is broken, and what a check-up should say."""

    architecture: str
    name: str
    spoil: Callable[[nn.Module, Any], tuple[nn.Module, Any]]
    causes: frozenset[str]  # names of findings that say the right cause
    tensors: frozenset[str] = frozenset()  # of which one must be named; none: any
    options: Callable[[nn.Module], dict[str, Any]] = field(default=lambda _: {})


def _spoiling(name: str, function: Callable[[Tensor], Any]) -> Any:
    def spoil(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        with torch.no_grad():
            function(model.get_parameter(name))
        return model, batch

    return spoil


def _bits(w: Tensor) -> None:
    bits = torch.randint(0, 2**30, w.shape).int().view(torch.float32)
    w.copy_(bits)


def _leftover(w: Tensor) -> None:
    """Pages of zeros and pieces of other tensors, all of them finite and moderate."""
    flat = torch.randn(w.numel()) * torch.exp(2 * torch.randn(w.numel()))
    flat[: len(flat) // 3] = 0
    w.copy_(flat.reshape(w.shape))


def _low_rank(w: Tensor) -> None:
    matrix = w.reshape(-1, w.shape[-1]) if w.ndim == 3 else w.flatten(1)
    left, right = torch.randn(len(matrix), 3), torch.randn(3, matrix.shape[1])
    scale = matrix.std() / math.sqrt(3)
    w.copy_((left @ right * scale).reshape(w.shape))


def _copy(target: str, source: str) -> Any:
    def spoil(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        with torch.no_grad():
            model.get_parameter(target).copy_(model.get_parameter(source))
        return model, batch

    return spoil


def _generic(architecture: str) -> list[Defect]:
    """What can be broken in any architecture."""
    inside, sibling, end = _INSIDE[architecture]
    is_stack = inside[0].isdigit()
    forgotten = "0.forgotten.weight" if is_stack else "forgotten.weight"

    def defect(name: str, spoil: Any, causes: set[str], at: str, **more: Any) -> Defect:
        return Defect(
            architecture, name, spoil, frozenset(causes), frozenset({at}), **more
        )

    def forgetful(model: nn.Module) -> dict[str, Any]:
        held = [p for n, p in model.named_parameters() if n != inside]
        return {"optimizer": torch.optim.Adam(held)}

    def eager(model: nn.Module) -> dict[str, Any]:
        return {"optimizer": torch.optim.Adam(model.parameters(), lr=3.0)}

    def plain(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        return model, batch

    def unused(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        if isinstance(model, nn.Sequential):
            model[0].forgotten = nn.Linear(80, 64)
        else:
            model.forgotten = nn.Linear(80, 64)
        return model, batch

    found = [
        defect(
            "one NaN",
            _spoiling(inside, lambda w: w.view(-1)[3].fill_(math.nan)),
            {"nonfinite_weights"},
            inside,
        ),
        defect("bits", _spoiling(inside, _bits), {"uninitialized_memory"}, inside),
        defect(
            "leftover memory",
            _spoiling(inside, _leftover),
            {"uninitialized_memory"},
            inside,
        ),
        defect(
            "constant matrix",
            _spoiling(inside, lambda w: w.fill_(0.02)),
            {"duplicate_units", "copied_units"},
            inside,
        ),
        defect("rank 3", _spoiling(inside, _low_rank), {"lost_rank"}, inside),
        defect(
            "not in the optimizer",
            plain,
            {"outside_the_optimizer"},
            inside,
            options=forgetful,
        ),
        defect("lr of 3", plain, {"large_update"}, inside, options=eager),
        defect("unused layer", unused, {"unused_parameters"}, forgotten),
        defect(
            "head times 300",
            _spoiling(end, lambda w: w.mul_(300)),
            {"high_initial_loss"},
            end,
        ),
    ]
    if sibling:
        found += [
            defect(
                "one sibling times 30",
                _spoiling(inside, lambda w: w.mul_(30)),
                {"unlike_siblings", "oversized_weights", "hidden_scale"},
                inside,
            ),
            defect("copied draw", _copy(inside, sibling), {"shared_draw"}, inside),
        ]
    return found


def _with(**settings: Any) -> Callable[[nn.Module], dict[str, Any]]:
    return lambda _: settings


def _special() -> list[Defect]:
    """What only one kind of model can have."""

    def make(
        architecture: str,
        name: str,
        spoil: Any,
        causes: set[str],
        *at: str,
        **more: Any,
    ) -> Defect:
        return Defect(
            architecture, name, spoil, frozenset(causes), frozenset(at), **more
        )

    def stack(*more: nn.Module) -> Any:
        return lambda model, batch: (nn.Sequential(*model, *more), batch)

    def linear(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        kept = [one for i, one in enumerate(model) if i not in (3, 5)]
        return nn.Sequential(*kept), batch

    def deep(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        layers: list[nn.Module] = []
        for _ in range(100):
            layers += [nn.Linear(64, 64), nn.Tanh()]
        return he(nn.Sequential(*layers, nn.Linear(64, 10))), batch

    def queries(model: Language, batch: Any) -> tuple[nn.Module, Any]:
        with torch.no_grad():
            for block in model.blocks:
                block.qkv.weight[:128].mul_(12)
        return model, batch

    def statistics(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        model[2].norm1.running_var.fill_(1e7)
        return model.eval(), batch

    def equal(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        with torch.no_grad():
            for name in ("w1", "w2"):
                w = model[2].get_parameter(name)
                w.copy_(w[:1].expand_as(w))
        return model, batch

    def two_zeros(first: str, second: str) -> Any:
        def spoil(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
            with torch.no_grad():
                for name in (first, second):
                    model.get_parameter(name).zero_()
            return model, batch

        return spoil

    def targets(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        return model, (batch[0], 3e4 + 1e3 * torch.randn(len(batch[0]), 10))

    def one_class(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        return model, (batch[0], torch.zeros_like(batch[1]))

    def binary(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        return nn.Sequential(*model, nn.Sigmoid()), (
            batch[0],
            torch.randint(0, 2, (len(batch[0]), 10)).float(),
        )

    def bits(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        return model, (batch[0], torch.randint(0, 2, (len(batch[0]), 10)).float())

    def squeezed(o: Tensor, y: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(o.sigmoid(), y)

    def softened(model: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        return functional.cross_entropy(model(x).softmax(-1).flatten(0, -2),
                                        y.flatten())  # fmt: skip

    def same(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
        return model, batch

    def clipped(p: Tensor, y: Tensor) -> Tensor:
        p = p.clamp(1e-7, 1 - 1e-7)
        return -p.gather(1, y[:, None]).log().mean()

    bce = _with(loss="binary_cross_entropy")
    return [
        make("dense ReLU", "softmax twice", stack(nn.Softmax(-1)), {"double_softmax"}),
        make("dense tanh", "softmax twice", stack(nn.Softmax(-1)), {"double_softmax"}),
        make("dense ReLU", "sigmoid before logits", binary, {"sigmoid_before_logits"},
             options=bce),
        make("dense ReLU", "clipped loss", stack(nn.Softmax(-1)), {"abandoning_loss"},
             options=_with(loss=clipped)),
        make("dense ReLU", "targets of 30,000", targets, {"unusual_targets"}),
        make("dense tanh", "targets of 30,000", targets, {"unusual_targets"}),
        make("dense ReLU", "one class", one_class, {"one_class"}),
        make("residual convolutions", "one class", one_class, {"one_class"}),
        make("dense ReLU", "inputs of 255",
             lambda m, b: (m, (b[0].abs() * 100, b[1])), {"unusual_inputs"}),
        make("residual convolutions", "equal images",
             lambda m, b: (m, (b[0][:1].expand_as(b[0]), b[1])), {"equal_inputs"}),
        make("dense ReLU", "dead layer", _spoiling("4.bias", lambda b: b.fill_(-60)),
             {"dead_units"}, "4"),
        make("dense ReLU", "dead third",
             _spoiling("4.bias", lambda b: b[:20].fill_(-60)), {"dead_units"}, "4"),
        make("residual convolutions", "dead channels",
             _spoiling("2.norm1.bias", lambda b: b[:10].fill_(-20)),
             {"dead_units"}, "2.norm1"),
        make("dense ReLU", "activations missing", linear, {"linear_chain"},
             "2.weight"),
        make("dense ReLU", "two zero layers", two_zeros("4.weight", "6.weight"),
             {"no_gradient"}, "4.weight"),
        make("dense tanh", "two zero layers", two_zeros("4.weight", "6.weight"),
             {"no_gradient"}, "4.weight"),
        make("language model", "two zero layers",
             two_zeros("blocks.1.up.weight", "blocks.1.down.weight"),
             {"no_gradient"}, "blocks.1.up.weight"),
        make("experts", "two zero layers", two_zeros("2.w1", "2.w2"),
             {"no_gradient"}, "2.w1"),
        make("dense tanh", "a hundred layers by He", deep,
             {"gradient_explodes", "saturated_units", "inputs_collapse"}),
        make("language model", "one-hot attention", queries, {"one_hot_attention"},
             "blocks.2.qkv.weight"),
        make("language model", "tokens far above positions",
             _spoiling("tokens.weight", lambda w: w.normal_()), {"unequal_sum"},
             "tokens.weight"),
        make("language model", "one projection not scaled",
             _spoiling("blocks.2.proj.weight", lambda w: w.normal_(0, 0.08)),
             {"unlike_siblings"}, "blocks.2.proj.weight"),
        make("residual convolutions", "statistics of other data", statistics,
             {"running_statistics"}, "2.norm1"),
        make("residual convolutions", "scale hidden by a norm",
             _spoiling("2.conv1.weight", lambda w: w.mul_(100)),
             {"hidden_scale", "unlike_siblings"}, "2.conv1.weight"),
        make("residual convolutions", "scale lost before a norm",
             _spoiling("2.conv1.weight", lambda w: w.mul_(1e-5)),
             {"hidden_scale", "unlike_siblings"}, "2.conv1.weight"),
        make("recurrent", "radius 8",
             _spoiling("cell.weight_hh_l0", lambda w: w.normal_(0, 8 / 48**0.5)),
             {"recurrent_radius"}, "cell.weight_hh_l0"),
        make("LSTM", "radius 8",
             _spoiling("cell.weight_hh_l0", lambda w: w.normal_(0, 8 / 48**0.5)),
             {"recurrent_radius"}, "cell.weight_hh_l0"),
        make("LSTM", "closed forget gates",
             _spoiling("cell.bias_ih_l0", lambda b: b[48:96].fill_(-4)),
             {"short_memory"}, "cell.bias_l0"),
        make("dense tanh", "sigmoid inside the loss", bits,
             {"sigmoid_before_logits"}, "12.weight", options=_with(loss=squeezed)),
        make("experts", "sigmoid inside the loss", bits,
             {"sigmoid_before_logits"}, "5.weight", options=_with(loss=squeezed)),
        make("language model", "softmax inside the objective", same,
             {"double_softmax"}, "head.weight", options=_with(objective=softened)),
        make("residual convolutions", "likelihood of logits", same,
             {"wrong_outputs"}, "8.weight", options=_with(loss="nll")),
        make("LSTM", "likelihood of logits", same,
             {"wrong_outputs"}, "head.weight", options=_with(loss="nll")),
        make("language model", "positions far above tokens",
             _spoiling("positions.weight", lambda w: w.normal_(0, 5)),
             {"unequal_sum"}, "positions.weight"),
        make("experts", "equal experts", equal, {"equal_experts"}, "2.w1"),
    ]  # fmt: skip


def all_defects() -> list[Defect]:
    """Generic ones in each architecture, and special ones."""
    generic = [one for name in ARCHITECTURES for one in _generic(name)]
    return [*generic, *_special()]
