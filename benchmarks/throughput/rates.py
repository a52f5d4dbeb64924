"""What this machine can do at most: float32 products, and bytes moved.

The rate of a product counts only if it is float32 arithmetic: its error against
float64 tells, about 1e-7 times the root of the length of the sums. A processor that
multiplies in bfloat16 or TF32 is off by a factor of a thousand or more.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

SIZE = 2048
FLOAT32_ERROR = 1e-5  # relative, Frobenius norm; float32 has 3e-7, bfloat16 2e-3
REPEATS = 3
COPIED = 2**28  # bytes copied to measure the bandwidth: far beyond any cache


def prepare_rates(threads: int) -> None:
    """Set the threads; NumPy's are in the environment already."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)


def quickest_setting() -> str:
    """The setting of torch that is quickest while its products stay in float32.

    "medium" allows bfloat16, which torch uses with AMX alone: other processors go
    on in float32, but through oneDNN, twice as quick as MKL on those of AMD.
    """
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    before = torch.get_float32_matmul_precision()
    error = _error(_multiply(a, b, "medium"), a.double() @ b.double())
    torch.set_float32_matmul_precision(before)
    return "medium" if error < FLOAT32_ERROR else "highest"


def measure_rates() -> dict[str, Any]:
    """Operations a second of large products, their errors, and bytes a second."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    exact = a.double() @ b.double()
    products = {
        "torch default": lambda: _multiply(a, b, "highest"),
        "torch medium": lambda: _multiply(a, b, "medium"),
        "NumPy": lambda: torch.from_numpy(a.numpy() @ b.numpy()),
    }
    rates, errors = {}, {}
    for name, product in products.items():
        errors[name] = _error(product(), exact)
        rates[name] = 2 * SIZE**3 / _time(product)
    source = torch.zeros(COPIED // 4)
    target = torch.zeros_like(source)
    # a copy reads and writes
    bandwidth = 2 * COPIED / _time(lambda: target.copy_(source))
    return {"rates": rates, "errors": errors, "bandwidth": bandwidth}


def _multiply(a: torch.Tensor, b: torch.Tensor, precision: str) -> torch.Tensor:
    torch.set_float32_matmul_precision(precision)
    return a @ b


def _error(product: torch.Tensor, exact: torch.Tensor) -> float:
    return float((product.double() - exact).norm() / exact.norm())


def _time(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
