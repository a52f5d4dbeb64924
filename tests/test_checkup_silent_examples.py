"""Examples that a layer silences have no angle to others."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from birthmark.checkup import check


def test_the_correlation_is_that_of_the_examples_that_are_not_zero():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 6, generator=generator)
    x[2], x[5] = 0, 0
    net = nn.Sequential(nn.Linear(6, 12, bias=False), nn.ReLU(), nn.Linear(12, 3))
    z = net[0](x[[0, 1, 3, 4, 6, 7]]).detach()
    i, j = torch.triu_indices(6, 6, 1)
    expected = cosine_similarity(z[i], z[j]).mean().item()
    found = check(net, (x, torch.arange(8) % 3)).layers[0].correlation
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_batch_of_zeros_but_for_one_has_no_correlation():
    x = torch.zeros(4, 6)
    x[1] = 1
    net = nn.Sequential(nn.Linear(6, 12, bias=False), nn.ReLU(), nn.Linear(12, 3))
    assert check(net, (x, torch.arange(4) % 3)).layers[0].correlation is None
