"""What becomes of a member's return when it leaves before its team: under a team's reward it goes on.

Every member is paid the team's reward, so what it did before it left has its share in all that the team earns afterwards;
its return ends with the team's episode, not with its own. Its rows after it left are learned from by nobody, and are
needed only to pass rewards back through. There its value is taken to be the mean of those members' who are there: each
estimates the same number, what the team has still to earn. (Yu et al. 2022 let the return go on as well, over the value of
a row of zeros, which then has to be learned.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from marl.joint import Joint
from marl.replay import LaneBuffer

Array = npt.NDArray[Any]


def team_ends(buffer: LaneBuffer) -> tuple[Array, Array]:
    """(terminated, truncated), each [n * B * T]: a row is the last of all its copy's members, where none goes on after it."""
    over, cut = (flags.reshape(buffer.agents, -1) for flags in (buffer.terminated, buffer.truncated))
    terminated = over.all(0)
    truncated = cut.any(0) & ~terminated
    return np.tile(terminated, buffer.agents), np.tile(truncated, buffer.agents)


def carried_on(buffer: LaneBuffer, paid: Array, value: Array, following: Array) -> tuple[Joint, Array, Array]:
    """Rows whose ends are the team's, V(o) and V(o'), each [n * B * T], with those of members that had left filled in."""
    alive, over = (flags.reshape(buffer.agents, -1) for flags in (buffer.alive, buffer.terminated))
    here = [_filled(x.reshape(alive.shape), present).reshape(-1) for x, present in ((value, alive), (following, alive & ~over))]
    return Joint(paid, *team_ends(buffer), buffer.rows), here[0], here[1]


def _filled(value: Array, present: Array) -> Array:
    """[n, N], the mean over who is present in place of the others'; where nobody is, 0."""
    mean = np.where(present, value, 0.0).sum(0) / np.maximum(present.sum(0), 1)
    filled: Array = np.where(present, value, mean).astype(value.dtype)
    return filled
