"""What is handed to the C of this room, field by field as `step.c` declares it."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_double, c_int64, c_void_p

from torch import Tensor

from birthmark.training.compiled.tuning import Tuning


class Program(Structure):
    """What all replicas share."""

    _fields_ = (
        ("num_layers", c_int64),
        ("sizes", POINTER(c_int64)),
        ("batch_size", c_int64),
        ("pixels_NI", c_void_p),
        ("classes_N", c_void_p),
        ("full_scale", c_double),
        ("mean", c_double),
        ("std", c_double),
        ("loss", c_int64),
        ("eps", c_double),
        ("rectifies", c_int64),
        ("often", c_int64),
        ("cuts", c_int64),
    )

    def take(self, tuning: Tuning) -> None:
        """See `Tuning`."""
        self.often, self.cuts = tuning.often, tuning.cuts


class Stack(Structure):
    """Weights, biases and sums of the replicas."""

    _fields_ = (
        ("w", POINTER(c_void_p)),
        ("b", POINTER(c_void_p)),
        ("w_step", POINTER(c_int64)),
        ("b_step", POINTER(c_int64)),
        ("loss", c_void_p),
        ("correct", c_void_p),
        ("below_eps", c_void_p),
        ("saturated", c_void_p),
    )


class Course(Structure):
    """Examples in the order of one replica's epoch."""

    _fields_ = (("order_N", c_void_p), ("num_examples", c_int64))


class Crew(Structure):
    """Replicas that one worker trains on the same batches."""

    _fields_ = (
        ("replicas", POINTER(c_int64)),
        ("count", c_int64),
        ("made", POINTER(c_int64)),
    )


def whole_numbers(values: Sequence[int]) -> ctypes.Array[c_int64]:
    """A C array of 64-bit integers."""
    return (c_int64 * len(values))(*values)


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array[c_void_p]:
    """A C array of pointers to the first values; the tensors must outlive it."""
    return (c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
