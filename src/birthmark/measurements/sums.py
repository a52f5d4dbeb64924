"""Sums over a tensor at the start and now: what most measurements are made of.

One pass over memory: in C on a CPU, where it can be compiled, by torch elsewhere.
Shards and pieces are merged, so a tensor that lies in several processes is measured
without being gathered.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from birthmark.compilation import compile_sources
from birthmark.measurements.blocks import VALUES_IN_PIECE, VALUES_ON_GPU
from birthmark.measurements.moments import (
    Moments,
    dot,
    is_constant,
    norm,
    scale_of,
)
from birthmark.shapes import Tensor

# as in sums.c: central sums of the deviation d = b - a, of a, of b and of both
NAMES = (
    "count",
    "mean",
    "m2",
    "m3",
    "m4",
    "absolute",
    "largest",
    "mean_a",
    "mean_b",
) + (
    "aa",
    "bb",
    "ab",
    "signed",
    "kept",
    "nonfinite",
    "changed",
    "ulps",
    "kept_by_noise",
)
_PLACES = {name: place for place, name in enumerate(NAMES)}
# of which of the scales (deviation, a, b) a sum is in units, once for each power
_POWERS = {
    **{"mean": (0,), "m2": 2 * (0,), "m3": 3 * (0,), "m4": 4 * (0,)},
    **{"mean_a": (1,), "aa": (1, 1), "mean_b": (2,), "bb": (2, 2), "ab": (1, 2)},
}
_ROW = 8 * len(NAMES)  # bytes
_PIECE = 2**18  # numbers that one thread takes at a time
_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}


class Sums:
    """The sums of one tensor of some replicas, by name: `sums.count`, [R] each.

    They are float64, on the host or where the tensor is. Of what is merged, `m2` and
    the like are about the mean of all.
    """

    def __init__(
        self, values_RS: Tensor, scales: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> None:
        """Take the numbers, one row a replica, in the order of `NAMES`.

        Args:
            values_RS: The sums; means and central ones in units of the scales.
            scales: [R] of the deviation, of a and of b, powers of two; None: 1.
        """
        self.values_RS, self.scales = values_RS, scales

    def part(self, replicas: slice) -> Sums:
        """Those of some replicas."""
        scales = self.scales
        if scales is not None:
            scales = (scales[0][replicas], scales[1][replicas], scales[2][replicas])
        return Sums(self.values_RS[replicas], scales)

    def with_scales(self) -> Tensor:
        """The numbers and behind them the three scales, [R, S + 3]."""
        ones_R = torch.ones_like(self.values_RS[:, 0])
        scales_R3 = torch.stack(self.scales or (ones_R, ones_R, ones_R), dim=1)
        return torch.cat([self.values_RS, scales_R3], dim=1)

    @classmethod
    def of_scaled(cls, whole: Tensor) -> Sums:
        """From what `with_scales` gives."""
        values_RS, scales_R3 = whole[:, : len(NAMES)], whole[:, len(NAMES) :]
        is_one = bool((scales_R3 == 1).all())
        of_d, of_a, of_b = scales_R3.unbind(1)
        return cls(values_RS, None if is_one else (of_d, of_a, of_b))

    def __getattr__(self, name: str) -> Tensor:
        place = _PLACES.get(name)
        if place is None:
            raise AttributeError(name)
        values_R: Tensor = self.values_RS[:, place]
        return values_R

    @property
    def deviation(self) -> Moments:
        """Moments of the deviation, [R]."""
        parts = (self.m2, self.m3, self.m4)
        scale = 1.0 if self.scales is None else self.scales[0]
        m2, m3, m4 = (part / self.count for part in parts)
        return Moments(self.mean, m2, m3, m4, scale)

    @property
    def distance(self) -> Tensor:
        """L2 norm of the deviation."""
        return self._in_weights(self._norm(self.m2, self.mean), 0)

    @property
    def relative_distance(self) -> Tensor:
        """The distance over the norm of a; NaN where that is zero."""
        norm_R = self._norm(self.aa, self.mean_a)
        ratio_R = self._norm(self.m2, self.mean) / norm_R.masked_fill(
            norm_R == 0, torch.nan
        )
        return self._in_unit_of(ratio_R, 0, 1)

    @property
    def norms(self) -> tuple[Tensor, Tensor]:
        """L2 norms of a and of b."""
        return (
            self._in_weights(self._norm(self.aa, self.mean_a), 1),
            self._in_weights(self._norm(self.bb, self.mean_b), 2),
        )

    @property
    def means(self) -> tuple[Tensor, Tensor]:
        """Means of a and of b."""
        return self._in_weights(self.mean_a, 1), self._in_weights(self.mean_b, 2)

    @property
    def cosine(self) -> Tensor:
        """Of the angle between a and b; NaN where one is zero."""
        product = self.ab + self.count * self.mean_a * self.mean_b
        product /= self._norm(self.aa, self.mean_a)
        return product / self._norm(self.bb, self.mean_b)

    @property
    def line(self) -> tuple[Tensor, Tensor]:
        """Slope and intercept of the least-squares line of b on a."""
        variance_R, _, covariance_R = self.covariance
        slope_R = covariance_R / variance_R
        _, mean_R = self.means
        intercept_R = mean_R - self._in_weights(slope_R * self.mean_a, 2)
        return self._in_unit_of(slope_R, 2, 1), intercept_R

    @property
    def spread(self) -> Tensor:
        """Standard deviation of a, in weights; NaN where all values are equal."""
        return self._in_weights(self.covariance[0].sqrt(), 1)

    @property
    def relative_spread(self) -> Tensor:
        """Standard deviation of the deviation over that of a; NaN where a is equal."""
        ratio_R = (self.m2 / self.count).sqrt() / self.covariance[0].sqrt()
        return self._in_unit_of(ratio_R, 0, 1)

    @property
    def covariance(self) -> tuple[Tensor, Tensor, Tensor]:
        """Variances of a and b and their covariance, in units of the scales.

        A variance is NaN where all values are equal, so that no ratio is made of
        rounding.
        """
        found = []
        for s, mean in ((self.aa, self.mean_a), (self.bb, self.mean_b)):
            variance = s / self.count
            constant = is_constant(variance.sqrt(), mean)
            found.append(variance.masked_fill(constant, torch.nan))
        return found[0], found[1], self.ab / self.count

    def _norm(self, central: Tensor, mean: Tensor) -> Tensor:
        return (central + self.count * mean.square()).sqrt()

    def _in_weights(self, values_R: Tensor, place: int) -> Tensor:
        return values_R if self.scales is None else values_R * self.scales[place]

    def _in_unit_of(self, ratio_R: Tensor, above: int, below: int) -> Tensor:
        """A ratio of numbers in units of two scales, as one of weights."""
        if self.scales is None:
            return ratio_R
        exponents = [self.scales[at].frexp().exponent for at in (above, below)]
        power_R = exponents[0] - exponents[1]  # of a number that may be beyond float64
        return ratio_R.ldexp(power_R // 2).ldexp(power_R - power_R // 2)


def sum_up(a: Tensor, b: Tensor) -> Sums:
    """Sums over the pairs of two tensors [R, ...] of one shape, in any floats.

    Args:
        a: At the start.
        b: Now, in the dtype in which it is stored: units in the last place are its own.
    """
    a, b = a.detach(), b.detach()
    tiny, eps = torch.finfo(b.dtype).tiny, torch.finfo(b.dtype).eps
    kernel = _find_kernel() if a.device.type == b.device.type == "cpu" else None
    if kernel is None:
        values_RS = _sum_by_torch(a, b, tiny)
    else:
        values_RS = _sum_in_c(kernel, a, b, tiny)
    values_RS[:, _PLACES["ulps"]] /= eps
    # narrower types reach no size whose powers are beyond float64
    wide = torch.float64 in (a.dtype, b.dtype) and bool(a.numel())
    return _in_scales(a, b, values_RS) if wide else Sums(values_RS)


def _in_scales(a: Tensor, b: Tensor, values_RS: Tensor) -> Sums:
    """The same with powers in units in which they neither vanish nor overflow."""
    a_RN, b_RN = (x.reshape(len(x), -1).to(torch.float64) for x in (a, b))
    rows = (b_RN - a_RN, a_RN, b_RN)
    found = [scale_of(x_RN) for x_RN in rows]
    if all(scale is None for scale in found):
        return Sums(values_RS)
    ones_R1 = values_RS.new_ones(len(values_RS), 1)
    scales = [ones_R1 if scale is None else scale for scale in found]
    # the smallest numbers have few digits: their means are taken in a unit, too
    units = [x_RN / scale_R1 for x_RN, scale_R1 in zip(rows, scales, strict=True)]
    means = [x_RN.mean(1) for x_RN in units]
    d, x, y = (x_RN - m_R[:, None] for x_RN, m_R in zip(units, means, strict=True))
    square = d.square()
    again = {"m2": square.sum(1), "m3": dot(square, d), "m4": dot(square, square)}
    again |= {"aa": dot(x, x), "bb": dot(y, y), "ab": dot(x, y)}
    again |= dict(zip(("mean", "mean_a", "mean_b"), means, strict=True))
    for name, sum_R in again.items():
        values_RS[:, _PLACES[name]] = sum_R
    of_d, of_a, of_b = (scale.squeeze(1) for scale in scales)
    return Sums(values_RS, (of_d, of_a, of_b))


def merge(parts: Tensor) -> Tensor:
    """Sums of all from those of parts, [K, ..., S]; empty parts count for nothing.

    Each part's central sums are moved to the mean of all (binomial theorem), so that
    nothing cancels. Parts are added in their order.
    """
    if len(parts) == 1:
        return parts[0]
    s = dict(zip(NAMES, parts.unbind(-1), strict=True))
    out = {name: values.sum(0) for name, values in s.items()}
    out["largest"] = s["largest"].amax(0)
    count, n = s["count"], out["count"].clamp(min=1)
    shifts = []
    for name in ("mean", "mean_a", "mean_b"):
        out[name] = (count * s[name]).sum(0) / n
        shifts.append((s[name] - out[name]).masked_fill(count == 0, 0.0))
    d, da, db = shifts
    m2, m3, squares = s["m2"], s["m3"], count * d * d
    out["m2"] = out["m2"] + squares.sum(0)
    out["m3"] = out["m3"] + (3 * d * m2 + d * squares).sum(0)
    out["m4"] = out["m4"] + (4 * d * m3 + d * d * (6 * m2 + squares)).sum(0)
    for name, product in (("aa", da * da), ("bb", db * db), ("ab", da * db)):
        out[name] = out[name] + (count * product).sum(0)
    return torch.stack([out[name] for name in NAMES], dim=-1)


def merge_scaled(parts: Tensor) -> Tensor:
    """As `merge`, of parts with scales behind them, [K, ..., S + 3], each its own.

    All are brought to the largest scale, beside which what is far smaller may vanish:
    to that of the whole tensor. Parts of zeros alone have no say in it.
    """
    values, scales = parts[..., : len(NAMES)].clone(), parts[..., len(NAMES) :]
    central = (("mean", "m2"), ("mean_a", "aa"), ("mean_b", "bb"))
    is_zero = torch.stack(
        [(values[..., [_PLACES[n] for n in pair]] == 0).all(-1) for pair in central], -1
    )
    largest = scales.masked_fill(is_zero, 0.0).amax(0)
    largest = torch.where(largest == 0, 1.0, largest)
    ratio = (scales / largest).masked_fill(is_zero, 1.0)
    for name, places in _POWERS.items():
        for place in places:
            values[..., _PLACES[name]] *= ratio[..., place]
    return torch.cat([merge(values), largest], dim=-1)


# of addresses, dtypes, number of pairs, smallest normal number, address of the sums
_Kernel = Callable[[int, int, int, int, int, float, int], None]


def _sum_in_c(kernel: _Kernel, a: Tensor, b: Tensor, tiny: float) -> Tensor:
    """Of all replicas, [R, S]; every processor that torch may use works on them."""
    a, b = (x if x.dtype in _DTYPES else x.to(torch.float64) for x in (a, b))
    if a.stride() != b.stride() or not _is_dense(a[0]):
        a, b = a.contiguous(), b.contiguous()
    size = a[0].numel()
    starts = range(0, max(size, 1), _PIECE)
    out_KRS = torch.zeros(len(starts), len(a), len(NAMES), dtype=torch.float64)

    def add(place: tuple[int, int]) -> None:
        start, replica = starts[place[0]], place[1]
        kernel(
            a.data_ptr() + (replica * a.stride(0) + start) * a.itemsize,
            _DTYPES[a.dtype],
            b.data_ptr() + (replica * b.stride(0) + start) * b.itemsize,
            _DTYPES[b.dtype],
            min(_PIECE, size - start),
            tiny,
            out_KRS.data_ptr() + (place[0] * len(a) + replica) * _ROW,
        )

    places = itertools.product(range(len(starts)), range(len(a)))
    workers = torch.get_num_threads() if size > _PIECE else 1
    for _ in _pool(workers).map(add, places) if workers > 1 else map(add, places):
        pass
    return merge(out_KRS)


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="birthmark-sums")


def _is_dense(x: Tensor) -> bool:
    """Whether its numbers fill one stretch of memory, in whatever order."""
    if x.is_contiguous():
        return True
    expected = 1
    axes = [(step, size) for step, size in zip(x.stride(), x.shape, strict=True)]
    for step, size in sorted(axis for axis in axes if axis[1] > 1):
        if step != expected:
            return False
        expected *= size
    return True


@functools.cache
def _find_kernel() -> _Kernel | None:
    options = ["-fno-trapping-math", "-fopenmp-simd"]
    path = compile_sources("birthmark.measurements", ["sums.c"], options)
    try:
        function = None if path is None else ctypes.CDLL(str(path)).add_up
    except OSError:
        return None
    if function is None:
        return None
    function.restype = None
    function.argtypes = [
        *(ctypes.c_void_p, ctypes.c_int) * 2,
        ctypes.c_int64,
        ctypes.c_double,
        ctypes.c_void_p,
    ]

    return function


def _sum_by_torch(a: Tensor, b: Tensor, tiny: float) -> Tensor:
    """Of all replicas, [R, S], where they lie; on the host if there is no float64."""
    if a.device.type == "mps":
        a, b = a.cpu(), b.cpu()
    a_RN, b_RN = (x.reshape(len(x), -1) for x in (a, b))
    values = VALUES_ON_GPU if a_RN.device.type == "cuda" else VALUES_IN_PIECE
    width = max(1, values // max(1, len(a_RN)))
    starts = range(0, max(a_RN.shape[1], 1), width)
    parts = [
        _sum_piece(
            a_RN[:, start : start + width].to(torch.float64),
            b_RN[:, start : start + width].to(torch.float64),
            tiny,
        )
        for start in starts
    ]
    return merge(torch.stack(parts))


def _sum_piece(a_RN: Tensor, b_RN: Tensor, tiny: float) -> Tensor:
    num_replicas, count = a_RN.shape
    if not count:
        return a_RN.new_zeros(num_replicas, len(NAMES))
    d_RN = b_RN - a_RN
    means = [x_RN.mean(1) for x_RN in (d_RN, a_RN, b_RN)]
    centred = [
        x - mean[:, None] for x, mean in zip((d_RN, a_RN, b_RN), means, strict=True)
    ]
    d0_RN, x_RN, y_RN = centred
    square_RN = d0_RN.square()
    size_RN = torch.maximum(a_RN.abs(), b_RN.abs()).clamp(min=tiny)
    ones_RN = torch.ldexp(torch.ones_like(size_RN), size_RN.frexp().exponent - 1)
    sign_RN = a_RN.sign()
    found = {
        "count": torch.full_like(means[0], count),
        "mean": means[0],
        "m2": square_RN.sum(1),
        "m3": dot(square_RN, d0_RN),
        "m4": dot(square_RN, square_RN),
        "absolute": norm(d_RN, 1),
        "largest": norm(d_RN, torch.inf),
        "mean_a": means[1],
        "mean_b": means[2],
        "aa": dot(x_RN, x_RN),
        "bb": dot(y_RN, y_RN),
        "ab": dot(x_RN, y_RN),
        "signed": sign_RN.abs().sum(1),
        "kept": (sign_RN * b_RN.sign() > 0).sum(1),
        "nonfinite": (~d_RN.isfinite()).sum(1),
        "changed": (d_RN != 0).sum(1),
        "ulps": (d_RN.abs() / ones_RN).sum(1),
        # the deviation of another weight is noise of the same size
        "kept_by_noise": (sign_RN * (a_RN + d_RN.roll(count // 2, 1)).sign() > 0).sum(
            1
        ),
    }
    return torch.stack([found[name].to(torch.float64) for name in NAMES], dim=-1)
