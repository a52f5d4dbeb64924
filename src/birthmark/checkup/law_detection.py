"""From which law was a tensor drawn? Family by its shape, scale by the known rules.

The family is the one of smallest Kolmogorov-Smirnov distance among those that are not
refused; the scale fits a rule when it lies within four standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import ndtr
from torch import Tensor

from birthmark.checkup.second_moments import as_float, in_range, standard_deviation
from birthmark.checkup.spectra import Spectrum, read_spectrum
from birthmark.network import find_law
from birthmark.shapes import Array
from birthmark.spec import RuleSpec

FEWEST = 20  # numbers below which no family can be told
_SAMPLE = 20_000  # numbers that a Kolmogorov-Smirnov distance is taken of
_ERRORS = 4.0  # standard errors: one true rule in 16,000 is missed
_ORTHOGONAL = 1.001  # largest condition of orthogonal rows in float32
_FAR = 15.0  # median sizes: ten standard deviations of a normal law
_FEW = 3  # numbers that a rare failure of a generator spoils
_UNIT = 1e-5  # rounding of the length of one row; by chance once in 10,000 times
_LATEST_CUT = 2.3  # of 200 normal draws none lies beyond once in 100 times
_PARTS = (3, 4, 2)  # query, key and value; gates; key and value

# D sqrt(n) above which a family is refused, each at about 1e-4: with bounds from the
# extremes it is Kolmogorov's law; a fitted normal one has Lilliefors' shorter tail
_REFUSED = {"uniform": 2.3, "normal": 1.5, "truncated_normal": 1.8}
_KURTOSIS = {"uniform": 1.8, "normal": 3.0, "truncated_normal": 2.37}

_BY_FAMILY = {
    "uniform": ("torch_default", "glorot_uniform", "he_uniform", "lecun_uniform"),
    "normal": ("he_normal", "glorot_normal", "lecun_normal"),
    "truncated_normal": ("he_normal", "glorot_normal", "lecun_normal"),
}
# the same scale for all shapes: they say the least, and come last
_FIXED = {"normal": ("gpt2_default", "bert_default"), "truncated_normal": ()}

Fans = tuple[int, int]


@dataclass(frozen=True)
class DetectedLaw:
    """The law of a tensor: its family, the rules whose scale fits, and words."""

    family: str  # '' when no known family fits
    rules: tuple[str, ...]
    words: str
    outliers: Tensor | None = None  # numbers far beyond the law, where there are a few


def detect_law(
    values: Tensor,
    fans: Sequence[Fans],
    matrix: Tensor | None = None,
    spectrum: Spectrum | None = None,
) -> DetectedLaw:
    """Tell the law of a tensor of finite numbers.

    Args:
        values: The tensor; of many numbers a sample at equal distances is looked at.
        fans: Fan-in and fan-out, for weights only: first as they are, then in other
            ways of counting (torch's, Keras', those of packed parts).
        matrix: The weights as [O, I], where they are a matrix.
        spectrum: Of that matrix.
    """
    flat = values.detach().flatten()
    low, high = float(flat.min()), float(flat.max())
    if low == high:
        words = f"constant {low:.4g}" if low else "zeros"
        return DetectedLaw(
            "zeros" if not low else "constant", ("zeros",) * (not low), words
        )
    if matrix is not None:
        structured = _find_structure(matrix, spectrum)
        if structured is not None:
            return structured
    zeros = float((flat == 0).double().mean())
    if zeros > 0.1:
        rest = detect_law(flat[flat != 0], ())
        return DetectedLaw("sparse", (), f"{zeros:.0%} zeros, the rest: {rest.words}")
    found = _find_drawn(flat, fans)
    if found.family:
        return found
    parts = matrix is not None and matrix.shape[0] >= 2 * FEWEST
    inside = _find_parts(matrix, fans) if parts and matrix is not None else None
    return inside or _find_without_outliers(flat, fans) or found


def torch_default_bound(fan_in: int) -> float:
    """The bound of torch's default for weights and biases."""
    return find_law(RuleSpec(name="torch_default"), fan_in, 1).bound


