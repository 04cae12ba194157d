"""MADDPG and MATD3: deterministic actors, critics that see the global state and everybody's action (Lowe et al. 2017).

J_Q = sum_j E[(Q_ji(s, a) - y_i)^2],  y_i = r_i + gamma min_j Q'_ji(s', a'),  a'_k = clip(mu'(o'_k) + clip(e, -c, c), -1, 1),
J_mu = -mean_i E[Q_1i(s, a with mu(o_i) for a_i)],  e ~ N(0, s^2). MADDPG has one critic, no noise e and moves the actor with
every update; MATD3 (Ackermann et al. 2019) has two, noise, and moves it every `delay` updates. Members share the actor; a
critic has an output for each of them, or a single one under a team reward. Where a column is Discrete, mu has logits l and
a_i, a'_k are one-hot segments drawn from softmax(l), with the straight-through gradient of softmax((l + g) / T)
(`algorithms.gumbel`); J_mu then has c mean_i E[mean_k l_ik^2] besides, over the legal choices. Team rows: o [n, N, width],
a [n, N, U] in [-1, 1], s [N, S], y [n or 1, N]. A member that has left acts 0 and is in no mean;
while none is there, but others of the team are, what follows is what those expect (`algorithms.death`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import LaggedNetworkPolyakUpdateAlgorithmMixin, OffPolicyAlgorithm, TrainingStats
from tianshou.utils import RunningMeanStd
from torch import Tensor, nn

from algorithms import settings
from algorithms.death import inherited
from algorithms.gumbel import GumbelPolicy
from algorithms.itd3 import NoisyPolicy, SquashedActor
from algorithms.networks import mlp
from algorithms.offpolicy import Light
from algorithms.onpolicy import adam
from marl.game import Discrete
from marl.team import Part


@dataclass(kw_only=True)
class Losses(TrainingStats):
    """Of one update; the actor's is that of its last."""

    actor_loss: float
    critic_loss: float


class JointCritics(nn.Module):
    """States [N, S] and members' actions [n, N, U] -> values [critics, heads, N]."""

    overview: ClassVar[tuple[str, ...]] = ("nets",)

    def __init__(self, critics: int, inputs: int, heads: int, s: settings.MADDPG) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(inputs, heads, s.hidden, s.activation, 1.0) for _ in range(critics))

    def forward(self, state: Tensor, act: Tensor) -> Tensor:
        """[critics, heads, N]."""
        rows = torch.cat([state, act.transpose(0, 1).flatten(1)], 1)
        return torch.stack([net(rows).T for net in self.nets])


class DeterministicPolicy(NoisyPolicy):
    """mu(o) of continuous columns."""

    def __init__(self, part: Part, s: settings.MADDPG) -> None:
        self.s = s
        super().__init__(SquashedActor(part, s.hidden, s.activation), s.noise)

    def fresh(self, rows: Tensor) -> tuple[Tensor, None]:
        """Of rows [N, width]: (actions [N, U], no logits)."""
        return self.actor(rows)[0], None

    def target(self, net: nn.Module, rows: Tensor) -> Tensor:
        """Actions [N, U] by the target network, with noise."""
        act = net(rows)[0]
        noise = (self.s.target_noise * torch.randn_like(act)).clamp(-self.s.noise_clip, self.s.noise_clip)
        return (act + noise).clamp(-1.0, 1.0)


