"""Point particles on a plane, shared by spread and speaker-listener: drawn places, the push of an action, motion.

The multi-agent particle environments (Lowe et al. 2017, "Multi-agent actor-critic for mixed cooperative-competitive
environments"), with the figures of their maintained version, mpe2: a tick is .1 s, a quarter of the speed is lost in
each, a particle weighs 1 and its action pushes it with 5. Lengths are in half-widths of the field, [-1, 1] squared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marl.compiled import rule
from marl.game import F8, ActionTable, Column, Discrete
from marl.rng import draw

TICK = 0.1
"""Seconds."""

KEPT = 0.75
"""Share of the speed that is left after a tick."""

PUSH = 5.0
"""Force of an action on a particle of mass 1."""

MOVES = ("stay", "left", "right", "down", "up")
DISCRETE, CONTINUOUS = "discrete", "continuous"
KINDS = (DISCRETE, CONTINUOUS)


def moves(kind: str) -> ActionTable:
    """A choice of a direction, or continuous pushes in all of them; `stay` does nothing."""
    if kind == DISCRETE:
        return {"move": Discrete(len(MOVES), MOVES)}
    return {name: Column(0, 1, "share of the full push") for name in MOVES}


@rule
def scatter(places, b, n, numbers, first):
    """Places [B, n, 2] of copy b uniform on the field, from numbers first .. first + 2n - 1 of the stream."""
    for i in range(n):
        places[b, i, 0] = 2.0 * draw(numbers, first + 2 * i) - 1.0
        places[b, i, 1] = 2.0 * draw(numbers, first + 2 * i + 1) - 1.0


@rule
def push(action, b, a, kind, axis):
    """Force of agent a's action along axis 0 (right) or 1 (up); kind is the position in KINDS."""
    if kind == 0:
        chosen = int(action[b, a, 0])
        return PUSH * ((chosen == 2 + 2 * axis) - (chosen == 1 + 2 * axis))
    return PUSH * (action[b, a, 2 + 2 * axis] - action[b, a, 1 + 2 * axis])


MOTIONS = ("mpe2", "mpe_2017")
"""mpe2: a particle first moves with the speed it has, then is slowed and pushed. The environments of 2017: slowed and pushed,
then moved, so that a push is felt a tick earlier."""


@rule
def glide(place, speed, b, i, axis, force, motion):
    """One tick along one axis; motion is the position in MOTIONS."""
    if motion == 0:
        place[b, i, axis] += speed[b, i, axis] * TICK
        speed[b, i, axis] = speed[b, i, axis] * KEPT + force * TICK
    else:
        speed[b, i, axis] = speed[b, i, axis] * KEPT + force * TICK
        place[b, i, axis] += speed[b, i, axis] * TICK


AHEAD = 3
"""Ticks that scripted players look ahead: of 1 to 10 and of the place of rest, the number with the best returns in both games."""

COAST = TICK * (1.0 - KEPT**AHEAD) / (1.0 - KEPT)
"""What a speed of 1 travels in that time; a full push for a tick gives a speed of PUSH * TICK."""


def towards(kind: str, speed: F8, way: F8) -> F8:
    """[N, U] the move after which the particle, AHEAD ticks later, is nearest to where `way` [N, 2] leads; speed [N, 2]."""
    left = way - COAST * speed
    ends = np.array([[0.0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]]) * COAST * PUSH * TICK
    best = np.linalg.norm(left[:, None] - ends, axis=2).argmin(1)
    if kind == DISCRETE:
        return best[:, None].astype(np.float64)
    out: Any = np.zeros((len(best), len(MOVES)))
    share = np.clip(left / (COAST * PUSH * TICK), -1, 1)
    out[:, 1:] = np.stack([-share[:, 0], share[:, 0], -share[:, 1], share[:, 1]], 1).clip(0, 1)
    return out
