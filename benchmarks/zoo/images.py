"""Batches for the zoo: images as smooth as photographs are, tokens, sequences."""

from __future__ import annotations

import torch
from torch import Tensor


def images(count: int = 8, side: int = 64, channels: int = 3) -> Tensor:
    """Random fields with the spectrum 1/f of photographs, standardized by channel."""
    noise = torch.randn(count, channels, side, side)
    f = torch.fft.fftfreq(side)
    radius = (f[:, None].square() + f[None, :].square()).sqrt().clamp_min(1 / side)
    smooth = torch.fft.ifft2(torch.fft.fft2(noise) / radius).real
    smooth = smooth - smooth.mean(dim=(0, 2, 3), keepdim=True)
    return smooth / smooth.std(dim=(0, 2, 3), keepdim=True)


def labels(count: int = 8, classes: int = 10) -> Tensor:
    """Each class as often as the others."""
    return torch.arange(count) % classes


def tokens(count: int = 8, length: int = 24, vocabulary: int = 99) -> Tensor:
    """Token numbers without the few that models keep for padding."""
    return torch.randint(5, vocabulary, (count, length))
