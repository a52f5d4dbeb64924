"""Where a finding begins, and where each line comes from.

Nothing here is tuned on the models of the tests. Counts of tensors and layers are
covered by the tail chosen: at four standard errors one true null in 16,000 is refused.
"""

from __future__ import annotations

import math

# Schoenholz et al. 1611.01232, §5: networks train up to a depth of about 6 xi, where
# second moments and 1 - correlation have changed by e^6. Twice that depth is beyond.
TRAINABLE = 6.0
BEYOND = 12.0

# Hanin & Rolnick 1803.01719: ln of the second moment after a ReLU layer of width n has
# the variance 5 / n over draws.
WIDTH_VARIANCE = 5.0

ERRORS = 4.0  # standard errors: two-sided tail 6e-5

# The largest gain of any rule on fan_in: tanh's (5/3)^2 in torch's table.
LARGEST_GAIN = 25 / 9

# Activations that keep half of the second moment: they want a gain near 2.
RECTIFIERS = ("relu", "leaky_relu", "gelu", "silu", "mish", "hardswish")

# Every rule assumes inputs of second moment 1. At 10, each layer up to the first norm
# and the logits' variance are ten times what the rule intends.
INPUT_MOMENT = 10.0
FAINT_INPUT = 1e-4  # rms 0.01: pixels divided twice

# A symmetric law kills no more than half of the units, whatever the data: each unit
# and its mirror image have the same probability, and both are silent only at z = 0.
SYMMETRIC_DEAD = 0.5

# Fresh units, drawn anew on the same inputs, are the null model where there is one.
FRESH_UNITS = 256
LARGE_SHARE = 0.25  # half of what a symmetric law can kill: worth a note, no more

# More than half of the numbers pass less than 1 % of the gradient.
SATURATED = 0.5

# ln C + (1 - 1/C) s^2 / 2 is within 9 % up to s = 2 for ten classes.
LOGIT_STD = 2.0
# At twice ln C the outputs cost as much again as knowing nothing does.
LOSS_FACTOR = 2.0

# Normal draws reach 8.5 median sizes in 1e8 numbers; heavy tails of trained weights
# reach some hundreds. Memory that was never written spans the range of the exponent.
REACH = 1e6

# Of a tensor that all families refuse, among tensors that were drawn: heavy tails.
GARBAGE = 30.0

# Gates of layer scale start between 1e-6 and 1e-2 (Touvron et al. 2103.17239).
GATE = 0.02

# Siblings: as many as can outvote one, and a tenth beyond sampling errors.
FEWEST_SIBLINGS = 4
SIBLING_GAP = 0.1

# The smallest singular value of a square matrix of n independent draws is below 1e-6 of
# the largest with a chance of about 2e-6 n (Edelman 1988); two at once never are.
LOST_RANK = 2

# Of a softmax over eight keys and more: one key has all but a tenth of the weight.
ONE_HOT = 0.9

# Targets a hundred times as large as outputs: the first steps move the last bias alone.
TARGET_MOMENT = 1e4

# Of eight balanced draws from two classes all are alike once in 128 batches.
FEWEST_LABELS = 8

# An update as large as the tensor itself replaces the initialization.
LARGE_UPDATE = 1.0

# Half of a tensor's gradient below the smallest normal number of its type.
FLUSHED = 0.5


def width_error(widths: list[int]) -> float:
    """Standard error of ln of a second moment after layers of these widths."""
    return math.sqrt(WIDTH_VARIANCE * sum(1 / max(n, 1) for n in widths))


def share_error(share: float, count: int) -> float:
    """Standard error of a share of `count`, not below that of a single one."""
    return math.sqrt(max(share * (1 - share), 1 / count) / count)
