"""What a user gives in the place of the spec's own: data, loss and optimizer.

They make no run key by themselves, so a stored run is named by their sources and by the
numbers that come of them.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from birthmark.errors import SpecError, say_error
from birthmark.measurements import fingerprint

LossFunction = Callable[[Any, Tensor], Tensor]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]
_WANTED = (
    "give (x_train, y_train, x_test, y_test) as arrays or tensors, or two data sets of "
    "torch, for training and for test"
)


@dataclass(frozen=True)
class OwnData:
    """Examples as a user's model takes them; targets are whatever the loss takes."""

    name: str
    x_train: Tensor  # [N, ...]
    y_train: Tensor  # [N, ...]
    x_test: Tensor
    y_test: Tensor

    @property
    def num_classes(self) -> int:
        """C, where targets are classes 0 ... C - 1; 0 where they are not."""
        halves = (self.y_train, self.y_test)
        if any(y.ndim != 1 or y.is_floating_point() or y.min() < 0 for y in halves):
            return 0
        return int(max(y.max() for y in halves)) + 1

    @property
    def checksum(self) -> str:
        """SHA-256 of all examples and targets."""
        return fingerprint(
            {key: value for key, value in vars(self).items() if key != "name"}
        )


@dataclass(frozen=True)
class OwnParts:
    """What does not come from the spec; None where it does."""

    data: OwnData | None = None
    loss: LossFunction | None = None
    optimizer: MakeOptimizer | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in vars(self).values())


class OwnExamples:
    """Half of such data on a device; goes where `training.Examples` goes."""

    def __init__(self, x: Tensor, y: Tensor, dtype: torch.dtype, device: str) -> None:
        self._x, self.classes_N = (
            part.to(device, dtype if part.is_floating_point() else part.dtype)
            for part in (x, y)
        )

    def __len__(self) -> int:
        return len(self.classes_N)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets at an index."""
        return self._x[index], self.classes_N[index]

    def slices(self, size: int) -> Iterator[Tensor]:
        """Indices that go through all examples in order."""
        device = self.classes_N.device
        for start in range(0, len(self), size):
            yield torch.arange(start, min(start + size, len(self)), device=device)


def read_own_data(given: Any) -> OwnData:
    """Four arrays, two pairs, or two data sets or loaders of torch; or what gives them.

    Raises:
        SpecError: It is none of these, or inputs and targets are not equally many.
    """
    name = name_function(given) if callable(given) else "own data"
    try:
        parts = given() if callable(given) else given
    except Exception as error:
        said = say_error(error)
        raise SpecError(f"own data {name} failed ({said}): {_WANTED}") from error
    if not isinstance(parts, tuple | list) or len(parts) not in (2, 4):
        raise SpecError(f"own data came as {type(parts).__name__}: {_WANTED}")
    if len(parts) == 2:
        parts = [array for half in parts for array in _unpack(half)]
    x_train, y_train, x_test, y_test = map(_to_tensor, parts)
    for half, x, y in (("training", x_train, y_train), ("test", x_test, y_test)):
        if not x.ndim or not y.ndim or len(x) != len(y) or len(x) < 2:
            raise SpecError(
                f"{half} data have inputs {list(x.shape)} and targets {list(y.shape)}: "
                "give as many targets as inputs, 2 at least"
            )
    return OwnData(name, x_train, y_train, x_test, y_test)


def _unpack(half: Any) -> tuple[Any, Any]:
    """Inputs and targets of a pair, of a data set or of a loader, whole."""
    if isinstance(half, tuple | list) and len(half) == 2:
        return half[0], half[1]
    try:
        if isinstance(half, DataLoader):
            batches = list(half)
        else:
            batches = [default_collate([half[i] for i in range(len(half))])]
        x, y = (torch.cat([batch[at] for batch in batches]) for at in (0, 1))
    except Exception as error:
        said = say_error(error)
        kind = type(half).__name__
        raise SpecError(f"cannot read a {kind} ({said}): {_WANTED}") from error
    return x, y


def _to_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        tensor = value.detach()
        if tensor.is_complex() or tensor.is_meta or tensor.layout is not torch.strided:
            kind = "meta" if tensor.is_meta else f"{tensor.layout} {tensor.dtype}"
            raise SpecError(f"own data are a {kind} tensor: give dense, real numbers")
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise SpecError(f"own data hold {array.dtype}: give numbers")
        # neither read-only, nor of more bytes than torch knows
        is_long = array.dtype.kind == "f" and array.dtype.itemsize > 8
        dtype = np.dtype(np.float64) if is_long else array.dtype.newbyteorder("=")
        tensor = torch.from_numpy(np.require(array, dtype, ["C", "W"]))
    return tensor if tensor.is_floating_point() else tensor.long()


def name_function(function: Any) -> str:
    """`net.py:make_model`, or the name alone where no file has it."""
    named = _find_named(function)
    name = named.__qualname__.replace("<locals>.", "")
    file = _file_of(named)
    return f"{file.name}:{name}" if file is not None else str(name)


def hash_source(function: Any) -> str:
    """16 digits of the file in which a function stands, and of what it holds.

    What that file imports is not looked at.
    """
    named, function = _find_named(function), inspect.unwrap(function)
    cells = getattr(function, "__closure__", None) or ()
    held = [cell.cell_contents for cell in cells if _is_plain(cell.cell_contents)]
    held += list(filter(_is_plain, getattr(function, "__defaults__", None) or ()))
    shown = "" if named is function else re.sub(r" at 0x\w+", "", repr(function))
    text = f"{_source_of(named)}\n{named.__qualname__}\n{held!r}\n{shown}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _find_named(function: Any) -> Any:
    """The function or class itself, or the class of an object that is called."""
    function = inspect.unwrap(function)
    return function if hasattr(function, "__qualname__") else type(function)


def _source_of(named: Any) -> str:
    file = _file_of(named)
    if file is not None:
        return file.read_text(encoding="utf-8", errors="replace")
    try:
        return inspect.getsource(named)  # a cell of a notebook
    except (OSError, TypeError):
        code = getattr(named, "__code__", None)
        return "" if code is None else f"{code.co_code.hex()} {code.co_names}"


def _file_of(named: Any) -> Path | None:
    try:
        file = Path(inspect.getsourcefile(named) or "")
    except TypeError:  # of C
        return None
    return file if file.is_file() else None


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | tuple | None)
