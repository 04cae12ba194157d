"""MAPPO: PPO with a critic that sees the global state, once a team row (Yu et al. 2022).

L = E[min(r A, clip(r, 1 - e, 1 + e) A)] - c_v E[h(R - V(s))] + c_e E[H],  r = pi(a_i|o_i) / pi_old(a_i|o_i), h Huber's loss,
A by GAE(lambda) (Schulman et al. 2016), normalised over the rollout's rows of members that acted. Rows of members o, a, r, A
[n, N], states s [N, S]. Under a team reward (`marl.convention`) V is [N], and all members have its advantage;
under individual rewards V has an output for each member. A member that has left is in no term; the team's return goes on
(`algorithms.death`: while no member is there, but others of the team are, with what those expect).
With memory, which is the actor's alone, minibatches are whole sequences.
`critic: pooled | attention` reads the members' rows instead of s (`algorithms.attention`) and serves any number of them.
With `normalise_values` V learns (R - m) / d for running moments m, d of R, each of which moves 2 % a rollout.

A recipe for simple_spread: 64 copies, rollout 25, 5 epochs of 4 minibatches, gamma .9, entropy .003, lr 7e-4 falling to 0,
hidden [128, 128], relu, reward team_sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.a2c import A2CTrainingStats
from tianshou.data import SequenceSummaryStats
from torch import Tensor, nn
from torch.nn import functional

from algorithms import settings
from algorithms.attention import AttentionCritic, PooledCritic
from algorithms.death import carried_on, left_behind
from algorithms.networks import mlp
from algorithms.onpolicy import PIECE, Rows, adam
from algorithms.proximal import Proximal
from algorithms.recurrent import actor_of, policy_of
from marl.joint import TeamBuffer
from marl.sequences import Slices, TeamSequenceBuffer
from marl.team import Part

PACE = 0.02
"""Share of a rollout's moments that enters the running ones."""


