"""TeamBuffer: lanes seen as team rows, what all agents of a part saw and did in one tick of one copy, with the global state.

A team row has flat index b * T + t. Its lanes are views of the same storage: [n, B * T, ...], agent by agent. The team is
over where nobody goes on, of this part or another one of the team (`marl.survivors`); what a member saw and did after it left
is not learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tianshou.data import Batch

from marl.replay import Array, LaneBuffer

View = tuple[Array, ...]
"""What a critic is given at once."""


@dataclass(frozen=True)
class Joint:
    """A rollout's team rows as Tianshou's return estimator asks for them: each [B * T]."""

    rew: Array
    terminated: Array
    truncated: Array
    rows: int

    def unfinished_index(self) -> npt.NDArray[np.intp]:
        """The newest row of every copy."""
        return np.arange(self.rows - 1, len(self.rew), self.rows)


class TeamBuffer(LaneBuffer):
    """A LaneBuffer that also keeps the global state of every tick: `state` [B, T, S], and with `keep_next` what it led to."""

    central = True

    def __init__(self, agents: int, copies: int, rows: int, width: int, action_width: int, *, state_width: int, **how: Any) -> None:
        super().__init__(agents, copies, rows, width, action_width, **how)
        shape = (copies, rows, state_width)
        self.state = np.zeros(shape, np.float32)
        self.state_next = np.zeros(shape if self.keep_next else (0, 0, 0), np.float32)
        self.state_tail = np.zeros((copies, state_width), np.float32)

    def reset(self, keep_statistics: bool = False) -> None:
        """Forget all rows."""
        super().reset(keep_statistics)
        self.state_cuts: list[tuple[Array, Array]] = []

    def write(self, values: Mapping[str, Array], ended: Array | None, living: Array | None) -> None:
        """As a LaneBuffer, with state [B, S] among the values, and state_next where `keep_next`."""
        own = dict(values)
        self.state[:, self._at] = own.pop("state")
        if self.keep_next:
            self.state_next[:, self._at] = own.pop("state_next")
        super().write(own, ended, living)

    def write_state_cut(self, cut: Array, final_state: Array) -> None:
        """Final states [B, S] of the copies marked in cut [B], which the last row truncated."""
        copies = np.flatnonzero(cut)
        self.state_cuts.append((copies * self.rows + (self._at - 1) % self.rows, final_state[copies]))

    def write_state_tail(self, state: Array) -> None:
        """The state [B, S] that follows the last row."""
        self.state_tail[:] = state

    def newest_states(self, ticks: int) -> Array:
        """Global states [N, S] of the last `ticks` ticks."""
        found: Array = self.state[:, self.last_ticks(ticks)].reshape(-1, self.state.shape[2])
        return found

    def lanes(self, name: str) -> Array:
        """A field as [n, B * T, ...]: a view."""
        values = self._lanes[name]
        return values.reshape(values.shape[0], -1, *values.shape[3:])

    @property
    def anybody(self) -> Array:
        """Team rows in which a member acted, [B * T]."""
        found: Array = np.any(self.lanes("alive"), axis=0)
        return found

    def paid(self, index: Any = slice(None)) -> Array:
        """Reward of a team in the rows `index`, [N].

        Of a part whose convention is a team's (`marl.convention`), which pays all lanes the same, whoever acted.
        """
        own: Array = self.lanes("rew")[0][index]
        return own

    def over(self, index: Any = slice(None)) -> Array:
        """Team rows after which nobody of the team goes on, [N]."""
        found: Array = np.all(self.lanes("terminated")[:, index] & ~self.lanes("left")[:, index], axis=0)
        return found

    def seats(self, copy: Array, age: Array) -> Array:
        """Team rows [1, ...] in ticks of copies, both [...]: a central learner answers once for all its members."""
        found: Array = (copy * self.rows + (self._at - 1 - age) % self.rows)[None]
        return found

    def there(self, index: Array) -> Array:
        """Whether any member goes on after the team rows `index`."""
        found: Array = np.any(self.lanes("alive")[:, index] & ~self.lanes("terminated")[:, index], axis=0)
        return found

    def outlived(self, index: Array) -> Array:
        """Whether the team goes on after the team rows `index`, but none of this part's members."""
        found: Array = np.all(self.lanes("left")[:, index], axis=0)
        return found

    def ahead(self, index: Array, steps: int) -> tuple[Array, Array, Array]:
        """Of team rows [N]: (rewards [k, N] of those up to k = `steps` ticks on, which of them there are [k, N], the last one [N]).

        A row whose copy's episode ends is the last, and so is a copy's newest.
        """
        rows, held = [index], [np.ones(len(index), np.bool_)]
        newest = (self._at - 1) % self.rows
        for _ in range(steps - 1):
            last, t = rows[-1], rows[-1] % self.rows
            goes = held[-1] & ~self.ends(last)[1] & (t != newest)
            rows.append(np.where(goes, last - t + (t + 1) % self.rows, last))
            held.append(goes)
        return np.stack([self.paid(row) for row in rows]), np.stack(held), rows[-1]

    def joint(self) -> Joint:
        """The rollout as team rows."""
        terminated = self.over()
        return Joint(self.paid(), terminated, self.lanes("truncated").any(0) & ~terminated, self.rows)

    def state_views(self) -> tuple[View, View, list[tuple[Array, View]]]:
        """Global states of a rollout as a critic reads them: (all rows, what follows the last, [(team rows cut short, their ends)])."""
        flat = self.state.reshape(-1, self.state.shape[2])
        return (flat,), (self.state_tail,), [(index, (final,)) for index, final in self.state_cuts]

    def member_views(self) -> tuple[View, View, list[tuple[Array, View]]]:
        """The same of the members' observations [n, N, width] with who acts in them [n, N]."""
        alive, ended = self.lanes("alive"), self.lanes("terminated")
        last = slice(self.rows - 1, None, self.rows)
        tail = self.tail.reshape(self.agents, self.copies, -1), alive[:, last] & ~ended[:, last]
        cuts: list[tuple[Array, View]] = []
        for lanes, final in self.cuts:
            member, row = np.divmod(lanes, self.copies * self.rows)
            rows, place = np.unique(row, return_inverse=True)
            obs, acts = np.zeros((self.agents, len(rows), final.shape[1]), np.float32), np.zeros((self.agents, len(rows)), np.bool_)
            obs[member, place], acts[member, place] = final, self.alive[lanes] & ~self.terminated[lanes]  # all lanes, even of who had left
            cuts.append((rows, (obs, acts)))
        return (self.lanes("obs"), alive), tail, cuts

    def sample(self, batch_size: int | None) -> tuple[Any, npt.NDArray[np.intp]]:
        """From a replay, `batch_size` uniform team rows in which a member acted: lanes [n, N, ...], state [N, S]. Else as a LaneBuffer."""
        if not self.keep_next or not batch_size:
            return super().sample(batch_size)
        index = self.draw_rows(batch_size)
        return self.team_rows(index), index

    def team_rows(self, index: Array) -> Batch:
        """Lanes [n, N, ...] and states [N, S] of the team rows `index` [N]."""
        rows = Batch.__new__(Batch)
        lanes = {name: self.lanes(name).take(index, 1) for name in ("obs", "act", "obs_next")}  # contiguous, and far faster than [:, index]
        lanes |= {name: self.lanes(name)[:, index] for name in ("rew", "terminated", "alive")}
        flat = self.copies * self.rows
        states = {"state": self.state.reshape(flat, -1).take(index, 0), "state_next": self.state_next.reshape(flat, -1).take(index, 0)}
        rows.__dict__.update(lanes, **states, info=Batch())
        return rows

    def draw_rows(self, count: int) -> Array:
        """Uniform team rows [N] in which a member acted."""
        index, alive = self._any_rows(count), self.lanes("alive")
        while not self._all_alive:
            dead = np.flatnonzero(~alive[:, index].any(0))
            if not len(dead):
                break
            index[dead] = self._any_rows(len(dead))
        return index

    def _any_rows(self, count: int) -> Array:
        flat = self._random_state.randint(0, self.copies * self._filled, count)
        return flat // self._filled * self.rows + flat % self._filled

    def state_dict(self) -> dict[str, Any]:
        """As a LaneBuffer's, with the states of its filled rows."""
        states = {"state": self.state[:, : self._filled].copy(), "state_next": self.state_next[:, : self._filled].copy()}
        return super().state_dict() | {"states": states}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(saved)
        self.state[:, : self._filled] = saved["states"]["state"]
        if self.keep_next:
            self.state_next[:, : self._filled] = saved["states"]["state_next"]
