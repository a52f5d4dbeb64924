"""Where products are computed, and in which precision; refused when not to be had."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from birthmark.errors import HardwareError
from birthmark.spec import ReplicasSpec

_MATMUL_PRECISION = {"full": "highest", "tf32": "high", "bf16": "medium"}


def find_device(name: str) -> str:
    """The device that a spec means: `auto` is the GPU where there is one.

    Raises:
        HardwareError: This machine does not have it.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(kind, 0)
    if int(number or 0) >= count:
        have = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise HardwareError(
            f"device {name!r} is not on this machine: use auto or {', '.join(have)}"
        )
    return name


def check_precision(spec: ReplicasSpec) -> None:
    """Refuse a precision that the device does not have.

    Raises:
        HardwareError: It does not, or the dtype is not float32.
    """
    if spec.precision == "full":
        return
    device = find_device(spec.device)
    if spec.dtype != "float32":
        raise HardwareError(f"precision {spec.precision!r} needs dtype 'float32'")
    if spec.precision == "tf32":
        if device == "cpu" or torch.cuda.get_device_capability(device) < (8, 0):
            raise HardwareError(
                f"precision 'tf32' needs an NVIDIA GPU from Ampere on, not {device}: "
                "use 'full'"
            )
    elif device != "cpu" or not has_bf16_products():
        raise HardwareError(
            f"precision 'bf16' needs a CPU that multiplies in bfloat16 (AMX), which "
            f"this {device} does not: use 'full'"
        )


@cache
def has_bf16_products() -> bool:
    """Whether float32 products through bfloat16 happen here when asked for.

    Tried, not looked up: torch takes the setting on any CPU, and goes on in float32
    where the processor or the library has no faster way.
    """
    a = torch.linspace(0.5, 1.5, 2**16).view(256, 256)
    with product_precision("full"):
        exact = a @ a
    with product_precision("bf16"):
        coarse = a @ a
    return bool(((coarse / exact - 1).abs() > 1e-4).any())


@contextmanager
def product_precision(precision: str) -> Iterator[None]:
    """Products of float32 tensors inside are computed in this precision."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(_MATMUL_PRECISION[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
