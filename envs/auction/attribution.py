# mypy: allow-untyped-defs, allow-incomplete-defs
"""Who gets the credit of a conversion: weights of its touches, which are at least 0 and sum to 1 (0 where there is no touch).

Touches are in order of time, the last the latest. last: all to the latest. linear: equal parts. time_decay: 2^(-age/half-life). position:
.4 to the first and to the last, .2 to those between in equal parts (halves where there are two). shapley: each channel's Shapley value
(Shapley 1953) in the game of the path's channels, whose worth is the conversion rate of paths by their set of channels; a negative one
counts as 0 and all are scaled to sum to 1; a channel's credit is split equally among its touches.
"""

from __future__ import annotations

import math

from envs.auction.params import LAST, LINEAR, POSITION, SHAPLEY, TIME_DECAY
from marl.compiled import rule

ENDS = 0.4
"""Credit of the first and of the last touch under `position`."""


@rule
def weights(kind, count, age, half_life, out):
    """out [count] of the kinds that look at order and age alone; age [count] in the half-life's unit."""
    total = 0.0
    for i in range(count):
        if kind == LAST:
            out[i] = 1.0 if i == count - 1 else 0.0
        elif kind == TIME_DECAY:
            out[i] = math.pow(2.0, -age[i] / half_life)
        elif kind == POSITION and count > 2:
            out[i] = ENDS if i == 0 or i == count - 1 else (1.0 - 2.0 * ENDS) / (count - 2)
        else:
            out[i] = 1.0
        total += out[i]
    for i in range(count):
        out[i] = out[i] / total if total > 0.0 else 1.0 / count


@rule
def members(subset):
    """Channels in a set, which is a word with a bit for each."""
    count = 0
    while subset > 0:
        count += subset & 1
        subset >>= 1
    return count


@rule
def shapley_value(worth, whole, channel):
    """Shapley value of `channel` in the game of the set `whole`: the mean over orders of what it adds, worth [2^n] by set."""
    n, total = members(whole), 0.0
    rest = whole & ~(1 << channel)
    subset = rest
    while True:
        k = members(subset)
        chance = 1.0
        for i in range(k):  # k! (n - k - 1)! / n! as 1 / (n C(n - 1, k))
            chance *= (i + 1.0) / (n - 1.0 - i)
        total += chance / n * (worth[subset | (1 << channel)] - worth[subset])
        if subset == 0:
            break
        subset = (subset - 1) & rest
    return total


@rule
def by_channel(worth, count, channel, out):
    """Weights `shapley`: channel [count] of each touch, worth [2^n] of each set of channels -> out [count]."""
    whole, total = 0, 0.0
    for i in range(count):
        whole |= 1 << int(channel[i])
    for i in range(count):
        same = 0
        for j in range(count):
            same += int(channel[j]) == int(channel[i])
        out[i] = max(0.0, shapley_value(worth, whole, int(channel[i]))) / same
        total += out[i]
    for i in range(count):
        out[i] = out[i] / total if total > 1e-12 else 1.0 / count


__all__ = ["LINEAR", "SHAPLEY", "by_channel", "shapley_value", "weights"]