class MADDPG(Light, OffPolicyAlgorithm[Any], LaggedNetworkPolyakUpdateAlgorithmMixin):
    """MADDPG for one part of the agents. `updates` is the number of updates in the run."""

    Settings: type = settings.MADDPG
    COUNTERS = ("_iter", "_last")
    CENTRAL = True
    name, critics = "maddpg", 1

    def __init__(self, s: settings.MADDPG, part: Part, updates: int) -> None:
        s.check()
        chooses = any(isinstance(column, Discrete) for column in part.group.action.values())
        super().__init__(policy=GumbelPolicy(part, s) if chooses else DeterministicPolicy(part, s))
        LaggedNetworkPolyakUpdateAlgorithmMixin.__init__(self, s.tau)
        self.s, self._team, self.heads = s, part.teams, 1 if part.teams else part.n
        self.critic = JointCritics(self.critics, part.state_width + part.n * self.policy.row_width, self.heads, s)
        self.actor_old, self.critic_old = self._add_lagged_network(self.policy.actor), self._add_lagged_network(self.critic)
        self.policy_optim, self.critic_optim = (
            self._create_optimizer(module, adam(s.lr, s.anneal, updates), max_grad_norm=s.gradient_norm)
            for module in (self.policy, self.critic)
        )
        self.standardises = s.standardise
        if s.standardise:
            self.ret_rms = RunningMeanStd(clip_max=None)
        self._iter, self._last = 0, 0.0

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """Tensors; rewards and whether there is a future by head [n or 1, N]."""
        alive, single = batch.alive, self._team
        fields = {name: batch.__dict__[name] for name in ("obs", "obs_next", "state", "state_next")}
        fields |= {"act": batch.act * alive[:, :, None], "alive": alive, "alive_next": alive & ~batch.terminated}
        fields["reward"] = buffer.paid(indices)[None] if single else np.where(alive, batch.rew, 0.0)
        if self.s.standardise:
            self.ret_rms.update(fields["reward"].ravel() if single else batch.rew[alive])
            fields["reward"] = self.ret_rms.norm(fields["reward"])
        fields["goes_on"] = ~buffer.over(indices)[None] if single else ~batch.terminated
        fields["left"] = buffer.outlived(indices)
        fields["beyond"] = inherited(buffer, indices, torch.zeros(len(indices)))
        device = next(self.critic.parameters()).device
        batch.__dict__.update({name: torch.as_tensor(value, dtype=torch.float32, device=device) for name, value in fields.items()})
        return batch

    def _following(self, batch: Any) -> Tensor:
        """min_j Q'_j(s', a') [heads, N]."""
        act = self.policy.target(self.actor_old.module, batch.obs_next.flatten(0, 1)).view_as(batch.act) * batch.alive_next.unsqueeze(2)
        found: Tensor = self.critic_old.module(batch.state_next, act).min(0).values
        return found

    def _targets(self, batch: Any) -> Tensor:
        """y [heads, N]."""
        with torch.no_grad():
            follows = torch.where(batch.left > 0, batch.beyond, self._following(batch))
            y: Tensor = batch.reward + self.s.gamma * batch.goes_on * follows
            return y

    def expects(self, buffer: Any, index: Any) -> Any:
        """Q' [K] of what follows team rows, of the team's one head (`marl.survivors`)."""
        batch, device = buffer.team_rows(index), next(self.critic.parameters()).device
        batch.__dict__["alive_next"] = batch.alive & ~batch.terminated
        for name in ("act", "obs_next", "state_next", "alive_next"):
            batch.__dict__[name] = torch.as_tensor(batch.__dict__[name], dtype=torch.float32, device=device)
        with torch.no_grad():
            return self._following(batch)[0].cpu().numpy()

    def _actor_loss(self, batch: Any) -> Tensor:
        """J_mu: of every member's own fresh action among the recorded ones of the others."""
        act, n = batch.act, len(batch.act)
        fresh, square = self.policy.fresh(batch.obs.flatten(0, 1))
        fresh = fresh.view_as(act)
        own = torch.eye(n, device=act.device).view(n, n, 1, 1)  # [member whose loss it is, member that acts]
        joint = (own * fresh + (1.0 - own) * act).transpose(0, 1).flatten(1, 2)  # [n, n * N, U]
        value = self.critic(batch.state.repeat(n, 1), joint)[0].view(self.heads, n, -1)
        mine = value.diagonal().T if self.heads > 1 else value[0]
        loss = -(mine * batch.alive).sum() / batch.alive.sum()
        if square is None:
            return loss
        return loss + self.s.logit_penalty * (square.view(n, -1) * batch.alive).sum() / batch.alive.sum()

    def _update_with_batch(self, batch: Any) -> Losses:
        weight = batch.alive if self.heads > 1 else torch.ones_like(batch.reward)
        error = (self.critic(batch.state, batch.act) - self._targets(batch)).square()
        critic = (error * weight).sum() / weight.sum()
        self.critic_optim.step(critic)
        if self._iter % self.s.delay == 0:
            actor = self._actor_loss(batch)
            self._last = actor.item()
            self.policy_optim.step(actor)
            self._polyak()
        self._iter += 1
        return Losses(actor_loss=self._last, critic_loss=critic.item())
