"""Hindsight experience replay: rows seen as if the goal had been what was reached later (Andrychowicz et al. 2017).

Of the rows drawn, each is relabelled with probability k / (k + 1), the strategy `future` with k goals a row: its goal becomes
what was achieved after a tick drawn uniformly from its own to its episode's last (or newest) one; the reward, and whether
the game is over, are what the game says of that goal, or it ends as it did where goals end nothing. The only goal later than an
episode's last tick is what that tick reached: so its row is an end under any label, whatever the game ended for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.game import Aims
from marl.replay import Array, LaneBuffer
from marl.window import Window


class HindsightBuffer(LaneBuffer):
    """A ring of rows whose draws are relabelled by `aims`; `goals` is k."""

    def __init__(self, *shape: int, aims: Aims, goals: float, **how: Any) -> None:
        self.aims, self._share = aims, goals / (goals + 1.0)
        self._ends: Array | None = None
        super().__init__(*shape, **how)

    def write(self, values: Mapping[str, Array], ended: Array | None, living: Array | None) -> None:
        """As its parent's."""
        super().write(values, ended, living)
        self._ends = None

    def reset(self, keep_statistics: bool = False) -> None:
        """Forget all rows."""
        super().reset(keep_statistics)
        self._ends = None

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(saved)
        self._ends = None

    def _last(self) -> Array:
        """By lane and age, [lanes, filled] from the oldest row on: the age of its episode's last row so far."""
        if self._ends is None:
            order = (self._at - self._filled + np.arange(self._filled)) % self.rows
            done = self.done.reshape(-1, self.rows)[:, order]
            ends = np.where(done, np.arange(self._filled), self._filled - 1)
            self._ends = np.minimum.accumulate(ends[:, ::-1], 1)[:, ::-1]
        return self._ends

    def later(self, index: Array) -> npt.NDArray[np.intp]:
        """For each of the rows `index` [N] one of its episode, drawn uniformly from itself on."""
        lane, t = np.divmod(index, self.rows)
        age = (t - self._at + self._filled) % self.rows
        ahead = self._last()[lane, age] - age
        chosen = (self._random_state.random_sample(len(index)) * (ahead + 1)).astype(np.intp)
        found: npt.NDArray[np.intp] = lane * self.rows + (t + chosen) % self.rows
        return found

    def sample(self, batch_size: int | None) -> tuple[Any, npt.NDArray[np.intp]]:
        """Uniform rows, relabelled; whole rollouts as they are."""
        if not batch_size:
            return super().sample(batch_size)
        index = self.sample_indices(batch_size)
        rows = self[index]
        which = np.flatnonzero(self._random_state.random_sample(len(index)) < self._share)
        goal = self.obs_next[self.later(index[which])][:, self.aims.achieved]
        for name in ("obs", "obs_next"):
            rows.__dict__[name][which[:, None], self.aims.desired] = goal
        reward, over = self.aims.outcome(rows.obs_next[which][:, self.aims.achieved], goal)
        rows.rew[which] = reward
        over = over if self.aims.ends else rows.terminated[which]
        ended = rows.truncated[which] | over
        rows.terminated[which], rows.truncated[which], rows.done[which] = over, rows.truncated[which] & ~over, ended
        return rows, index

    def window(self, batch: Any, index: Array, steps: int) -> Window:
        """Of the rows as they were relabelled: one tick."""
        if steps > 1:
            raise ValueError(f"{steps} ticks of a relabelled row: what followed it had another goal")
        found = Window(self, index, 1)
        found.rew, found.done, found.terminated, found.obs_next = batch.rew, batch.done, batch.terminated, batch.obs_next
        return found
