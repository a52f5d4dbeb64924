"""How products are computed: in which precision, and by which of torch's libraries."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from birthmark.errors import HardwareError
from birthmark.spec import RunSpec
from birthmark.training.compiled import CompiledPath
from birthmark.training.devices import describe_device, find_device
from birthmark.training.kept_trials import keep_trial

_SETTINGS = ("highest", "medium")
_ROUNDS = 20
_WORTH_IT = 1.2  # times as quick must another library be to be taken


def check_precision(spec: RunSpec) -> None:
    """Refuse a precision that the device does not have.

    Raises:
        HardwareError: It does not, or the dtype is not float32.
    """
    precision = spec.run.precision
    if precision == "full":
        return
    device = find_device(spec.run.device)
    if spec.network.is_convolutional:
        raise HardwareError(
            f"precision {precision!r} is of products of matrices, and convolutions are "
            "none: use 'full'"
        )
    if spec.run.dtype != "float32":
        raise HardwareError(f"precision {precision!r} needs dtype 'float32'")
    if precision == "tf32":
        if device == "cpu" or torch.cuda.get_device_capability(device) < (8, 0):
            raise HardwareError(
                f"precision 'tf32' needs an NVIDIA GPU from Ampere on, not {device}: "
                "use 'full'"
            )
    elif not (device == "cpu" and has_bf16_products()) and not CompiledPath.fits(
        spec, device
    ):
        raise HardwareError(
            "precision 'bf16' needs a CPU with AMX, or for relu networks, "
            "cross-entropy and plain SGD one with AVX512-BF16 and a C compiler, not "
            f"{describe_device(device)}: use 'full'"
        )


@cache
def has_bf16_products() -> bool:
    """Whether torch computes float32 products through bfloat16 when asked to.

    Tried, not looked up: torch takes the setting on any CPU, and goes on in float32
    where the processor or the library has no faster way.
    """
    a = torch.linspace(0.5, 1.5, 2**16).view(256, 256)
    with product_setting("highest"):
        exact = a @ a
    with product_setting("medium"):
        coarse = a @ a
    return bool(((coarse / exact - 1).abs() > 1e-4).any())


def choose_products(spec: RunSpec) -> str:
    """The setting of torch under which this run's products are computed.

    For float32 on a CPU that is the quicker of two libraries: oneDNN, which torch asks
    under "medium" and which goes on in float32 where there are no products through
    bfloat16, and the default. On AMD's processors the default (MKL) leaves the wider
    vectors unused. It is tried once on a machine, and kept in the user's cache.
    """
    precision, device = spec.run.precision, find_device(spec.run.device)
    if precision != "full":
        return {"tf32": "high", "bf16": "medium"}[precision]
    if device != "cpu" or spec.run.dtype != "float32" or has_bf16_products():
        return "highest"
    return _quicker_setting()


def _quicker_setting() -> str:
    """What the first trial on a machine like this one has found.

    Sums are split otherwise by each library: in what is kept, bits are.
    """
    words = [f"torch {torch.__version__}"]
    return keep_trial("products", words, _try_settings, _SETTINGS.__contains__)


def _try_settings() -> str:
    a = torch.ones(512, 512)
    seconds = dict.fromkeys(_SETTINGS, float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_ROUNDS):  # in turn, so that a disturbance meets both
            for setting, best in seconds.items():
                with product_setting(setting):
                    started = time.perf_counter()
                    a @ a
                    seconds[setting] = min(best, time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return "medium" if seconds["medium"] * _WORTH_IT < seconds["highest"] else "highest"


@contextmanager
def product_setting(setting: str) -> Iterator[None]:
    """Products of float32 tensors inside are computed under this setting of torch.

    Convolutions on a GPU, which torch rounds to TF32 unless told not to, are computed
    in full, and in the same order each time.
    """
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision()
    convolutions = cudnn.allow_tf32, cudnn.deterministic
    torch.set_float32_matmul_precision(setting)
    cudnn.allow_tf32, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        cudnn.allow_tf32, cudnn.deterministic = convolutions
