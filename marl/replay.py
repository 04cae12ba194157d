"""LaneBuffer: what one part of the agents saw and did, as arrays that Tianshou's algorithms read.

A lane is one agent of one copy. Rows are stored agent-major: flat index (a * B + b) * T + t, so that an agent, and a
lane's time, are contiguous. One vectorised write a step, no Python object a lane. An observation row is the agent's
observation columns followed, where the game masks choices, by its mask columns (0 or 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tianshou.data import Batch, ReplayBuffer

from marl import room
from marl.survivors import Survivors
from marl.window import Window

Array = npt.NDArray[Any]
ENDS = ("terminated", "truncated", "done", "left")
"""How a row may be its lane's last in an episode: at the game's end, cut short, either; its agent left, but its team's game goes on."""


def _check_room(rows: int, each: int, ring: bool, virtual: bool = False) -> None:
    """Raise UserError where rows of `each` bytes do not fit. `ring`: an off-policy replay, else a rollout."""
    what, remedy = ("a replay", "lower algorithm.replay") if ring else ("a rollout", "lower n_envs or algorithm.rollout")
    room.check(rows * each, f"{what} of {rows:,} agent rows", remedy, virtual)


class LaneBuffer(ReplayBuffer):
    """`agents` x `copies` lanes of `rows` time steps each; on-policy it is filled once, off-policy it is a ring.

    `width` observation columns (mask included), `action_width` raw action columns, `fields` further f32 numbers a row
    that the policy records (log-probability, value). `keep_next` stores the observation that each row led to, `costs` the
    so many cost columns of each row. `cost_before` [n * B, costs] is what each lane's episode had cost before the first row of a
    rollout. With a discount `gamma` `head` [2, n * B] is what it had paid by then, discounted, and by how much its next reward counts.

    Under a team's reward rows after which an agent is not there, though its team's game goes on, are marked `left`: a lane is
    terminated there, what it is paid is not (`ends`). `survivors` say what follows.
    """

    central = False
    """Whether the global state is kept as well (`marl.joint`)."""
    survivors: Survivors | None = None

    def __init__(
        self,
        agents: int,
        copies: int,
        rows: int,
        width: int,
        action_width: int,
        *,
        fields: tuple[str, ...],
        keep_next: bool,
        seed: int,
        costs: int = 0,
        gamma: float | None = None,
    ) -> None:
        self.row_bytes = (
            4 * (width * (1 + keep_next) + action_width + 1 + len(fields) + costs) + len(ENDS) + 1 + 8
        )  # Tianshou keeps a number a row
        _check_room(agents * copies * rows, self.row_bytes, keep_next, virtual=keep_next)
        super().__init__(agents * copies * rows, random_seed=seed % (1 << 32))
        self.agents, self.copies, self.rows, self.keep_next, self.costs = agents, copies, rows, keep_next, costs
        n = self.maxsize
        flag = {name: np.zeros(n, np.bool_) for name in ("terminated", "truncated", "done")}
        own: dict[str, Array] = {"obs": np.zeros((n, width), np.float32), "act": np.zeros((n, action_width), np.float32)}
        own |= {"rew": np.zeros(n, np.float32), **flag}
        if keep_next:
            own["obs_next"] = np.zeros((n, width), np.float32)
        self.recorded: dict[str, Array] = {name: np.zeros(n, np.float32) for name in fields}
        self.alive, self.left = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        self._meta = Batch.__new__(Batch)
        self._meta.__dict__.update(own)
        flat = {**own, **self.recorded, "alive": self.alive, "left": self.left}
        if costs:
            flat["cost"] = self.cost = np.zeros((n, costs), np.float32)
        self._lanes = {name: values.reshape(agents, copies, rows, *values.shape[1:]) for name, values in flat.items()}
        self._base = np.arange(agents * copies) * rows
        self.tail = np.zeros((agents * copies, width), np.float32)
        self.cost_before = np.zeros((agents * copies, costs))
        self._gamma, self.head = gamma, np.stack([np.zeros(agents * copies), np.ones(agents * copies)])
        self._running = self.head.copy()
        self.cuts: list[tuple[Array, Array]] = []
        self._all_alive = True
        self.reset()

    def check_room(self, steps: float) -> None:
        """Raise UserError where the rows that a run of so many env steps fills do not fit what memory is left."""
        _check_room(min(self.maxsize, int(min(steps, 1e15)) * self.agents), self.row_bytes, self.keep_next)

    def reset(self, keep_statistics: bool = False) -> None:
        """Forget all rows."""
        if not hasattr(self, "_lanes"):
            return
        self._at = self._filled = 0
        self.cuts = []
        self.head = self._running.copy()
        for name in ENDS:
            self._lanes[name][:] = False
        self._lanes["alive"][:] = True
        self._all_alive = True

    def __len__(self) -> int:
        return self.agents * self.copies * getattr(self, "_filled", 0)

    def hasnull(self) -> bool:
        """Whether a row holds NaN: never, since actions and rewards are checked where they arise."""
        return False

    @property
    def full(self) -> bool:
        return self._filled == self.rows

    @property
    def living(self) -> int:
        """Rows of agents that acted: those that can be learned from."""
        return len(self) if self._all_alive else int(np.count_nonzero(self._lanes["alive"][:, :, : self._filled]))

    def write(self, values: Mapping[str, Array], ended: Array | None, living: Array | None) -> None:
        """One step of all lanes. `values` are [B, n, ...]; `ended` [4, B, n] are the flags `ENDS`, None if no lane ended.

        `living` [B, n] marks the lanes that acted, None if all did.
        """
        t = self._at
        for name, value in values.items():
            self._lanes[name][:, :, t] = value.swapaxes(0, 1)
        if ended is not None:
            for name, value in zip(ENDS, ended):
                self._lanes[name][:, :, t] = value.T
        elif self.keep_next:
            for name in ENDS:
                self._lanes[name][:, :, t] = False
        if living is not None:
            self._lanes["alive"][:, :, t] = living.T
            self._all_alive = False
        elif not self._all_alive:
            self._lanes["alive"][:, :, t] = True
        if self._gamma is not None:
            self._book(self._base + t, self._gamma)
        self._at = (t + 1) % self.rows
        self._filled = min(self._filled + 1, self.rows)

    def _book(self, rows: Array, gamma: float) -> None:
        """Take what newly written rows pay into the running sums."""
        over = self.ends(rows)[1]
        self._running[0] = np.where(over, 0.0, self._running[0] + self._running[1] * self.rew[rows])
        self._running[1] = np.where(over, 1.0, self._running[1] * gamma)

    def write_cut(self, cut: Array, final_obs: Array) -> None:
        """Observations [B, n, O] at which the last row's lanes marked in cut [B, n] were truncated: their values bootstrap."""
        lane = np.flatnonzero(cut.T)
        self.cuts.append((self._base[lane] + (self._at - 1) % self.rows, final_obs.swapaxes(0, 1).reshape(len(self._base), -1)[lane]))

    def write_head(self, cost: Array) -> None:
        """What the running episodes have cost [B, n, C] before the first row."""
        if self.costs:
            self.cost_before[:] = cost.swapaxes(0, 1).reshape(self.cost_before.shape)

    def write_tail(self, obs: Array) -> None:
        """The observation [B, n, O] that follows the last row."""
        self.tail[:] = obs.swapaxes(0, 1).reshape(self.tail.shape)

    def unfinished_index(self) -> npt.NDArray[np.intp]:
        """Flat indices of the newest row of every lane whose episode goes on."""
        if self._filled == 0:
            return np.array([], np.intp)
        newest = self._base + (self._at - 1) % self.rows
        return newest[~self.done[newest]]

    def next(self, index: Any) -> Array:
        """Flat indices of the rows that follow; a lane's newest row, or the last of what an episode pays, follows itself."""
        index = np.asarray(index)
        t = index % self.rows
        stays = self.ends(index)[1] | (t == (self._at - 1) % self.rows)
        return np.where(stays, index, index - t + (t + 1) % self.rows)

    def ends(self, index: Any = slice(None)) -> tuple[Array, Array]:
        """(terminated, done) [N] of what the lanes of the rows `index` are paid: an agent that left is its team's member still."""
        on = ~self.left[index]
        return self.terminated[index] & on, self.done[index] & on | self.truncated[index]

    def when(self, index: Array) -> tuple[Array, Array]:
        """(copy, age) of rows: the newest tick has age 0."""
        lane, t = np.divmod(index, self.rows)
        return lane % self.copies, (self._at - 1 - t) % self.rows

    def seats(self, copy: Array, age: Array) -> Array:
        """Flat indices [n, ...] of all agents' rows in ticks of copies, both [...]."""
        tick = copy * self.rows + (self._at - 1 - age) % self.rows
        found: Array = (np.arange(self.agents) * self.copies * self.rows).reshape(-1, *(1,) * tick.ndim) + tick
        return found

    def there(self, index: Array) -> Array:
        """Whether the agents of the rows `index` act in the following tick as well, or would if the game were not cut short."""
        found: Array = self.alive[index] & ~self.terminated[index]
        return found

    def there_was(self, copy: Array, age: Array) -> Array:
        """Whether any agent acted in ticks of copies."""
        found: Array = np.any(self.alive[LaneBuffer.seats(self, copy, age)], axis=0)
        return found

    def outlived(self, index: Array) -> Array:
        """Whether what follows the rows `index` is the team's alone: their agents are not there."""
        found: Array = self.left[index]
        return found

    def newest(self, ticks: int) -> Array:
        """Observation rows [N, width] of the last `ticks` ticks, of agents that acted."""
        t = self.last_ticks(ticks)
        rows: Array = self._lanes["obs"][:, :, t][self._lanes["alive"][:, :, t]]
        return rows

    def last_ticks(self, ticks: int) -> Array:
        """Where the last `ticks` ticks are, at most as many as the buffer holds."""
        held = min(ticks, self._filled)
        found: Array = (self._at - held + np.arange(held)) % self.rows
        return found

    def sample_indices(self, batch_size: int | None) -> npt.NDArray[np.intp]:
        """Uniform rows of agents that acted; all rows in order for 0."""
        if not batch_size:
            order = (np.arange(self._filled) + (self._at if self.full else 0)) % self.rows
            index = (self._base[:, None] + order).ravel()
            return index if batch_size == 0 else self._random_state.permutation(index)
        living = self.living
        if not living:
            raise ValueError(f"no row to sample: the buffer holds {len(self)} rows, none of an agent that acted")
        if 4 * living < len(self):  # drawing again until all live would take long where few do
            held = self.sample_indices(0)
            return self._random_state.choice(held[self.alive[held]], batch_size)
        index = self._draw(batch_size)
        while not self._all_alive:
            dead = np.flatnonzero(~self.alive[index])
            if not len(dead):
                break
            index[dead] = self._draw(len(dead))
        return index

    def _draw(self, count: int) -> Array:
        flat = self._random_state.randint(0, len(self), count)
        return self._base[flat // self._filled] + flat % self._filled

    def window(self, batch: Any, index: Array, steps: int) -> Window:
        """What the n-step targets of the rows `batch`, drawn at `index`, are computed from."""
        return Window(self, index, steps)

    def sample(self, batch_size: int | None) -> tuple[Any, npt.NDArray[np.intp]]:
        """(batch, indices). All rows of a full rollout come as views."""
        index = self.sample_indices(batch_size)
        if batch_size == 0 and self.full and self._at == 0:
            whole = Batch(info=Batch())
            for name in self._meta.get_keys():
                whole.__dict__[name] = self._meta.__dict__[name]
            return whole, index
        return self[index], index

    def __getitem__(self, index: Any) -> Any:
        """Rows as a Batch: gathered from the arrays, without Tianshou's per-key stacking."""
        rows = Batch.__new__(Batch)
        rows.__dict__.update({name: self._meta.__dict__[name][index] for name in self._meta.get_keys()}, info=Batch())
        return rows

    def state_dict(self) -> dict[str, Any]:
        """Filled rows and the generator; an on-policy buffer between updates is empty."""
        return {
            "rows": {name: values[:, :, : self._filled].copy() for name, values in self._lanes.items()} if self._filled else {},
            "at": self._at,
            "filled": self._filled,
            "all_alive": self._all_alive,
            "random": self._random_state.get_state(legacy=False),
            "running": self._running.copy(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._running[:] = saved["running"]
        self.reset()
        self._at, self._filled, self._all_alive = saved["at"], saved["filled"], saved["all_alive"]
        for name, values in saved["rows"].items():
            self._lanes[name][:, :, : self._filled] = values
        self._random_state.set_state(saved["random"])


class Buffers(dict[str, LaneBuffer]):
    """One buffer a learning part, as the one buffer that Tianshou's trainer and collector ask for; `survivors` where they are a team's."""

    survivors: Survivors | None = None

    def reset(self, keep_statistics: bool = False) -> None:
        for buffer in self.values():
            buffer.reset()
        if self.survivors is not None:
            self.survivors.forget()

    def check_room(self, steps: float) -> None:
        """Raise UserError where the rows that a run of so many env steps fills do not fit what memory is left."""
        for buffer in self.values():
            buffer.check_room(steps)

    def hasnull(self) -> bool:
        return False

    def __len__(self) -> int:
        return sum(len(buffer) for buffer in self.values())
