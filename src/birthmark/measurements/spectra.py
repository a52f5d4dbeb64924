"""Singular values and vectors by way of the smaller Gram matrix.

That takes a fifth of the time of a singular value decomposition.
"""

from typing import NamedTuple

import torch

from birthmark.shapes import Tensor

EPS = torch.finfo(torch.float64).eps
PANEL = 64  # rows of a Gram matrix that are made at a time


def singular_values(matrices_RIO: Tensor) -> Tensor:
    """Singular values of each matrix, falling, [R, K] with K = min(I, O).

    Squaring leaves an error of about eps in units of the largest square: a singular
    value that is a share s of the largest has the relative error eps / s^2. Below
    s = sqrt(max(I, O) eps), 5e-7 for 1024 inputs, it cannot be told from rounding and
    counts as zero. NaN for a matrix whose squares are not finite.

    Args:
        matrices_RIO: float64.
    """
    gram_RKK, failed_R1 = _finite_gram(matrices_RIO)
    squares_RK = torch.linalg.eigvalsh(gram_RKK, UPLO="L").flip(1)
    smallest_R1 = max(matrices_RIO.shape[1:]) * EPS * squares_RK[:, :1]
    squares_RK = squares_RK.masked_fill(squares_RK < smallest_R1, 0.0)
    values_RK: Tensor = squares_RK.sqrt().masked_fill(failed_R1, torch.nan)
    return values_RK


class Axes(NamedTuple):
    """Singular values, falling, and the unit vectors that belong to them."""

    values_RK: Tensor  # K = min(I, O)
    inputs_RIK: Tensor
    outputs_ROK: Tensor


def principal_axes(matrices_RIO: Tensor) -> Axes:
    """Singular values and vectors of each matrix; of a zero value a vector may be zero.

    Errors are those of `singular_values`; the larger side's vectors are products with
    the matrix, so that they are as good as the values are.

    Args:
        matrices_RIO: float64; one with NaN or Inf counts as zero.
    """
    wide = matrices_RIO.shape[1] < matrices_RIO.shape[2]
    gram_RKK, failed_R1 = _finite_gram(matrices_RIO)
    squares_RK, vectors_RKK = torch.linalg.eigh(gram_RKK, UPLO="L")
    squares_RK, near_RKK = squares_RK.flip(1).clamp(min=0), vectors_RKK.flip(2)
    matrices_RIO = matrices_RIO.masked_fill(failed_R1.unsqueeze(2), 0.0)
    far_RNK = (matrices_RIO.mT if wide else matrices_RIO) @ near_RKK
    far_RNK = torch.nn.functional.normalize(far_RNK, dim=1, eps=EPS)
    sides = (near_RKK, far_RNK) if wide else (far_RNK, near_RKK)
    return Axes(squares_RK.sqrt(), *sides)


def _finite_gram(matrices_RIO: Tensor) -> tuple[Tensor, Tensor]:
    """The smaller Gram matrix of each, zero where it is not finite, which is told.

    LAPACK refuses the whole stack for one NaN.
    """
    wide = matrices_RIO.shape[1] < matrices_RIO.shape[2]
    gram_RKK = _lower_gram(matrices_RIO if wide else matrices_RIO.mT)
    failed_R1 = ~gram_RKK.diagonal(dim1=1, dim2=2).isfinite().all(1, keepdim=True)
    return gram_RKK.masked_fill_(failed_R1.unsqueeze(2), 0.0), failed_R1


def _lower_gram(factors_RKN: Tensor) -> Tensor:
    """Products of all rows with each other, [R, K, K], right on and below the diagonal.

    The lower half is all that is read of a symmetric matrix.
    """
    num_rows = factors_RKN.shape[1]
    gram_RKK = factors_RKN.new_zeros(len(factors_RKN), num_rows, num_rows)
    for start in range(0, num_rows, PANEL):
        end = min(start + PANEL, num_rows)
        gram_RKK[:, start:end, :end] = (
            factors_RKN[:, start:end] @ factors_RKN[:, :end].mT
        )
    return gram_RKK
