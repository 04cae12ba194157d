"""What no listener can beat: a bound on the returns of speaker and listener, whatever is said and learned.

Let a listener know the goal from the first tick on, and let it push in part along both axes, |u_x| + |u_y| <= 1, where the
game allows one direction at a time. Places are linear in the pushes u [T, 2] of an episode, place_t = sum_k A[t, k] u_k, so that
the least sum of squared distances to a goal `way` off is a convex program,

    f(u) = sum_t |way - sum_k A[t, k] u_k|^2,  |u_k|_1 <= 1 for every tick k.

It is solved by accelerated projected gradient (Beck and Teboulle 2009). The value returned is f(u) less the Frank-Wolfe gap
<f'(u), u> + sum_k max_axis |f'(u)_k| (Jaggi 2013), so that it lies below the minimum however far the iteration came.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from envs.classic.particles import KEPT, MOTIONS, PUSH, TICK

Array = npt.NDArray[np.float64]

STEPS = 400
"""Of the iteration: leaves a gap of .1 % in 25 ticks."""


def travelled(horizon: int, motion: str) -> Array:
    """A [T, T]: place after tick t per full push in tick k."""
    speed, place, out = np.zeros(horizon), np.zeros(horizon), np.zeros((horizon, horizon))
    for t in range(horizon):
        pushed = KEPT * speed + PUSH * TICK * (np.arange(horizon) == t)
        place = place + TICK * (speed if motion == MOTIONS[0] else pushed)
        speed, out[t] = pushed, place
    return out


def least_squares(ways: Array, horizon: int, motion: str) -> Array:
    """[N] sums over the ticks of an episode of the squared distance that nobody stays below; ways [N, 2] from start to goal."""
    matrix = travelled(horizon, motion)
    size = 2.0 * np.linalg.norm(matrix, 2) ** 2
    goal = ways[:, :, None]
    u = ahead = np.zeros((len(ways), 2, horizon))
    pace = 1.0
    for _ in range(STEPS):
        after = _within(ahead - 2.0 * (ahead @ matrix.T - goal) @ matrix / size)
        faster = (1.0 + np.sqrt(1.0 + 4.0 * pace * pace)) / 2.0
        ahead = after + (pace - 1.0) / faster * (after - u)
        u, pace = after, faster
    off = u @ matrix.T - goal
    slope = 2.0 * off @ matrix
    gap = (slope * u).sum((1, 2)) + np.abs(slope).max(1).sum(1)
    least: Array = (off**2).sum((1, 2)) - gap
    return least


def _within(u: Array) -> Array:
    """The nearest pushes [N, 2, T] with |u_x| + |u_y| <= 1 in every tick."""
    size = np.abs(u)
    less = size - np.maximum(size.sum(1, keepdims=True) - 1.0, 0.0) / 2.0
    alone = np.where(size >= size[:, ::-1], 1.0, 0.0)  # the smaller push would turn negative: all goes to the larger one
    return np.asarray(np.sign(u) * np.where((less < 0.0).any(1, keepdims=True), np.minimum(alone, size), less))
