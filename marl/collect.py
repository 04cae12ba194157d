"""LaneCollector: the rollout, a forward of all lanes of a part at once, on Tianshou's collector seam."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from tianshou.data import CollectStats
from tianshou.data.collector import BaseCollector

from marl import notice, sight
from marl.convention import BOOTSTRAP, TERMINAL, TIME_LIMITS, pay
from marl.copies import Copies
from marl.errors import UserError
from marl.game import TERMINATED, TRUNCATED
from marl.joint import TeamBuffer
from marl.recall import Recall
from marl.replay import Buffers
from marl.sample import drawn
from marl.sequences import SequenceBuffer, TeamSequenceBuffer
from marl.team import Part, Team


class _Lanes:
    """What BaseCollector asks of an environment: its length (in env steps a tick) and its action space."""

    action_space = spaces.Discrete(1)

    def __init__(self, copies: Copies) -> None:
        self.copies = copies

    def __len__(self) -> int:
        return self.copies.n_envs

    def close(self) -> None:
        self.copies.close()


@dataclass
class Episodes:
    """Finished episodes: returns [E, A], lengths [E], metrics [E, A, K], costs [E, A, C]."""

    returns: list[npt.NDArray[Any]] = field(default_factory=list)
    lengths: list[npt.NDArray[Any]] = field(default_factory=list)
    metrics: list[npt.NDArray[Any]] = field(default_factory=list)
    costs: list[npt.NDArray[Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(x) for x in self.lengths)

    def row(self, copies: Copies, learners: Sequence[int]) -> dict[str, float]:
        """Means over these agents of `copies`, as keys of metrics.jsonl."""
        agents = np.asarray(learners)
        returns, metrics, costs = (np.concatenate(x)[:, agents] for x in (self.returns, self.metrics, self.costs))
        row = {"train/return": float(returns.mean()), "train/length": float(np.concatenate(self.lengths).mean())}
        for role, view in copies.groups.items():
            own = (agents >= view.group.lo) & (agents < view.group.hi)
            row[f"train/{role}/return"] = float(returns[:, own].mean())
        row |= {f"train/{name}": float(metrics[:, :, k].mean()) for k, name in enumerate(copies.metric_names)}
        return row | {f"train/cost/{name}": float(costs[:, :, k].mean()) for k, name in enumerate(copies.cost_names)}


class LaneCollector(BaseCollector):
    """Steps copies with a team's policies and writes what the learning parts saw into their buffers.

    A step counted here is one tick of one copy. `finished` gathers episodes until `take_finished`. Buffers hold what the
    parts' convention pays; returns are sums of the game's own rewards. `time_limit`: bootstrap or terminal (`marl.convention`).
    Policies with memory have a state a lane (`marl.recall`), which ends with the lane's episode. Policies that do not learn act at
    their mode, those of the parts in `drawing` as `marl.sample` draws them.
    """

    drawing: Collection[str] = frozenset()

    def __init__(self, team: Team, copies: Copies, buffers: Buffers, seed: int, device: str = "cpu", time_limit: str = BOOTSTRAP) -> None:
        if time_limit not in TIME_LIMITS:
            raise UserError(f"time_limit = {time_limit!r}: legal are {', '.join(TIME_LIMITS)}")
        super().__init__(team, _Lanes(copies), buffers)
        self._terminal = time_limit == TERMINAL
        self.team, self.seed, self.device = team, seed, device
        self.finished = Episodes()
        self.attach(copies)

    def attach(self, copies: Copies) -> None:
        """Go on with other copies (a curriculum's next stage), from their beginning."""
        self.copies, self.env = copies, _Lanes(copies)
        shape = (copies.n_envs, copies.n_agents)
        self._action = np.zeros(copies.action.shape)
        self._return, self._cost = np.zeros(shape), np.zeros((*shape, len(copies.cost_names)))
        self._length = np.zeros(copies.n_envs, np.int64)
        self._learners, self._here = (np.zeros(copies.n_agents, np.bool_) for _ in range(2))
        self._remember()
        for name, part in self.team.plan.items():  # frozen policies of learned parts are paid with the team, and expect nothing
            self._learners[part.lo : part.hi] = part.learns
            self._here[part.lo : part.hi] = name in self.buffer

    def _remember(self) -> None:
        """No lane remembers anything."""
        self._recalls = {name: Recall(self.team.member(name), part.n * self.copies.n_envs) for name, part in self.team.plan.items()}

    def _states(self, name: str) -> npt.NDArray[np.float32]:
        """Hidden states of a part, [B, n, S]."""
        return self._recalls[name].rows().reshape(self.copies.n_envs, self.team.plan[name].n, -1)

    def _forget(self, done: npt.NDArray[np.bool_]) -> None:
        """Lanes whose episode ended, done [B, A], begin without a memory."""
        for name, part in self.team.plan.items():
            if self._recalls[name].width:
                self._recalls[name].forget(done[:, part.lo : part.hi].ravel())

    def _validate_buffer(self) -> None:
        """Buffers are made for the lanes; there is nothing to compare."""

    def reset_env(self, gym_reset_kwargs: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start the copies from the run's seed."""
        self.copies.reset(self.seed)
        self._return[:], self._cost[:], self._length[:] = 0, 0, 0
        self._remember()
        return self.copies.obs, None

    def take_finished(self) -> Episodes:
        """The episodes finished since the last call."""
        done, self.finished = self.finished, Episodes()
        return done

    def _collect(self, n_step: int | None = None, n_episode: int | None = None, **_: Any) -> CollectStats:
        """n_step env steps: ticks x copies. Whole episodes are not asked for here: `marl.evaluate` does that."""
        if n_step is None or n_step % self.copies.n_envs:
            raise UserError(f"collect n_step={n_step} n_episode={n_episode}: a multiple of n_envs = {self.copies.n_envs} steps is expected")
        ticks, before = n_step // self.copies.n_envs, len(self.finished)
        self._write_heads()
        with torch.no_grad():
            for tick in range(ticks):
                notice.count("env step", self.collect_step + tick * self.copies.n_envs)
                self._tick()
            for name, buffer in self.buffer.items():
                buffer.write_tail(self.team.plan[name].rows(self.copies.obs, self.copies.action_mask))
                if isinstance(buffer, TeamBuffer):
                    buffer.write_state_tail(self.copies.state)
                sight.gather(self.team.learners[name], buffer, ticks)
                if isinstance(buffer, SequenceBuffer | TeamSequenceBuffer):
                    buffer.write_memory_tail(self._states(name))
        self.collect_step += n_step
        count = len(self.finished) - before
        self.collect_episode += count
        returns = np.concatenate(self.finished.returns)[before:].mean(1) if count else np.array([])
        lengths = np.concatenate(self.finished.lengths)[before:] if count else np.array([], np.int64)
        return CollectStats(n_collected_episodes=count, n_collected_steps=n_step, returns=returns, lens=lengths)

    def _write_heads(self) -> None:
        for name, buffer in self.buffer.items():
            if not buffer.keep_next:
                part = self.team.plan[name]
                buffer.write_head(self._cost[:, part.lo : part.hi])

    def _tick(self) -> None:
        copies, buffers = self.copies, self.buffer
        written: dict[str, dict[str, Any]] = {}
        for name, part in self.team.plan.items():
            row, action = self._act(name, part)
            self._action[:, part.lo : part.hi, : part.group.action_width] = action
            if name in buffers:
                written[name] = row
        acted = None if copies.alive.all() else copies.alive.copy()
        copies.step(self._action)
        self._return += copies.reward
        self._length += 1
        if self._cost.shape[2]:
            self._cost += copies.cost
        over = copies.status != 0
        ended = self._ended(over, acted)
        apart = self._apart(ended)
        for name, row in written.items():
            part = self.team.plan[name]
            row["rew"] = pay(part.reward, copies.reward, self._learners, acted)[:, part.lo : part.hi]
            self._write(name, row, ended if part.teams else apart, acted)
        if ended is not None:
            self._forget(ended[2])
        if over.any():
            self._finish(over)

    def _act(self, name: str, part: Part) -> tuple[dict[str, Any], Any]:
        """(what to store, action [B, n, U] in the action table's units) of one part."""
        b, n, policy = self.copies.n_envs, part.n, self.team.member(name)
        rows = part.rows(self.copies.obs, self.copies.action_mask)
        flat = torch.from_numpy(np.ascontiguousarray(rows).reshape(b * n, part.width)).to(self.device)
        recall = self._recalls[name]
        if name not in self.buffer:
            out = recall.ask(policy, flat)
            recall.keep(out)
            raw = drawn(policy, part, self.copies.address, flat, out) if name in self.drawing else out.act
            return {}, np.asarray(policy.map_action(raw)).reshape(b, n, -1)
        before = {"memory": self._states(name)} if recall.width else {}
        learner: Any = self.team.learners[name]
        if self.collect_step * n < self.team.warm_up:
            raw, noted = policy.random_action(flat), {}
            recall.watch(policy, flat)
        else:
            out = self._forward(name, policy, flat)
            raw, noted = out.act, learner.record(flat, out)
            recall.keep(out)
        stored = {"obs": rows if part.joins else rows.copy(), "act": raw.cpu().numpy().reshape(b, n, -1), **before}
        if self.buffer[name].central:
            stored["state"] = self.copies.state.copy()
        if np.isnan(stored["act"]).any():
            raise self._diverged(name)
        stored |= {field: value.cpu().numpy().reshape(b, n) for field, value in noted.items()}
        return stored, np.asarray(policy.map_action(raw)).reshape(b, n, -1)

    def _forward(self, name: str, policy: Any, rows: torch.Tensor) -> Any:
        """The policy's answer to rows [N, width]. Drawing a choice from probabilities that are NaN raises in torch."""
        try:
            return self._recalls[name].ask(policy, rows)
        except RuntimeError as error:
            if all(bool(p.isfinite().all()) for p in policy.parameters()):
                raise
            raise self._diverged(name) from error

    def _diverged(self, name: str) -> UserError:
        return UserError(f"policy of {name} acts NaN after {self.collect_step} steps: its parameters diverged, lower algorithm.lr")

    def _ended(self, over: npt.NDArray[np.bool_], acted: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
        """[4, B, A] terminated, truncated, done, left (`marl.replay`); None where no lane ended.

        An agent that left has its last row terminated.
        """
        left = None if self.copies.alive.all() else ~self.copies.alive
        if left is None and acted is None and not over.any():
            return None
        shape = (len(over), self.copies.n_agents)
        ends = over if self._terminal else self.copies.status == TERMINATED
        terminated = np.broadcast_to(ends[:, None], shape).copy()
        if left is not None:
            terminated |= left & ~over[:, None]  # of a copy that is over, `alive` shows the next episode
        truncated = np.broadcast_to((self.copies.status == TRUNCATED)[:, None], shape) & ~terminated
        return np.stack([terminated, truncated, terminated | truncated, self._left(left, over, acted, truncated)])

    def _left(self, away: Any, over: npt.NDArray[np.bool_], acted: Any, truncated: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """[B, A] who is not there after this tick (`away`, None if all are) though its team goes on, or would if it were not cut short."""
        found = np.zeros(truncated.shape, np.bool_)
        if self.buffer.survivors is None:
            return found
        if away is not None:
            found |= away & (~over & self.copies.alive[:, self._here].any(1))[:, None]
        if acted is not None:  # who else left in the very tick of a cut is not told
            found |= truncated & over[:, None] & ~acted & acted[:, self._here].any(1)[:, None]
        return found

    def _apart(self, ended: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
        """The same where agents of a copy end each in its own way: one that is cut alone has not terminated. A team ends as one."""
        if ended is None or self.copies.own_ends is None or self._terminal:
            return ended
        terminated, truncated = self.copies.own_ends
        return np.stack([(ended[0] | terminated) & ~truncated, (ended[1] | truncated) & ~terminated, ended[2]])

    def _write(self, name: str, row: dict[str, Any], ended: Any, acted: Any) -> None:
        part, buffer, copies = self.team.plan[name], self.buffer[name], self.copies
        own = slice(part.lo, part.hi)
        if buffer.costs:
            row["cost"] = copies.cost[:, own]
        if buffer.keep_next:
            row["obs_next"] = part.rows(copies.final_obs, copies.final_mask)
            if buffer.central:
                row["state_next"] = copies.final_state
        buffer.write(row, None if ended is None else ended[:, :, own], None if acted is None else acted[:, own])
        if ended is not None and not buffer.keep_next and ended[1][:, own].any():
            cut = ended[1][:, own]
            if isinstance(buffer, TeamBuffer):  # whose critics read all members at once
                cut = np.broadcast_to(cut.any(1, keepdims=True), cut.shape)
                buffer.write_state_cut(cut[:, 0], copies.final_state)
            buffer.write_cut(cut, part.rows(copies.final_obs, copies.final_mask))
            if isinstance(buffer, SequenceBuffer | TeamSequenceBuffer):
                buffer.write_memory_cut(cut, self._states(name))

    def _finish(self, over: npt.NDArray[np.bool_]) -> None:
        self.finished.returns.append(self._return[over])
        self.finished.lengths.append(self._length[over])
        self.finished.metrics.append(self.copies.metrics[over])
        self.finished.costs.append(self._cost[over])
        self._return[over], self._cost[over], self._length[over] = 0, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Running sums of unfinished episodes and the counters; buffers and copies have their own."""
        counts = {"steps": self.collect_step, "episodes": self.collect_episode}
        running = {"return": self._return.copy(), "cost": self._cost.copy(), "length": self._length.copy()}
        memory = {name: recall.rows() for name, recall in self._recalls.items() if recall.width}
        return {**counts, **running, **({"memory": memory} if memory else {})}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.collect_step, self.collect_episode = saved["steps"], saved["episodes"]
        self._return[:], self._cost[:], self._length[:] = saved["return"], saved["cost"], saved["length"]
        for name, recall in self._recalls.items():
            if recall.width:
                recall.load(saved["memory"][name])
