"""What all attacks draw: a try, and what becomes of bytes."""

import random
from collections.abc import Callable

Try = Callable[[], bool]  # whether what came is right


def harm(whole: bytes, draw: random.Random) -> bytes:
    """The content with a bit flipped, or cut short."""
    if draw.random() < 0.3:
        return whole[: draw.randrange(len(whole))]
    flipped = bytearray(whole)
    flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
    return bytes(flipped)
