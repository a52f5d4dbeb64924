"""Random streams by address: who draws, for which replica, for what.

A stream depends on its address alone. The same replica draws the same numbers whatever
the size of its stack, the device, the framework, and whoever else is trained. NumPy's
Philox is counter-based (Salmon et al., SC 2011); its key is the SHA-256 of the address.
"""

import hashlib
import json

import numpy as np

from birthmark.shapes import Array


def stream(seed: int, replica: int, purpose: str, tensor: str) -> np.random.Generator:
    """The stream at one address, at its beginning.

    Args:
        seed: Seed of the run.
        replica: Number of the replica in the run, from 0.
        purpose: What is drawn: `initial`, `order`, ...
        tensor: Which tensor, or for an order which epoch.
    """
    address = json.dumps([seed, replica, purpose, tensor]).encode()
    key = int.from_bytes(hashlib.sha256(address).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))


def order_draws(seed: int, replica: int, epoch: int, num_examples: int) -> Array:
    """Uniforms [N] float64; sorted stably they give the `batch_order` of an epoch."""
    return stream(seed, replica, "order", f"epoch{epoch}").random(num_examples)


def batch_order(seed: int, replica: int, epoch: int, num_examples: int) -> Array:
    """The order in which one replica visits the training set in one epoch, [N] int64.

    Sorting float64 uniforms instead of shuffling ties the order to the raw Philox
    output alone: the shuffling algorithm of a library may change between versions.
    """
    return stable_order(order_draws(seed, replica, epoch, num_examples))


def buffered_order(
    seed: int,
    replica: int,
    epoch: int,
    num_examples: int,
    size: int,
    *,
    coming: Array | None = None,
) -> Array:
    """The order of one epoch when a stream is shuffled in a buffer, [N] int64.

    The stream has the `batch_order` of epoch 0 in all epochs. Its first examples fill
    the buffer; each draw takes one of those that it holds, and the next of the stream
    comes in its place (`tf.data.Dataset.shuffle`).

    Args:
        seed: Seed of the run.
        replica: Number of the replica in the run, from 0.
        epoch: Number of the epoch, from 0.
        num_examples: Length of the stream, N.
        size: How many examples the buffer holds; 1 leaves the stream as it is.
        coming: The stream, [N], where it is at hand; drawn unless given.
    """
    if coming is None:
        coming = batch_order(seed, replica, 0, num_examples)
    size = min(size, num_examples)
    held = np.minimum(size, num_examples - np.arange(num_examples))  # at each draw
    draws = stream(seed, replica, "buffer", f"epoch{epoch}").random(num_examples)
    places = (draws * held).astype(np.int64)

    # while the stream lasts, a draw takes what the last draw of its place let in
    refilled = num_examples - size
    # (sorted as one number, which is quicker than a stable sort by place)
    numbers = places[:refilled] * num_examples + np.arange(refilled)
    place, by_place = np.divmod(np.sort(numbers), num_examples)
    again = place[1:] == place[:-1]
    taken = places.copy()  # in the stream; what a place held from the beginning
    taken[by_place[1:][again]] = size + by_place[:-1][again]

    # at its end the last example of the buffer moves into the gap
    buffer = np.arange(size)
    buffer[places[:refilled]] = size + np.arange(refilled)
    left = buffer.tolist()
    for i in range(refilled, num_examples):
        place = places[i]
        taken[i], left[place] = left[place], left[-1]
        left.pop()
    order: Array = coming[taken]
    return order


def stable_order(draws: Array) -> Array:
    """The indices [N] that sort the draws, equal ones in the order in which they stand.

    Without equal draws (of 2^53) that is what any sort gives, and NumPy's others are
    several times as quick.
    """
    order: Array = np.argsort(draws)
    in_order = draws[order]
    if (in_order[1:] == in_order[:-1]).any():
        return np.argsort(draws, kind="stable")
    return order
