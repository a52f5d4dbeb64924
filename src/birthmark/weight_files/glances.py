"""A glance at a sample of two tensors, before all of their numbers are added up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from birthmark.checkup import detect_law
from birthmark.shapes import Tensor
from birthmark.weight_files.contents import Resemblance, resemble, sample
from birthmark.weight_files.pairing import Match
from birthmark.weight_files.spectra import SampleSpectrum, find_spectrum
from birthmark.weight_files.views import Piece

# standard deviations of the null model beyond which two tensors are related, and within
# which they are not; between the two nothing is said
RELATED, UNRELATED = 5.0, 3.0
_FRESH_OUTLIER = 8.0  # Tracy-Widom units: a fresh draw passes them once in a million
_FEWEST = 400  # numbers below which a draw is not told from something trained
_COARSEST = 2**-7  # relative step of bfloat16: of coarser numbers no law can be told


@dataclass(frozen=True)
class Glance:
    """What a sample tells; None where it cannot."""

    match: Match  # turned over, where only that resembles
    relation: Resemblance | None = None
    deviation: SampleSpectrum | None = None
    fresh_a: bool | None = None  # whether it looks as drawn just now, not trained
    fresh_b: bool | None = None
    law: str = ""  # by which the first was drawn


def glance(match: Match) -> Glance:
    """Look at a sample of two matched tensors."""
    piece_a, piece_b = match.pieces[0]
    pieces = (piece_a, piece_b)
    if not all(one.count and one.dtype.is_floating_point for one in pieces):
        return Glance(match)
    a, b = sample(piece_a), sample(piece_b)
    relation = resemble(a, b)
    if len(match.pieces) == 1 and not relation.score > RELATED:
        turned = _turn(match)
        if turned is not None:
            return turned
    fresh_a, law = _is_fresh(piece_a, a)
    fresh_b = None
    if not (fresh_a and relation.score > RELATED):  # or the second cannot be a start
        fresh_b, _ = _is_fresh(piece_b, b)
    return Glance(match, relation, find_spectrum(b - a), fresh_a, fresh_b, law)


def _turn(match: Match) -> Glance | None:
    """The match with one of the two turned over, if that is what resembles."""
    (a, b), *_ = match.pieces
    square = len(a.shape) == 2 and a.shape[0] == a.shape[1] and a.part is None
    if not square or a.order not in (None, (0, 1)):
        return None
    turned = replace(a, order=(1, 0))
    if not resemble(sample(turned), sample(b)).score > RELATED:
        return None
    how = ", ".join(one for one in (match.how, "transposed") if one)
    return glance(replace(match, how=how, pieces=((turned, b),)))


def _is_fresh(piece: Piece, values_OI: Tensor) -> tuple[bool | None, str]:
    """Whether a matrix looks freshly drawn, and by which law.

    It does where its numbers follow a law that tensors are drawn by, and no direction
    stands out of it as none does of noise.
    """
    is_matrix = len(piece.shape) > 1 and values_OI.numel() >= _FEWEST
    coarse = torch.finfo(piece.dtype).eps > _COARSEST
    if not is_matrix or coarse or not bool(values_OI.isfinite().all()):
        return None, ""
    spectrum = find_spectrum(values_OI)
    if spectrum is None:
        return None, ""
    if spectrum.outlier > _FRESH_OUTLIER:
        return False, ""
    fan_in = piece.count // piece.shape[0]
    fan_out = piece.shape[0] * (piece.count // (piece.shape[0] * piece.shape[1]))
    law = detect_law(values_OI.to(piece.dtype), [(fan_in, fan_out)])
    return bool(law.family), law.rules[0] if law.rules else law.family
