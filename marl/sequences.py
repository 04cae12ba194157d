"""Sequences: slices of the lanes' rows with the hidden state at their beginning, for policies with memory.

A state is stored every `stride` rows; slices begin there. Of a rollout they are cut end to end. Of a ring they are drawn,
as Kapturowski et al. (2019, R2D2) do it: `burn_in` rows that only bring the state up to date, then `length` rows to learn
from. No slice crosses the ring's write head, where the newest row meets the oldest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tianshou.data import Batch

from marl.joint import TeamBuffer
from marl.replay import Array, LaneBuffer


@dataclass(frozen=True)
class Stretch:
    """`length` rows to learn from after `burn_in` others; hidden states of `width` columns are stored every `stride` rows."""

    width: int
    length: int
    stride: int
    burn_in: int = 0

    @property
    def whole(self) -> int:
        """Rows of a slice."""
        return self.burn_in + self.length

    def ring(self, rows: int) -> int:
        """Rows a lane, `rows` or more: whole strides, and a slice that the write head does not cut wherever it stands."""
        return -(-max(rows, self.whole + self.stride) // self.stride) * self.stride


@dataclass(frozen=True)
class Slices:
    """M slices of L rows: `rows` [M, L, width], `state` [M, S] before the first, `reset` [M, L] where an episode begins at a row.

    The first `burn_in` rows are not learned from, nor are those of agents that had left: `kept` holds the flat indices,
    into [M * (L - burn_in)], of the rows that are; None if all are. Arrays, or tensors after `to`.
    """

    rows: Any
    state: Any
    reset: Any
    burn_in: int = 0
    kept: Any = None

    def __len__(self) -> int:
        return len(self.rows) * (self.rows.shape[1] - self.burn_in) if self.kept is None else len(self.kept)

    def to(self, device: Any) -> Slices:
        """The same as tensors on a device."""
        rows, state = (torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(device) for x in (self.rows, self.state))
        kept = None if self.kept is None else torch.from_numpy(self.kept).to(device)
        return Slices(rows, state, torch.from_numpy(np.ascontiguousarray(self.reset)).to(device), self.burn_in, kept)

    def take(self, which: Any, kept: Any) -> Slices:
        """The slices numbered `which`."""
        return replace(self, rows=self.rows[which], state=self.state[which], reset=self.reset[which], kept=kept)


def begins(done: Array) -> Array:
    """Whether an episode begins at a row, [M, L], from whether one ended there; the stored state says it of the first."""
    found = np.zeros_like(done)
    found[:, 1:] = done[:, :-1]
    return found


class _Sequences(LaneBuffer):
    """Put before a buffer: what it stores beside, and the slices it gives."""

    def __init__(self, agents: int, copies: int, rows: int, *shape: int, stretch: Stretch, **how: Any) -> None:
        if rows % stretch.stride:
            raise ValueError(f"{rows} rows a lane: whole strides of {stretch.stride} are expected")
        self.stretch = stretch
        self.memory = np.zeros((agents, copies, rows // stretch.stride, stretch.width), np.float32)
        self.memory_tail = np.zeros((agents * copies, stretch.width), np.float32)
        super().__init__(agents, copies, rows, *shape, **how)

    def reset(self, keep_statistics: bool = False) -> None:
        """Forget all rows."""
        super().reset(keep_statistics)
        self.memory_cuts: list[Array] = []

    def write(self, values: Mapping[str, Array], ended: Array | None, living: Array | None) -> None:
        """As its parent's, with memory [B, n, S], the states before the step, among the values."""
        own = dict(values)
        state, (slot, between) = own.pop("memory"), divmod(self._at, self.stretch.stride)
        if not between:
            self.memory[:, :, slot] = state.swapaxes(0, 1)
        super().write(own, ended, living)

    def write_memory_cut(self, cut: Array, after: Array) -> None:
        """States [B, n, S] after the last row, of the lanes marked in cut [B, n]; beside `write_cut`."""
        self.memory_cuts.append(after.swapaxes(0, 1).reshape(-1, self.stretch.width)[np.flatnonzero(cut.T)])

    def write_memory_tail(self, after: Array) -> None:
        """States [B, n, S] before the row that follows the last one."""
        self.memory_tail[:] = after.swapaxes(0, 1).reshape(self.memory_tail.shape)

    @property
    def living(self) -> int:
        """Rows that can be learned from: none before a slice is whole."""
        if not self.keep_next:
            return super().living
        return super().living if self._filled >= self.stretch.whole and len(self._candidates()) else 0

    def rollout(self) -> Slices:
        """All rows of a full rollout, lane by lane, slice by slice."""
        length, flat = self.stretch.length, np.flatnonzero(self.alive)
        done = self._meta.done.reshape(-1, length)
        rows = self._meta.obs.reshape(-1, length, self._meta.obs.shape[1])
        states = self.memory.reshape(-1, self.stretch.width)
        return Slices(rows, states, begins(done), 0, None if len(flat) == self.maxsize else flat)

    def _starts(self) -> Array:
        """Rows of a lane at which a slice may begin, the same for every lane."""
        grid = np.arange(0, self._filled, self.stretch.stride)
        age = (grid - self._at) % self.rows if self.full else grid
        return grid[age + self.stretch.whole <= self._filled]

    def _acted(self) -> Array:
        """[lanes or teams, rows]: where somebody acted."""
        return self.alive.reshape(-1, self.rows)

    def _candidates(self) -> Array:
        """Numbers lane * starts + start of the slices from which somebody can learn."""
        starts, acted = self._starts(), self._acted()
        if self._all_alive:
            return np.arange(len(acted) * len(starts))
        learned = (starts[:, None] + np.arange(self.stretch.burn_in, self.stretch.whole)) % self.rows
        return np.flatnonzero(acted[:, learned].any(2))

    def stretched(self, learned: Array) -> Array:
        """Flat indices [M, whole] of slices, from those of their rows to learn from, [M * length]."""
        first = learned.reshape(-1, self.stretch.length)[:, :1]
        t = first % self.rows
        found: Array = first - t + (t - self.stretch.burn_in + np.arange(self.stretch.whole)) % self.rows
        return found

    def _slots(self, index: Array) -> Array:
        """Where the states before slices [..., whole] are stored, [...]."""
        lane, start = np.divmod(index[..., 0], self.rows)
        found: Array = lane * (self.rows // self.stretch.stride) + start // self.stretch.stride
        return found

    def _draw_slices(self, rows: int) -> Array:
        """Flat indices [M, whole] of the rows of slices that have `rows` rows to learn from."""
        candidates, starts = self._candidates(), self._starts()
        if not len(candidates):
            raise ValueError(f"no slice of {self.stretch.whole} rows to sample: lanes hold {self._filled} rows")
        drawn = candidates[self._random_state.randint(0, len(candidates), max(1, rows // self.stretch.length))]
        lane, start = drawn // len(starts), starts[drawn % len(starts)]
        along = (start[:, None] + np.arange(self.stretch.whole)) % self.rows
        return lane[:, None] * self.rows + along

    def state_dict(self) -> dict[str, Any]:
        """As its parent's, with the states of its filled rows."""
        used = -(-self._filled // self.stretch.stride)
        return super().state_dict() | {"memory": self.memory[:, :, :used].copy()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(saved)
        self.memory[:, :, : saved["memory"].shape[2]] = saved["memory"]


class SequenceBuffer(_Sequences):
    """A LaneBuffer of sequences."""

    def slices(self, index: Array) -> Slices:
        """The slices of rows [M, whole], those in which the agent acted to be learned from."""
        alive = self.alive[index[:, self.stretch.burn_in :]].ravel()
        states = self.memory.reshape(-1, self.stretch.width)[self._slots(index)]
        kept = None if alive.all() else np.flatnonzero(alive)
        return Slices(self._meta.obs[index], states, begins(self._meta.done[index]), self.stretch.burn_in, kept)

    def sample(self, batch_size: int | None) -> tuple[Any, Array]:
        """From a ring, slices with about `batch_size` rows to learn from: `slices`, and act, rew, ... [N, ...] of those rows, flat."""
        if not self.keep_next or not batch_size:
            return super().sample(batch_size)
        index = self._draw_slices(batch_size)
        learned = index[:, self.stretch.burn_in :].ravel()
        rows = self[learned]
        rows.__dict__.update(slices=self.slices(index))
        return rows, learned


class TeamSequenceBuffer(_Sequences, TeamBuffer):
    """A TeamBuffer of sequences: the slices of all members stand one below the other, member by member."""

    def _acted(self) -> Array:
        return self.anybody.reshape(-1, self.rows)

    def slices(self, index: Array) -> Slices:
        """The members' slices [n * M, whole] of team rows [M, whole], all of them kept."""
        obs, done = (self.lanes(name)[:, index] for name in ("obs", "done"))
        states = self.memory.reshape(self.agents, -1, self.stretch.width)[:, self._slots(index)]
        begun = begins(done.reshape(-1, done.shape[2]))
        return Slices(obs.reshape(-1, *obs.shape[2:]), states.reshape(-1, self.stretch.width), begun, self.stretch.burn_in)

    def sample(self, batch_size: int | None) -> tuple[Any, Array]:
        """From a ring, as `TeamBuffer.sample`, the team rows being those of slices; with their members' `slices`."""
        if not self.keep_next or not batch_size:
            return super().sample(batch_size)
        index = self._draw_slices(batch_size)
        learned = index[:, self.stretch.burn_in :].ravel()
        rows: Batch = self.team_rows(learned)
        rows.__dict__.update(slices=self.slices(index))
        return rows, learned
