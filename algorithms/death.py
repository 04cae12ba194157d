"""What becomes of a member's return when it leaves before its team: under a team's reward it goes on.

Every member is paid the team's reward, so what it did before it left has its share in all that the team earns afterwards;
its return ends with the team's episode, not with its own, whatever part of the team it is of. Its rows after it left are learned
from by nobody, and are needed only to pass rewards back through. What follows them is worth what those members expect who are
there (`marl.survivors`); where these are soft values (`algorithms.isac`) their own entropy is in them. (Yu et al. 2022 let the
return go on as well, over the value of a row of zeros, which then has to be learned.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.joint import Joint
from marl.replay import LaneBuffer

Array = npt.NDArray[Any]


def left_behind(buffer: LaneBuffer) -> tuple[Array, Array] | None:
    """(what a team has still to earn after, whether it played in) every row [n * B * T] of a rollout; None if nobody of it ever left."""
    told = None if buffer.survivors is None else buffer.survivors.rollout()
    return None if told is None else (np.tile(told[0], buffer.agents), np.tile(told[1], buffer.agents))


def team_rows(buffer: LaneBuffer, paid: Array) -> Joint:
    """A rollout's rows, each [n * B * T], whose ends are those of the team's game."""
    return Joint(paid, buffer.ends()[0], buffer.truncated, buffer.rows)


def carried_on(buffer: LaneBuffer, beyond: Array, value: Array, following: Array) -> tuple[Array, Array]:
    """V(o) and V(o') of a rollout's rows, lanes' or a team's [N], where nobody is there what the team has still to earn `beyond` them.

    What follows one row is the value of the next, unless an episode ended in between.
    """
    rows = np.arange(len(value))
    left, ended = buffer.outlived(rows), buffer.truncated[rows]
    after = np.where(left, beyond[rows], following).astype(value.dtype)
    here, before = value.reshape(-1, buffer.rows).copy(), (left & ~ended).reshape(-1, buffer.rows)[:, :-1]
    here[:, 1:] = np.where(before, after.reshape(-1, buffer.rows)[:, :-1], here[:, 1:])
    return here.reshape(-1), after


def bequeathed(window: Any, index: Array, value: Tensor) -> Tensor:
    """V' [N, ...] of what follows rows of a `marl.window.Window`, where a member had left that of its team."""
    return inherited(window.buffer, window.rows[index], value)


def inherited(buffer: Any, rows: Array, value: Tensor) -> Tensor:
    """The same of rows [N] of a buffer, or of sequences' rows to learn from with V' [M, L]: members are asked along the same ticks."""
    left = buffer.outlived(rows)
    if not left.any():
        return value
    if hasattr(buffer, "stretched"):
        left = left.reshape(value.shape)
        which = np.flatnonzero(left.any(1))
        theirs = torch.as_tensor(buffer.survivors.worth(*buffer.when(buffer.stretched(rows)[which]))).to(value)
        value[which] = torch.where(torch.as_tensor(left[which], device=value.device), theirs, value[which])
        return value
    which = np.flatnonzero(left)
    value[which] = torch.as_tensor(buffer.survivors.worth(*buffer.when(rows[which]))).to(value).view_as(value[which])
    return value