def _find_structure(matrix: Tensor, spectrum: Spectrum | None) -> DetectedLaw | None:
    """Identities and orthogonal matrices, as a whole or in packed parts."""
    if min(matrix.shape) < 2:  # one row: orthogonal, where its length is 1
        length = float(matrix.double().norm())
        exact = matrix.numel() >= FEWEST and abs(length - 1) < _UNIT
        return _orthogonal(matrix, "") if exact else None
    for parts in (1, *_divisors(len(matrix))):  # groups have one each
        found = {_identity_scale(block) for block in matrix.chunk(parts)}
        scale = found.pop()
        if scale is not None and not found:
            rules = ("identity",) if scale == 1 else ()
            words = f"identity times {scale:.4g}" + (parts > 1) * f" in {parts} parts"
            return DetectedLaw("identity", rules, words)
    if spectrum is None:
        return None
    for parts in _PARTS:  # first: stacked squares are orthogonal as a whole too
        if matrix.shape[0] % parts or matrix.shape[0] // parts < 2:
            continue
        blocks = matrix.chunk(parts)
        packed = matrix.shape[0] > matrix.shape[1] or spectrum.condition > _ORTHOGONAL
        if packed and all(_is_orthogonal(block) for block in blocks):
            return _orthogonal(blocks[0], f" in {parts} parts")
    return _orthogonal(matrix, "") if spectrum.condition < _ORTHOGONAL else None


