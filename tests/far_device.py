"""A device that is not there: its tensors hold values, which only transfers bring over.

They say that they lie on `meta`, so the code takes its way for a GPU. What looks at a
value on the host, or mixes both sides, is counted or fails, as it would with a GPU.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("meta")
_aten = torch.ops.aten
_LOOKS = (_aten._local_scalar_dense.default, _aten.item.default)
_COPIES = (_aten._to_copy.default, _aten.copy_.default)
# of these a GPU hands a size, or whether it went well, to the host by itself
_WAITS = ("bincount", "segment_reduce", "_linalg_eigh", "nonzero", "masked_select")


class _Far(torch.Tensor):
    @staticmethod
    def __new__(cls, near):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=FAR,
        )

    def __init__(self, near):
        self.near = near

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function}: a far tensor outside of its device")


class _Made(TorchFunctionMode):
    """`torch.tensor(values, device="meta")` would leave the values behind."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.tensor and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return torch.tensor(*args, **kwargs).to(device)
        return function(*args, **kwargs)


class FarDevice(TorchDispatchMode):
    """While it is entered, `device="meta"` means tensors with values, kept apart.

    Attributes:
        fetched: Transfers to the host.
        sent: Transfers from it.
        waits: Names of operations for which the host waits without a transfer of ours.
    """

    def __init__(self):
        super().__init__()
        self._made = _Made()
        self.forget()

    def __enter__(self):
        self._made.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._made.__exit__(*error)

    def forget(self):
        """Count from zero."""
        self.fetched, self.sent, self.waits = 0, 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [
            x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)
        ]
        far = [x for x in tensors if isinstance(x, _Far)]
        target = kwargs.get("device")
        goes_far = target is not None and torch.device(target).type == FAR.type
        if goes_far:
            kwargs["device"] = torch.device("cpu")
        stays_far = bool(far) and (target is None or goes_far)
        if function in _LOOKS:
            self.fetched += bool(far)
            stays_far = False
        elif function in _COPIES:
            stays_far = self._count_copy(function, args, far, goes_far, target)
        elif any(not isinstance(x, _Far) and x.dim() for x in tensors) and far:
            raise RuntimeError(f"{function}: tensors on two devices")
        name = function.name().removeprefix("aten::").partition(".")[0]
        if far and name in _WAITS and not kwargs.get("unsafe"):
            self.waits.append(name)
        near = tree_map(_near, (args, kwargs))
        result = function(*near[0], **near[1])
        if not (stays_far or goes_far):
            return result
        known = {id(x.near): x for x in far}  # what is written in place stays itself

        def take_there(x):
            if not isinstance(x, torch.Tensor):
                return x
            return known[id(x)] if id(x) in known else _Far(x)

        return tree_map(take_there, result)

    def _count_copy(self, function, args, far, goes_far, target):
        """Count a copy that crosses; returns whether what comes out is far."""
        if function is _aten.copy_.default:
            to, source = (isinstance(x, _Far) for x in args[:2])
        else:
            source = bool(far)
            to = goes_far or (source and target is None)
        self.sent += to and not source
        self.fetched += source and not to
        return to


def _near(x):
    return x.near if isinstance(x, _Far) else x
