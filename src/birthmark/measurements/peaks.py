"""Where the density of each bin is highest: a Gaussian kernel estimate by FFT.

Values are counted in narrow cells and the counts are smoothed as a product of Fourier
transforms (Silverman, Applied Statistics AS 176, 1982): the cost does not grow with the
bandwidth, and all bins of all replicas are done at once.
"""

import math

import torch

from birthmark.measurements.order import QUANTILES
from birthmark.shapes import Tensor

CELLS = 512
MARGIN = 3.0  # bandwidths beyond the outer quantiles to which the peak is looked for

_LOW, _QUARTILE, _MEDIAN, _UPPER_QUARTILE, _HIGH = range(len(QUANTILES))


def density_peak(
    values_RN: Tensor,
    bin_RN: Tensor,
    *,
    count_RM: Tensor,
    std_RM: Tensor,
    quantiles_RMQ: Tensor,
) -> Tensor:
    """Mode of a Gaussian kernel density of the values in each bin, [R, M].

    The bandwidth is Silverman's, 0.9 min(std, IQR / 1.34) n^(-1/5) (Density Estimation,
    1986, eq. 3.31). The peak is looked for between the 2 % and 98 % quantiles and three
    bandwidths beyond, in 512 cells, and refined by a parabola. Where the IQR is zero,
    half of the values or more are equal, and the peak is that value; NaN if empty.
    """
    iqr_RM = quantiles_RMQ[..., _UPPER_QUARTILE] - quantiles_RMQ[..., _QUARTILE]
    scale_RM = torch.minimum(std_RM, iqr_RM / 1.34)
    bandwidth_RM = 0.9 * scale_RM * count_RM.to(scale_RM.dtype) ** -0.2
    low_RM = quantiles_RMQ[..., _LOW] - MARGIN * bandwidth_RM
    high_RM = quantiles_RMQ[..., _HIGH] + MARGIN * bandwidth_RM
    width_RM = (high_RM - low_RM) / CELLS
    counts_RMC = _count_cells(values_RN, bin_RN, low_RM, width_RM)
    cell_RM = _highest_cell(_smooth(counts_RMC, bandwidth_RM / width_RM))
    peak_RM = low_RM + cell_RM * width_RM
    return torch.where(iqr_RM == 0, quantiles_RMQ[..., _MEDIAN], peak_RM)


def _count_cells(
    values_RN: Tensor, bin_RN: Tensor, low_RM: Tensor, width_RM: Tensor
) -> Tensor:
    num_replicas, num_bins = low_RM.shape
    known_RN = bin_RN < num_bins
    known_bin_RN = bin_RN.clamp(max=num_bins - 1)
    low_RN, width_RN = (x.gather(1, known_bin_RN) for x in (low_RM, width_RM))
    cell_RN = ((values_RN - low_RN) / width_RN).floor()
    # False for NaN: bins whose values are equal have no width
    inside_RN = known_RN & (cell_RN >= 0) & (cell_RN < CELLS)
    replica_R1 = torch.arange(num_replicas, device=bin_RN.device).unsqueeze(1)
    group_RN = replica_R1 * num_bins + known_bin_RN
    flat_RN = group_RN * CELLS + cell_RN.masked_fill(~inside_RN, 0.0).long()
    outside = num_replicas * num_bins * CELLS
    flat_RN = flat_RN.masked_fill(~inside_RN, outside)
    counts = torch.bincount(flat_RN.flatten(), minlength=outside + 1)[:outside]
    return counts.reshape(num_replicas, num_bins, CELLS).to(values_RN.dtype)


def _smooth(counts_RMC: Tensor, bandwidth_RM: Tensor) -> Tensor:
    """Convolution with a Gaussian, its bandwidth in cells.

    It is circular: the margins at both ends keep one from leaking into the other.
    """
    frequency_F = torch.fft.rfftfreq(
        CELLS, dtype=counts_RMC.dtype, device=counts_RMC.device
    )
    phase_RMF = 2 * math.pi * bandwidth_RM.unsqueeze(-1) * frequency_F
    kernel_RMF = torch.exp(-0.5 * phase_RMF.square())
    spectrum_RMF = torch.fft.rfft(counts_RMC) * kernel_RMF
    density_RMC: Tensor = torch.fft.irfft(spectrum_RMF, n=CELLS)
    return density_RMC


def _highest_cell(density_RMC: Tensor) -> Tensor:
    """Position of the maximum in cells from the left end, between cells by parabola."""
    highest_RM1 = density_RMC.argmax(-1, keepdim=True).clamp(1, CELLS - 2)
    left, middle, right = (
        density_RMC.gather(-1, highest_RM1 + step).squeeze(-1) for step in (-1, 0, 1)
    )
    shift_RM = 0.5 * (left - right) / (left - 2 * middle + right)
    return highest_RM1.squeeze(-1) + 0.5 + shift_RM