class MAPPO(Proximal, PPO):
    """MAPPO for one part of the agents. `updates` is the number of rollouts in the run."""

    Settings = settings.MAPPO
    FIELDS = ("logp",)
    CENTRAL = True
    moments: Tensor

    def __init__(self, s: settings.MAPPO, part: Part, updates: int) -> None:
        s.check()
        self.minibatches = s.minibatches
        super().__init__(
            policy=policy_of(actor_of(part, s)),
            critic=_critic(s, part),
            optim=adam(s.lr, s.anneal, updates),
            eps_clip=s.clip,
            ent_coef=s.entropy,
            max_grad_norm=s.gradient_norm,
            gae_lambda=s.gae_lambda,
            gamma=s.gamma,
        )
        self.s, self._team, self.any_number = s, part.teams, s.critic != "state"
        self._equip(s, updates)
        if not self.any_number:
            self.overview = ("critic",)
        self.register_buffer("moments", torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))  # mean, variance, rollouts

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """What the update needs from collection: log pi(a|o), [N]."""
        return {"logp": out.dist.log_prob(out.act)}

    def _here(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.moments.device)

    def _judged(self, *view: Tensor) -> Tensor:
        """V of states [N, S], or of members' rows [n, N, width] and who acts [n, N] -> [outputs, N]."""
        found: Tensor = self.critic(*view)
        return found if self.any_number else found.T

    def _values(self, *view: Any) -> np.ndarray[Any, Any]:
        """The same in the units of returns, in pieces that stay in the processor's cache."""
        pieces = zip(*(self._here(array).split(PIECE, 1 if self.any_number else 0) for array in view))
        with torch.no_grad():
            out = torch.cat([self._judged(*piece) for piece in pieces], 1)
        return cast(Any, out.cpu().numpy() * float(self.moments[1].sqrt()) + float(self.moments[0]))

    def expects(self, buffer: Any, index: Any) -> np.ndarray[Any, Any]:
        """V(s') [K] of team rows of a rollout (`marl.survivors`)."""
        return cast(Any, self._both_values(buffer)[1][index])

    def _both_values(self, buffer: TeamBuffer) -> tuple[Any, Any]:
        """V(s) and V(s'), each [outputs * B * T]: one pass of the critic over the rollout, its tail and what was truncated."""
        whole, tail, cuts = buffer.member_views() if self.any_number else buffer.state_views()
        value = self._values(*whole)
        lanes = value.reshape(len(value), buffer.copies, buffer.rows)
        following = np.concatenate([lanes[:, :, 1:], self._values(*tail)[:, :, None]], 2).reshape(len(value), -1)
        for index, final in cuts:
            whose = True if self._team else buffer.lanes("truncated")[:, index]  # of a copy that is cut some members may go on
            following[:, index] = np.where(whose, self._values(*final), following[:, index])
        return value.reshape(-1), following.reshape(-1)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """Returns and advantages by Tianshou's GAE, of the team or of each member; tensors [n, N, ...] of team rows."""
        value, following = self._both_values(buffer)
        if (behind := left_behind(buffer)) is not None:
            value, following = carried_on(buffer, behind[0], value, following)
        rows = buffer.joint() if self._team else batch
        estimator = rows if self._team else buffer
        rows = Rows.of(rew=self._paid(rows, buffer), terminated=rows.terminated, truncated=rows.truncated)
        returns, advantages = self.compute_episodic_return(
            rows, estimator, np.arange(len(rows.rew)), following, value, gamma=self.gamma, gae_lambda=self.gae_lambda
        )
        alive = buffer.lanes("alive")
        shape = (-1, alive.shape[1])
        acted = alive.any(0, keepdims=True) if self._team else alive
        returns, advantages = returns.reshape(shape), np.broadcast_to(advantages.reshape(shape), alive.shape)
        self._observe(returns[acted])
        own = advantages[alive]
        fields = {
            **{name: buffer.lanes(name) for name in ("obs", "act", "logp")},
            "adv": (advantages - own.mean()) / (own.std() + self._eps),
            "returns": (returns - float(self.moments[0])) / float(self.moments[1].sqrt()),
            "alive": alive,
            "acted": acted,
            "state": buffer.state.reshape(alive.shape[1], -1),
        }
        rows = Rows.of(**{name: self._here(field) for name, field in fields.items()})
        if isinstance(buffer, TeamSequenceBuffer):
            rows.__dict__["slices"] = buffer.rollout().to(self.moments.device)
        return rows

    def _paid(self, rows: Any, buffer: TeamBuffer) -> Any:
        """Rewards of the objective, [N] or [n * N]: `algorithms.cvar` changes them. A team's episode is the team's."""
        alive, head = (buffer.anybody, buffer.head[:, : buffer.copies]) if self._team else (buffer.alive, buffer.head)
        alive = (left_behind(buffer) or (None, alive))[1][: len(alive)]
        return self._objective(rows.rew, rows.terminated | rows.truncated, alive, head, buffer.rows)

    def _observe(self, returns: Any) -> None:
        if not self.s.normalise_values:
            return
        share = PACE if self.moments[2] else 1.0
        off, spread = float(returns.mean()) - float(self.moments[0]), float(returns.var())
        self.moments[0] += share * off
        self.moments[1] = max((1 - share) * float(self.moments[1]) + share * spread + share * (1 - share) * off * off, 1e-8)
        self.moments[2] += 1

    def _update_with_batch(self, batch: Any, batch_size: int | None, repeat: int) -> A2CTrainingStats:
        fields = {name: field for name, field in batch.__dict__.items() if field is not None}
        state, slices, found = fields.pop("state"), fields.pop("slices", None), []
        self._set_bonus()
        for _ in range(repeat):
            for rows, own in self._minibatches(slices, len(state)):
                loss, *parts = self._losses(state[rows], own, **{name: field[:, rows] for name, field in fields.items()})
                self.optim.step(loss)
                found.append([loss.item(), *(part.item() for part in parts)])
        summaries = [SequenceSummaryStats.from_sequence(list(column)) for column in zip(*found)]
        told = A2CTrainingStats(**dict(zip(("loss", "actor_loss", "vf_loss", "ent_loss"), summaries)), gradient_steps=len(found))
        return cast(A2CTrainingStats, self._tell(told))

    def _minibatches(self, slices: Slices | None, count: int) -> Iterator[tuple[Tensor, Slices | None]]:
        """(which of `count` team rows, their members' slices where these have memory, member by member)."""
        device = self.moments.device
        if slices is None:
            for rows in torch.randperm(count, device=device).chunk(self.minibatches):
                yield rows, None
            return
        length = slices.reset.shape[1]
        lanes = torch.arange(len(slices.reset), device=device).view(-1, count // length)
        for which in torch.randperm(lanes.shape[1], device=device).chunk(self.minibatches):
            rows = which.unsqueeze(1) * length + torch.arange(length, device=device)
            yield rows.flatten(), slices.take(lanes[:, which].flatten(), None)

    def _losses(self, state: Tensor, slices: Slices | None = None, **rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(L, of the actor, of the critic, entropy) of one minibatch."""
        alive, acted, advantage = rows["alive"], rows["acted"], rows["adv"]
        dist = self.policy.dist_fn(self.policy.actor(rows["obs"].flatten(0, 1) if slices is None else slices)[0])
        ratio = (dist.log_prob(rows["act"].flatten(0, 1)).view_as(alive) - rows["logp"]).exp()
        clipped = ratio.clamp(1.0 - self.s.clip, 1.0 + self.s.clip)
        members, heads = alive.sum().clamp_min(1.0), acted.sum().clamp_min(1.0)
        actor = -(torch.min(ratio * advantage, clipped * advantage) * alive).sum() / members
        entropy = (dist.entropy().view_as(alive) * alive).sum() / members
        value, returns = self._judged(*((rows["obs"], alive) if self.any_number else (state,))), rows["returns"]
        if self.s.huber is None:
            error = 0.5 * (value - returns).square()
        else:
            error = functional.huber_loss(value, returns, reduction="none", delta=self.s.huber)
        critic = (error * acted).sum() / heads
        return actor + self.s.value * critic - self.ent_coef * entropy, actor, critic, entropy


def _critic(s: settings.MAPPO, part: Part) -> nn.Module:
    hidden = s.of_critic().hidden
    if s.critic == "pooled":
        return PooledCritic(part, hidden, s.activation)
    if s.critic == "attention":
        return AttentionCritic(part, hidden, s.activation, s.heads)
    return mlp(part.state_width, 1 if part.teams else part.n, hidden, s.activation, 1.0)
