"""Survivors: what a team still has to earn when a member has left, as those expect it who are there, of all parts that learn.

Under a team's reward (`marl.convention`) what a member did before it left has its share in all that the team earns afterwards,
whoever shares parameters with whom. So its last row is not the end of what it is paid: the row bootstraps from the mean over
the members who act in the following tick of what each of them expects from there. They all estimate one number, the team's return,
and each sees the game as it goes on. The row of the member that left would do as well where it still shows the game (EPyMARL's
learners bootstrap from it, Papoudakis et al. 2021), but no rule of the contract says that it does: where it is a row of
zeros, all that may follow would have one value. A part whose learner is central has one estimate, the others one a member.

Buffers of a team are written in the same ticks and hold equally many, so that a tick is found in each by its age.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from marl.replay import LaneBuffer

Array = npt.NDArray[Any]


class Survivors:
    """The learners of a team and their buffers, by part. Learners have `expects(buffer, index)`, V of what follows rows [X, ...]."""

    def __init__(self, learners: Mapping[str, Any], buffers: Mapping[str, LaneBuffer]) -> None:
        self._learners, self._buffers = learners, buffers
        self._asked, self._found = False, cast("tuple[Array, Array] | None", None)

    def worth(self, copy: Array, age: Array) -> Array:
        """[K, ...] what the team has still to earn after ticks: of copies copy [K], `age` [K] ticks before the newest.

        Learners with memory are asked along slices, copy and age [K, W], and answer [K, L], of the last L ticks of each.
        """
        total: Array | None = None
        count: Array | float = 0.0
        for name, buffer in self._buffers.items():
            rows = buffer.seats(copy, age)
            there = buffer.there(rows)
            asked = there.reshape(*rows.shape[:2], -1).any(2)
            if not asked.any():
                continue
            value = self._learners[name].expects(buffer, rows[asked])
            present = there[asked] if there.ndim == 2 else there[asked][:, -value.shape[1] :]
            present = present.reshape(present.shape + (1,) * (value.ndim - present.ndim))
            which, shape = np.nonzero(asked)[1], (len(copy), *value.shape[1:])
            total = np.zeros(shape) if total is None else total
            np.add.at(total, which, np.where(present, value, 0.0))
            there_are = np.zeros((len(copy), *present.shape[1:]))
            np.add.at(there_are, which, present)
            count = count + there_are
        return np.zeros(len(copy)) if total is None else total / np.maximum(count, 1.0)

    def rollout(self) -> tuple[Array, Array] | None:
        """What the team has still to earn after every tick of a rollout [B * T], and whether anybody acted in it [B * T]; None if all did.

        Found when it is first asked for, before anybody has learned from the rollout, and the same for all until `forget`.
        """
        if not self._asked and not all(buffer.alive.all() and not buffer.left.any() for buffer in self._buffers.values()):
            some = next(iter(self._buffers.values()))
            copy, age = some.when(np.arange(some.copies * some.rows))
            played = np.any([buffer.there_was(copy, age) for buffer in self._buffers.values()], 0)
            self._found = self.worth(copy, age).astype(np.float32), played
        self._asked = True
        return self._found

    def forget(self) -> None:
        """Another rollout begins."""
        self._asked, self._found = False, None
