"""Hybrid actions: one column, the bid, by double DQN from a replay, the others by PPO from the rollout, one encoder under both.

x = e(o). The policy pi(d | x) of the other columns and V(x) minimise PPO's loss (Schulman et al. 2017; `algorithms.ippo`), as actors
of several heads do for mixed actions (Fan et al. 2019). The bid is one of K levels, spread evenly over its column's scale;
the level k is valued beside the choices d, as in deep Q-learning with parameters (Xiong et al. 2018) with the roles turned:
    J_Q = E[(y - Q(x, d, k))^2],  y = r + gamma Q'(x', d', k*),  k* = argmax_k Q(x', d', k),  d' ~ pi(. | x')
(double Q-learning, van Hasselt, Guez and Silver 2016), over rows of a replay of the latest `replay` rows; Q' is set to Q every
`target` of its updates. Rows [N, width], d [N, C], k, r, y [N]. A bid explores by epsilon-greedy. PPO sees the bidder as a
part of its environment, as Q sees the policy: so d' is drawn anew from the present one. Where an agent left its team y is
r + gamma V', V' what those expected in collection who were there (`algorithms.death`).

With memory e ends in it: x_t = e(o_t, h_t), one state h under all heads. The replay then holds the rollouts' slices of `sequence`
ticks, each with the state before it as it was in collection (Kapturowski et al. 2019, without burn-in: a short replay is hardly
stale), and x' is one tick on from the state after a row.

Whose gradients move e is `route`: of both losses (the default), of the policy's (and V's) or of the values'. For ablations `learner`
is both, values (the policy stays uniform, its mode the first choice) or policy (the level is one more choice of PPO's; no values).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import LaggedNetworkFullUpdateAlgorithmMixin
from tianshou.algorithm.modelfree.reinforce import SimpleLossTrainingStats
from torch import Tensor, nn

from algorithms import check_serves, settings
from algorithms.death import left_behind
from algorithms.encoded import POLICY, VALUES, Bid, EncodedActor, EncodedCritic, HybridPolicy, encoder_of
from algorithms.ippo import IPPO
from algorithms.onpolicy import adam
from marl.replay import LaneBuffer
from marl.sequences import SequenceBuffer, Slices
from marl.team import Part


class Ring(nn.Module):
    """The latest `size` entries of tensors of the given shapes, each a row or a slice of rows. Saved with the networks."""

    written: Tensor

    def __init__(self, size: int, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self._size, self._names = size, tuple(shapes)
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros((size, *shape)))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.written), self._size)

    def write(self, **entries: Tensor) -> None:
        """Entries [N, ...] of every field, the newest last."""
        n = len(entries["obs"])
        kept = min(n, self._size)
        place = (int(self.written) + torch.arange(n - kept, n)) % self._size
        for name in self._names:
            getattr(self, name)[place] = entries[name][n - kept :].to(torch.float32)
        self.written += n

    def draw(self, count: int) -> dict[str, Tensor]:
        """Uniform entries, with replacement."""
        index = torch.randint(len(self), (count,))
        return {name: getattr(self, name)[index] for name in self._names}


class Hybrid(IPPO, LaggedNetworkFullUpdateAlgorithmMixin):
    """PPO and double DQN for one part of the agents. `updates` is the number of rollouts in the run."""

    Settings = settings.Hybrid
    COUNTERS = ("_iter",)

    def __init__(self, s: settings.Hybrid, part: Part, updates: int) -> None:
        check_serves("hybrid", part.name, part.group.action, part.grid)
        self._bid = Bid(part.group.action, s.column, s.levels)
        super().__init__(s, part, updates)
        LaggedNetworkFullUpdateAlgorithmMixin.__init__(self)
        self.s, self._iter = s, 0
        self._along = (s.sequence or s.rollout,) if self.policy.state_width else ()  # rows of a slice
        if s.learner == VALUES:
            self.lr_schedulers.clear()  # PPO's optimiser is never stepped
        if self.policy.values is not None:
            self.values_old = self._add_lagged_network(self.policy.values)
            self.values_optim = self._create_optimizer(self.policy.values, adam(s.lr, s.anneal, updates), max_grad_norm=s.gradient_norm)
            self.ring = self._ring(part.width)

    def _networks(self, s: Any, part: Part) -> tuple[Any, Any]:
        encoder = encoder_of(part, s)
        if encoder.state_width:
            self.FIELDS += ("value",)
        return HybridPolicy(part, s, self._bid, EncodedActor(part, s, self._bid, encoder)), EncodedCritic(s, encoder)

    def _ring(self, width: int) -> Ring:
        """Of rows; with memory of slices, with the state before each, where episodes begin in it and who was there."""
        rows = self._along
        shapes = {"obs": (*rows, width), "act": (*rows, self.policy.row_width), "reward": rows, "after": (*rows, width), "follows": rows}
        if rows:
            shapes |= {"state": (self.policy.state_width,), "reset": rows, "alive": rows}
        return Ring(max(1, self.s.replay // math.prod(rows)), **shapes)

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """log pi(d | x), [N], and with memory V(x); the rows count toward epsilon."""
        self.policy.acted += len(rows)
        return super().record(rows, out)

    def _remembered(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        return {"value": self.critic.net(out.features).squeeze(1)} if self.policy.state_width else {}

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """As IPPO's; the rollout enters the replay."""
        if self.policy.values is not None:
            fields = {"obs": batch.obs, "act": batch.act, "reward": batch.rew, "after": following(buffer), "follows": ~batch.terminated}
            living = buffer.alive
            behind = left_behind(buffer)
            if behind is not None:  # what the team is expected to earn now: a short replay is hardly stale
                fields["reward"] = np.where(buffer.left, batch.rew + np.float32(self.s.gamma) * behind[0], batch.rew)
                fields["follows"] &= ~buffer.left
            if self._along:
                slices = buffer.rollout()
                fields = {name: rows.reshape(-1, *self._along, *rows.shape[1:]) for name, rows in fields.items()}
                fields |= {"state": slices.state, "reset": slices.reset, "alive": living.reshape(-1, *self._along)}
                living = fields["alive"].any(1)
            kept = np.flatnonzero(living)
            self.ring.write(**{name: self._here(rows[kept]) for name, rows in fields.items()})
        return super()._preprocess_batch(batch, buffer, indices)

    def _update_with_batch(self, batch: Any, batch_size: int | None, repeat: int) -> Any:
        told: Any = SimpleLossTrainingStats(loss=0.0)
        if self.s.learner != VALUES:
            with self.policy.judging():
                told = super()._update_with_batch(batch, batch_size, repeat)
        if self.s.learner != POLICY:
            off = float(np.mean([self._value_step() for _ in range(self.s.value_updates)]))
            vars(told).update(q_loss=off, epsilon=self.policy.epsilon, **({"loss": off} if self.s.learner == VALUES else {}))
        return told

    def _value_step(self) -> float:
        """One step down J_Q; returns it."""
        obs, rows = self._drawn()
        off = self._targets(obs, rows) - self.policy.values(obs, rows["act"][:, :-1]).gather(1, rows["act"][:, -1:].long()).squeeze(1)
        loss = off.square().mean()
        self.values_optim.step(loss)
        self._iter += 1
        if self._iter % self.s.target == 0:
            self._update_lagged_network_weights()
        return float(loss.item())

    def _drawn(self) -> tuple[Any, dict[str, Tensor]]:
        """(observations or Slices, the fields [K, ...] of rows to learn from), `batch` rows or the whole slices that hold about as many."""
        rows = self.ring.draw(max(1, self.s.batch // math.prod(self._along)))
        if not self._along:
            return rows["obs"], rows
        state, reset, alive = rows.pop("state"), rows.pop("reset") > 0, rows.pop("alive").flatten()
        kept = None if bool(alive.all()) else alive.nonzero().squeeze(1)
        flat = {name: field.flatten(0, 1) for name, field in rows.items()}
        learned = flat if kept is None else {name: field[kept] for name, field in flat.items()}
        return Slices(rows["obs"], state, reset, 0, kept), learned

    def _targets(self, obs: Any, rows: dict[str, Tensor]) -> Tensor:
        """y [K]."""
        y: Tensor = rows["reward"] + self.s.gamma * rows["follows"] * self._bid_value(obs, rows["after"])
        return y

    def _bid_value(self, obs: Any, after: Tensor) -> Tensor:
        """Q'(x', d', k*) [K] of the rows [K, width] that followed those of obs."""
        with torch.no_grad():
            x, dist = self.policy.ahead(obs, after)
            chosen = dist.sample()
            target = self.values_old.module
            old: Tensor = target.of(target.encoder.ahead(obs, after), chosen)
            best = (self.policy.values.of(x, chosen) if self.s.double else old).argmax(1, keepdim=True)
            return old.gather(1, best).squeeze(1)

    def expects(self, buffer: LaneBuffer, index: Any) -> Any:
        """As IPPO's, by V; by the values where V does not learn."""
        if self.s.learner != VALUES:
            return super().expects(buffer, index)
        obs: Any = buffer.rollout().to(self.policy.actor.log_std.device) if isinstance(buffer, SequenceBuffer) else None
        kept = np.flatnonzero(buffer.alive) if self._along else index
        found = np.zeros(len(buffer.alive), np.float32)
        found[kept] = self._bid_value(obs, self._here(following(buffer)[kept])).cpu().numpy()
        return found[index]


def following(buffer: LaneBuffer) -> Any:
    """The observation rows [L * T, width] that a rollout's rows led to: the next, the tail, the final one of an episode cut short."""
    obs = buffer.obs.reshape(-1, buffer.rows, buffer.obs.shape[1])
    after = np.concatenate([obs[:, 1:], buffer.tail[:, None]], 1).reshape(buffer.obs.shape)
    for index, final in buffer.cuts:
        after[index] = final
    return after
