"""Where a run is computed; refused when not to be had."""

import platform
from pathlib import Path

import torch

from birthmark.errors import HardwareError


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


def describe_device(device: str) -> str:
    """The processor or the GPU that a device is."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"cpu: {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()