def _divisors(rows: int) -> list[int]:
    """Into how many equal parts of two rows and more a sparse matrix may fall."""
    return [parts for parts in range(2, rows // 2 + 1) if rows % parts == 0]


def _is_orthogonal(block: Tensor) -> bool:
    found = read_spectrum(block)
    return found is not None and found.condition < _ORTHOGONAL


def _orthogonal(matrix: Tensor, parts: str) -> DetectedLaw:
    gain = float(matrix.double().norm()) / math.sqrt(min(matrix.shape))
    rules = ("orthogonal",)
    return DetectedLaw("orthogonal", rules, f"orthogonal{parts}, gain {gain:.3g}")


def _identity_scale(matrix: Tensor) -> float | None:
    """The number on the diagonal of [O, I * places], if all else is 0."""
    filled = matrix != 0
    count = int(filled.sum())
    if count < 2 or count > matrix.shape[0]:
        return None
    rows, columns = filled.nonzero(as_tuple=True)
    if len(rows.unique()) != count:  # type: ignore[no-untyped-call]
        return None
    entries = matrix[filled]
    if float(entries.min()) != float(entries.max()):
        return None
    # input i stands at i * places + centre (torch.nn.init.dirac_, eye_)
    steps = columns.diff()
    if len(steps) and not bool((steps == steps[0]).all() & (steps[0] > 0)):
        return None
    return float(entries[0])


def _find_parts(matrix: Tensor, fans: Sequence[Fans]) -> DetectedLaw | None:
    """Rows that were drawn in parts, each from a law of its own: query, key, value."""
    for parts in _PARTS:
        if matrix.shape[0] % parts:
            continue
        found = [
            _find_drawn(block.flatten(), [(f[0], f[1] // parts) for f in fans[:1]])
            for block in matrix.chunk(parts)
        ]
        if all(one.family for one in found):
            family = found[0].family
            same = all(one.family == family for one in found)
            rules = tuple(r for r in found[0].rules if all(r in o.rules for o in found))
            stds = [standard_deviation(block) for block in matrix.chunk(parts)]
            sizes = ", ".join(f"{std:.3g}" for std in stds)
            named = f"{rules[0]}, " if rules else ""
            words = f"in {parts} parts: {named}{family}, std {sizes}"
            return DetectedLaw(family if same else "parts", rules, words)
    return None


def _find_drawn(flat: Tensor, fans: Sequence[Fans]) -> DetectedLaw:
    """The law of independent entries."""
    low, high = float(flat.min()), float(flat.max())
    std = standard_deviation(flat)
    scaled, exponent = in_range(flat)
    ends = math.ldexp(low, -exponent), math.ldexp(high, -exponent)
    families = _find_families(_sample(scaled), *ends)
    if not families or std == 0:
        few = flat.numel() < FEWEST
        why = "too few numbers to tell" if few else "no known family"
        return DetectedLaw("", (), f"{why}, std {std:.4g}")
    tolerance = 2e-3 if flat.dtype in (torch.float16, torch.bfloat16) else 1e-5
    scale = _Scale(std, max(abs(low), abs(high)), flat.numel(), tolerance)
    mean = float(flat.double().mean())
    is_centred = abs(mean) <= std * (_ERRORS / math.sqrt(flat.numel()) + tolerance)
    rules = {
        one: _find_rules(one, scale, fans if is_centred else ()) for one in families
    }
    # few numbers fit several families: a rule by its own name and fans goes first, and
    # the sharp edge of a uniform law before the scale of another
    by_worth = sorted(families, key=lambda one: (_worth(rules[one]), one != "uniform"))
    family = by_worth[0] if rules[by_worth[0]] else next(iter(families))
    words = _say_law(family, std, low, high, families[family])
    if not is_centred and family != "uniform":
        words = words.replace(", std", f", mean {mean:.4g}, std", 1)
    fitting = tuple(dict.fromkeys(name for one in by_worth for name in rules[one]))
    if rules[family]:
        first = rules[family][0]
        named = first not in (*_FIXED.get(family, ()),)
        return DetectedLaw(family, fitting, f"{first} ({words})" if named else words)
    if fans and is_centred:
        words += f", fan_in Var = {fans[0][0] * std * std:.3g}"
    return DetectedLaw(family, (), words)


def _worth(rules: Sequence[str]) -> int:
    """0 where a rule fits by its own name, 1 with another gain or side, 2 for none."""
    if not rules:
        return 2
    return int("(" in rules[0] or rules[0] in _FIXED["normal"])


def _find_without_outliers(flat: Tensor, fans: Sequence[Fans]) -> DetectedLaw | None:
    """The law of all but a few numbers that lie far beyond it."""
    size = as_float(flat).abs()
    far = size > _FAR * _sample_median(size)
    few = 0 < int(far.sum()) <= _FEW and flat.numel() > _FEW * FEWEST
    law = _find_drawn(flat[~far], fans) if few else None
    if law is None or not law.family:
        return None
    outliers = flat[far]
    words = f"{law.words}, but for {', '.join(f'{x:.3g}' for x in outliers.tolist())}"
    return replace(law, words=words, outliers=outliers)


def _sample_median(size: Tensor) -> float:
    return float(size[:: max(1, size.numel() // _SAMPLE)].median())


def _say_law(family: str, std: float, low: float, high: float, cut: float) -> str:
    if family == "uniform":
        return f"uniform, {low:.4g} to {high:.4g}"
    if family == "truncated_normal" and abs(cut - 2) > 0.1:
        return f"truncated normal, std {std:.4g}, cut at {low:.4g} and {high:.4g}"
    return f"{family}, std {std:.4g}"


@dataclass(frozen=True)
class _Scale:
    std: float
    reach: float  # largest absolute value
    count: int
    tolerance: float  # relative, of the number format


def _find_rules(family: str, scale: _Scale, fans: Sequence[Fans]) -> tuple[str, ...]:
    """Names whose scale fits; those of the layer's own fans before other countings."""
    fits: dict[str, None] = {}
    for pair in fans:
        found = _fitting(family, scale, _candidates(family, pair))
        if found and not fits:
            fits.update(dict.fromkeys(sorted(found, key=lambda name: "(" in name)))
        # in another counting a rule is told by its own name alone: "as packed parts"
        fits.update(dict.fromkeys(name for name in found if "(" not in name))
    if fans:
        fixed = [
            (name, law.std, law.bound)
            for name in _FIXED.get(family, ())
            for law in [find_law(RuleSpec(name=name), *fans[0])]
        ]
        fits.update(dict.fromkeys(_fitting(family, scale, fixed)))
    return tuple(fits)


def _fitting(
    family: str, scale: _Scale, candidates: list[tuple[str, float, float]]
) -> list[str]:
    """Names that are not refused, the likeliest first."""
    found: dict[str, float] = {}
    for name, std, bound in candidates:
        error = math.sqrt((_KURTOSIS[family] - 1) / (4 * scale.count))
        if abs(math.log(scale.std / std)) > _ERRORS * error + scale.tolerance:
            continue
        if family == "uniform":
            # of n draws none comes within 16 / n of the bound once in 9 million times
            edge = scale.reach / bound - 1
            if edge > scale.tolerance or edge < -16 / scale.count - scale.tolerance:
                continue
        # of uniform laws that hold all numbers the narrowest is the likeliest
        off = bound / scale.reach if family == "uniform" else abs(scale.std / std - 1)
        found[name] = round(off, 6)
    return sorted(found, key=lambda name: found[name])


def _candidates(family: str, fans: Fans) -> list[tuple[str, float, float]]:
    """Names with standard deviation and bound; `(fan_out)` where the fans are swapped.

    A cut normal law is taken as its rule rescaled to the same variance, as Keras and
    JAX draw it.
    """
    found = []
    for name in _BY_FAMILY[family]:
        law = find_law(RuleSpec(name=name), *fans)
        found.append((name, law.std, law.bound))
        if fans[0] != fans[1] and not name.startswith(("glorot", "torch")):
            law = find_law(RuleSpec(name=name), fans[1], fans[0])
            found.append((f"{name} (fan_out)", law.std, law.bound))
    for name in [one for one in _BY_FAMILY[family] if one.startswith("glorot")]:
        law = find_law(RuleSpec(name=name), *fans)
        for gain, words in ((math.sqrt(2), "gain sqrt(2)"), (5 / 3, "gain 5/3")):
            found.append((f"{name} ({words})", gain * law.std, gain * law.bound))
    return found


def _find_families(sample: Array, low: float, high: float) -> dict[str, float]:
    """Families that are not refused, the nearest first, and where a normal is cut."""
    n = len(sample)
    if n < FEWEST:
        return {}
    mean, std = float(sample.mean()), float(sample.std())
    if std == 0 or not math.isfinite(std):
        return {}
    laws: dict[str, Callable[[Array], Array]] = {
        "uniform": lambda x: np.clip((x - low) / (high - low), 0, 1),
        "normal": lambda x: ndtr((x - mean) / std),
    }
    distances = {family: _distance(sample, law) for family, law in laws.items()}
    cuts = dict.fromkeys(laws, math.inf)
    for cut in dict.fromkeys((2.0, _fit_cut(std, (high - low) / 2))):
        if cut is None or not _reaches(cut, std, max(high - mean, mean - low), n):
            continue
        distance = _distance(sample, _cut_law(mean, std, cut))
        if distance < distances.get("truncated_normal", math.inf):
            distances["truncated_normal"], cuts["truncated_normal"] = distance, cut
    kept = [one for one, d in distances.items() if d * math.sqrt(n) < _REFUSED[one]]
    return {one: cuts[one] for one in sorted(kept, key=lambda one: distances[one])}


def _distance(sample: Array, law: Callable[[Array], Array]) -> float:
    """Kolmogorov and Smirnov's, of a sorted sample."""
    n = len(sample)
    ranks, expected = np.arange(1, n + 1) / n, law(sample)
    return max(float((ranks - expected).max()), float((expected - ranks + 1 / n).max()))


def _cut_law(mean: float, std: float, cut: float) -> Callable[[Array], Array]:
    scale = std / cut_std(cut)
    inside = ndtr(cut) - ndtr(-cut)
    return lambda x: np.clip((ndtr((x - mean) / scale) - ndtr(-cut)) / inside, 0, 1)


def _reaches(cut: float, std: float, reach: float, n: int) -> bool:
    """A cut law has nothing beyond its cut."""
    error = math.sqrt((_KURTOSIS["truncated_normal"] - 1) / (4 * n))
    return reach <= cut * (1 + _ERRORS * error) * std / cut_std(cut)


def cut_std(cut: float) -> float:
    """Standard deviation of a standard normal variable kept within +-cut."""
    density = math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi)
    inside = float(ndtr(cut) - ndtr(-cut))
    return math.sqrt(max(1 - 2 * cut * density / inside, 1e-12))


def _fit_cut(std: float, bound: float) -> float | None:
    """Where a symmetric normal law with these extremes was cut, in deviations.

    None where it is nearer to a uniform law, or the cut is in the tail, where the
    extremes of a whole normal law may well lie.
    """

    def gap(cut: float) -> float:
        return cut_std(cut) / cut - std / bound

    if not gap(0.5) > 0 > gap(_LATEST_CUT):
        return None
    return float(brentq(gap, 0.5, _LATEST_CUT))


def _sample(flat: Tensor) -> Array:
    stride = max(1, flat.numel() // _SAMPLE)
    return np.sort(flat[::stride][:_SAMPLE].double().cpu().numpy())
