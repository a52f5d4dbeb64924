"""Units that are the same, and rows that hardly move.

Units are the same where columns of incoming weights hold equal numbers.
Units with equal weights in and out get equal gradients and stay equal for ever, unless
something parts them (Blumenfeld et al., arXiv 2007.01038).
"""

import torch

from birthmark.measurements.moments import scaled
from birthmark.measurements.pair import Pair
from birthmark.shapes import Tensor

# of the root mean square of the weights: float32 rounds at 1e-7, and columns of
# independent draws differ by about 1 somewhere
TOLERANCE = 1e-4
STILL = 3**0.5 / 2  # of the initial root mean square: half the bound of a uniform law


def distinct_units(pair: Pair) -> Tensor:
    """Number of different units of a layer, in 1 ... O, told apart by weights alone.

    Two are one where no incoming weight differs by more than `TOLERANCE` times the root
    mean square of the matrix. Biases are not looked at. Neighbours in a random
    projection are compared: equal columns are neighbours there. Where one input leads
    to very many units, different ones may come that near by chance.
    """
    w_RIO = scaled(pair.current_RN, pair.current_scale_R1).reshape(pair.current.shape)
    generator = torch.Generator().manual_seed(w_RIO.shape[1])
    direction_I = torch.randn(w_RIO.shape[1], generator=generator, dtype=torch.float64)
    place_RO = torch.einsum("rio,i->ro", w_RIO, direction_I.to(w_RIO.device))
    order_R1O = place_RO.argsort(dim=1).unsqueeze(1)
    sorted_RIO = w_RIO.gather(2, order_R1O.expand_as(w_RIO))
    gap_RO = sorted_RIO.diff(dim=2).abs().amax(1)
    rms_R1 = w_RIO.square().mean(dim=(1, 2)).sqrt().unsqueeze(1)
    count_R: Tensor = 1 + (gap_RO > TOLERANCE * rms_R1).sum(1)
    return count_R.to(torch.float64)


def still_rows(pair: Pair) -> Tensor:
    """Share of rows that hardly moved, by at most half the bound in rms, 0 ... 1.

    The bound is that of a uniform law of the initial size. Such rows are
    the weights out of units that are silent on nearly all examples. NaN where all
    initial weights are zero.
    """
    scale_R1 = pair.initial_scale_R1
    deviation_RIO = scaled(pair.deviation_RN, scale_R1).reshape(pair.initial.shape)
    moved_RI = deviation_RIO.square().mean(2).sqrt()
    initial_RN = scaled(pair.initial_RN, scale_R1)
    size_R1 = initial_RN.square().mean(1, keepdim=True).sqrt()
    share_R: Tensor = (moved_RI <= STILL * size_R1).double().mean(1)
    return share_R.masked_fill(size_R1.squeeze(1) == 0, torch.nan)
