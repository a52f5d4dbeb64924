"""`initialize_` goes by what a parameter is for, not by the number of its axes."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from birthmark.errors import SpecError
from birthmark.network import draw, initialize_


class Own(nn.Module):
    """Norms and gates of shapes that matrices have too."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4, 6))
        self.shift = nn.Parameter(torch.zeros(4, 6))
        self.scale = nn.Parameter(torch.full((4, 1, 1), 1e-6))
        self.matrix = nn.Parameter(torch.randn(4, 6))


def test_norms_gates_and_padding_rows_stay():
    net = nn.ModuleDict(
        {
            "own": Own(),
            "norm": nn.LayerNorm((3, 4)),
            "table": nn.Embedding(7, 5, padding_idx=2),
        }
    )
    laws = initialize_(net, "he_normal", seed=1)
    assert set(laws) == {"own.matrix", "table.weight"}
    assert (net["own"].gain == 1).all()
    assert not net["own"].shift.any()
    assert (net["own"].scale == 1e-6).all()
    assert (net["norm"].weight == 1).all()
    assert not net["table"].weight[2].any()
    assert net["table"].weight[3].all()


@pytest.mark.parametrize(
    "wrap",
    [
        parametrizations.weight_norm,
        lambda layer: parametrizations.weight_norm(layer, dim=1),
        torch.nn.utils.weight_norm,
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weight_norm_computes_with_the_plain_layers_weights(wrap):
    plain = nn.Sequential(nn.Linear(8, 6))
    initialize_(plain, "glorot_normal", seed=5)
    normed = nn.Sequential(wrap(nn.Linear(8, 6)))
    initialize_(normed, "glorot_normal", seed=5)
    normed(torch.zeros(1, 8))  # the older one computes its weight in forward
    torch.testing.assert_close(normed[0].weight, plain[0].weight)


def test_parametrized_and_pruned_layers_are_set_through_what_they_are():
    net = nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6)))
    initialize_(net, "orthogonal", seed=2)
    plain = nn.Sequential(nn.Linear(6, 6))
    initialize_(plain, "orthogonal", seed=2)
    torch.testing.assert_close(net[0].weight, plain[0].weight)
    pruned = nn.Sequential(prune.l1_unstructured(nn.Linear(6, 6), "weight", 0.5))
    mask = pruned[0].weight_mask.clone()
    initialize_(pruned, "he_normal", seed=2)
    assert torch.equal(pruned[0].weight_mask, mask)
    expected = draw("he_normal", (6, 6), seed=2, tensor="0.weight", layout="OI")
    torch.testing.assert_close(pruned[0].weight_orig.detach().numpy(), expected)

    class Doubled(nn.Module):
        def forward(self, w):
            return 2 * w

    one_way = nn.Linear(4, 4)
    torch.nn.utils.parametrize.register_parametrization(one_way, "weight", Doubled())
    with pytest.raises(SpecError, match="right_inverse"):
        initialize_(one_way, "he_normal")


@pytest.mark.parametrize(
    ("name", "given", "function"),
    [
        ("trunc_normal_", {"std": 0.02}, lambda w, i: i.trunc_normal_(w, std=0.02)),
        (
            "trunc_normal_",
            {"std": 0.5, "a": -0.5, "b": 1.0},
            lambda w, i: i.trunc_normal_(w, std=0.5, a=-0.5, b=1.0),
        ),
        (
            "kaiming_normal_",
            {"nonlinearity": "tanh", "mode": "fan_out"},
            lambda w, i: i.kaiming_normal_(w, nonlinearity="tanh", mode="fan_out"),
        ),
        (
            "kaiming_uniform_",
            {"a": 0.5},
            lambda w, i: i.kaiming_uniform_(w, a=0.5),
        ),
    ],
)
def test_torchs_names_mean_torchs_laws_with_all_their_parameters(name, given, function):
    ours = draw({"name": f"torch.{name}", **given}, (300, 400), tensor="w", layout="OI")
    theirs = torch.empty(300, 400)
    torch.manual_seed(0)
    function(theirs, nn.init)
    assert abs(ours.std() / float(theirs.std()) - 1) < 0.01
    assert abs(ours.mean() - float(theirs.mean())) < 4 * ours.std() / 300
