"""Residual networks that start as the identity: branches scaled, or ended by zero.

Branches are named by a pattern over names of submodules, as `blocks.*.branch` or
`layer?.*`: the module that holds the layers of one branch. What else it holds, as a
projection of the shortcut, is left out by `shortcuts`.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from birthmark.errors import SpecError
from birthmark.network.initializations.observing import LAYERS
from birthmark.network.initializations.slots import draw_module_

_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.RMSNorm,
)


class ScaledBranch(nn.Module):
    """A branch times a scalar that is trained: alpha F(x).

    Attributes:
        branch: The module that was there before.
        alpha: The scalar, shape [].
    """

    def __init__(self, branch: nn.Module, alpha: float) -> None:
        super().__init__()
        self.branch = branch
        first = next(branch.parameters(), None)
        self.alpha = nn.Parameter(
            torch.tensor(alpha, dtype=None if first is None else first.dtype).to(
                "cpu" if first is None else first.device
            )
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        """The branch's output, scaled."""
        return self.alpha * self.branch(*inputs)  # type: ignore[no-any-return]


class FixupLayer(nn.Module):
    """A layer with trained scalars around it: scale F(x + before) + after.

    Attributes:
        layer: The layer that was there before.
        before: Scalar bias of its input, shape [].
        after: Scalar bias of its output, so before the next activation.
        scale: The multiplier of the branch, where the layer ends one; else None.
    """

    scale: nn.Parameter | None

    def __init__(self, layer: nn.Module, *, ends_branch: bool) -> None:
        super().__init__()
        self.layer = layer
        weight = next(layer.parameters())
        self.before = nn.Parameter(weight.new_zeros(()))
        self.after = nn.Parameter(weight.new_zeros(()))
        self.register_parameter(
            "scale", nn.Parameter(weight.new_ones(())) if ends_branch else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output between its scalars."""
        out: Tensor = self.layer(x + self.before)
        return (out if self.scale is None else self.scale * out) + self.after


def scale_branches_(
    module: nn.Module, branches: str, *, alpha: float = 0.0
) -> list[str]:
    """SkipInit (2002.10444), ReZero (2003.04887): a trained scalar behind each branch.

    x + alpha F(x) with alpha = 0 at the start is the identity, whatever the depth (De &
    Smith instead of batch norm, Bachlechner et al. instead of layer norm). alpha =
    1/sqrt(number of branches) keeps the variance of the sum in bounds (2310.02244).

    Args:
        module: Changed in place: each branch F becomes a `ScaledBranch`, whose module
            computes F alone, without the sum.
        branches: Pattern of names.
        alpha: Where the scalars start.

    Returns:
        The names of the branches.

    Raises:
        SpecError: The pattern matches nothing, a branch in another, or one that is
            scaled already.
    """
    found = dict(_find_branches(module, branches))
    for name, branch in found.items():
        if isinstance(branch, ScaledBranch):
            raise SpecError(f"{name} is a scaled branch already")
    for name, branch in found.items():
        module.set_submodule(name, ScaledBranch(branch, alpha))
    return list(found)


def zero_gamma_(
    module: nn.Module, branches: str, *, shortcuts: str = "*downsample*"
) -> list[str]:
    """Set the gain of each branch's last norm to 0 (Goyal et al. 1706.02677, §5.1).

    Args:
        module: Changed in place.
        branches: Pattern of names.
        shortcuts: Pattern of names inside of branches that are left out.

    Returns:
        The names of the norms.

    Raises:
        SpecError: The pattern matches nothing, or a branch has no norm with a gain.
    """
    zeroed = {}
    for name, branch in _find_branches(module, branches):
        norms = [
            (inner, norm)
            for inner, norm in _inside(name, branch, shortcuts)
            if isinstance(norm, _NORMS) and norm.weight is not None
        ]
        if not norms:
            raise SpecError(f"{name} has no norm with a gain that could be zero")
        last, norm = norms[-1]
        zeroed[last] = norm
    with torch.no_grad():
        for norm in zeroed.values():
            assert isinstance(norm.weight, Tensor)
            norm.weight.zero_()
    return list(zeroed)


def fixup_(
    module: nn.Module,
    branches: str,
    *,
    head: str = "",
    seed: int = 0,
    replica: int = 0,
    shortcuts: str = "*downsample*",
) -> dict[str, float]:
    """Fixup's weights (Zhang et al. 1901.09321, §3): He's, scaled down in branches.

    Of L branches with m layers each, the last layer of each is zero and the others are
    scaled by L^(-1 / (2m - 2)); the head is zero; biases are zero. The scalars that the
    paper adds belong to the architecture: `add_fixup_scalars_`, after this.

    Args:
        module: Changed in place.
        branches: Pattern of names.
        head: Name of the classification layer; '' leaves none zero.
        seed: Of the draw.
        replica: Number of the replica.
        shortcuts: Pattern of names inside of branches that are left out.

    Returns:
        By name of weights: the factor on He's normal law; 1 where it is not scaled.

    Raises:
        SpecError: The pattern matches nothing, a branch has no layer, or the head is
            no layer.
    """
    found = list(_find_branches(module, branches))
    factors: dict[str, float] = {}
    for name, branch in found:
        layers = [
            inner
            for inner, layer in _inside(name, branch, shortcuts)
            if isinstance(layer, LAYERS)
        ]
        if not layers:
            raise SpecError(f"{name} has no dense or convolutional layer")
        depth = len(layers)
        scale = len(found) ** (-1 / (2 * depth - 2)) if depth > 1 else 0.0
        factors |= {f"{layer}.weight": scale for layer in layers}
        factors[f"{layers[-1]}.weight"] = 0.0
    parameters = dict(module.named_parameters())
    if head:
        if f"{head}.weight" not in parameters:
            raise SpecError(f"head {head!r} has no weights")
        factors[f"{head}.weight"] = 0.0
    laws = draw_module_(module, "he_normal", seed=seed, replica=replica)
    with torch.no_grad():
        for name, factor in factors.items():
            parameters[name].mul_(factor)
    weights = (name for name in laws if parameters[name].ndim > 1)
    return {name: factors.get(name, 1.0) for name in weights}


def add_fixup_scalars_(
    module: nn.Module, branches: str, *, shortcuts: str = "*downsample*"
) -> list[str]:
    """Fixup's scalars (1901.09321, §3, rule 3): biases around layers, a multiplier.

    Each dense or convolutional layer becomes a `FixupLayer` with a scalar bias of 0
    before it and one after it, before the activation that follows; the last layer of
    each branch gets a multiplier of 1. What the module computes is the same at first.
    Names of parameters change (`conv.weight` to `conv.layer.weight`), and with them
    what is drawn by name: call `fixup_` first, and make the optimizer afterwards.

    Args:
        module: Changed in place.
        branches: Pattern of names.
        shortcuts: Pattern of names inside of branches that end none.

    Returns:
        The names of the layers.

    Raises:
        SpecError: The pattern matches nothing, a branch has no layer, or
            there are scalars already.
    """
    ends = [
        [layer for _, layer in _inside(*named, shortcuts) if isinstance(layer, LAYERS)]
        for named in _find_branches(module, branches)
    ]
    if not all(ends):
        raise SpecError(f"a branch of {branches!r} has no dense or convolutional layer")
    if any(isinstance(one, FixupLayer) for one in module.modules()):
        raise SpecError("the module has Fixup's scalars already")
    last = {id(layers[-1]) for layers in ends}
    found = [
        (name, layer)
        for name, layer in module.named_modules(remove_duplicate=False)
        if isinstance(layer, LAYERS)
    ]
    # a layer that stands in two places stays one
    around = {
        id(layer): FixupLayer(layer, ends_branch=id(layer) in last)
        for _, layer in found
    }
    for name, layer in found:
        module.set_submodule(name, around[id(layer)])
    return [name for name, _ in found]


def _find_branches(module: nn.Module, pattern: str) -> Iterator[tuple[str, nn.Module]]:
    found = [
        (name, branch)
        for name, branch in module.named_modules()
        if name and fnmatchcase(name, pattern)
    ]
    if not found:
        known = ", ".join(name for name, _ in module.named_children())
        raise SpecError(f"no submodule is named {pattern!r}: known are {known}, ...")
    for outer, _ in found:
        inner = next((n for n, _ in found if n.startswith(f"{outer}.")), None)
        if inner:
            raise SpecError(
                f"{pattern!r} matches {outer} and {inner} in it: `*` passes dots; name "
                "the branches alone"
            )
    yield from found


def _inside(
    name: str, branch: nn.Module, shortcuts: str
) -> Iterator[tuple[str, nn.Module]]:
    """The branch and its submodules by full name, in the order of their making."""
    for inner, submodule in branch.named_modules():
        if not fnmatchcase(inner, shortcuts):
            yield f"{name}.{inner}" if inner else name, submodule
