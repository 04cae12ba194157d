"""Independent PPO: Tianshou's PPO on lanes, its loss unchanged.

L = E[ min(r A, clip(r, 1 - e, 1 + e) A) ] - c_v E[(R - V)^2] + c_e E[H],  r = pi(a|o) / pi_old(a|o),
with A by GAE(lambda) (Schulman et al. 2016) and PPO by Schulman et al. 2017; that every agent learns from its own
observation and reward alone is IPPO (de Witt et al. 2020). Only `_preprocess_batch` is overridden: log-probabilities come
from collection, and one pass of the critic over the rollout gives both V(o) and V(o'), where Tianshou's takes three passes.
c_e may follow a schedule or a target (`algorithms.entropy`), and the worst share of episodes be what counts (`algorithms.cvar`).
"""

from __future__ import annotations

from typing import Any

from tianshou.algorithm import PPO
from torch import Tensor

from algorithms import settings
from algorithms.death import left_behind, team_rows
from algorithms.onpolicy import Rollouts, adam
from algorithms.proximal import Proximal
from algorithms.recurrent import actor_of, critic_of, joined_fields, policy_of
from marl.replay import LaneBuffer
from marl.team import Part


class IPPO(Proximal, Rollouts, PPO):
    """PPO for one part of the agents. `updates` is the number of rollouts in the run."""

    Settings: type = settings.IPPO
    FIELDS: tuple[str, ...] = ("logp",)

    def __init__(self, s: settings.IPPO, part: Part, updates: int) -> None:
        s.check()
        self.minibatches = s.minibatches
        policy, critic = self._networks(s, part)
        super().__init__(
            policy=policy,
            critic=critic,
            optim=adam(s.lr, s.anneal, updates),
            eps_clip=s.clip,
            vf_coef=s.value,
            ent_coef=s.entropy,
            max_grad_norm=s.gradient_norm,
            gae_lambda=s.gae_lambda,
            gamma=s.gamma,
            return_scaling=s.return_scaling,
        )
        self.FIELDS += joined_fields(self.policy, value=critic)
        self._equip(s, updates)

    def _networks(self, s: Any, part: Part) -> tuple[Any, Any]:
        """Policy and critic."""
        actor = actor_of(part, s)
        return policy_of(actor), critic_of(part, s)

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """What the update needs from collection: log pi(a|o), [N]; V(o) of a critic with memory."""
        return {"logp": out.dist.log_prob(out.act), **self._remembered(rows, out)}

    def _paid(self, batch: Any, buffer: LaneBuffer) -> Any:
        """Rewards [N] of the objective: `algorithms.cvar` changes them."""
        behind = left_behind(buffer)
        rows, acted = (batch, buffer.alive) if behind is None else (team_rows(buffer, batch.rew), behind[1])
        return self._objective(batch.rew, rows.terminated | rows.truncated, acted, buffer.head, buffer.rows)

    def _update_with_batch(self, batch: Any, batch_size: int | None, repeat: int) -> Any:
        self._set_bonus()
        return self._tell(super()._update_with_batch(batch, batch_size, repeat))

    def _recorded(self, buffer: LaneBuffer) -> dict[str, Any]:
        return {"logp_old": buffer.recorded["logp"]}
