"""Independent A2C: Tianshou's A2C on lanes, its loss unchanged.

L = -E[log pi(a|o) A] + c_v E[(R - V)^2] - c_e E[H], one gradient step a rollout (Mnih et al. 2016, synchronous), with A by
GAE(lambda) (Schulman et al. 2016) and R = A + V. Rows [N, width], A, R, V, log pi [N]: every agent learns from its own
observation and reward alone. Only `_preprocess_batch` is overridden, as in `algorithms.ippo`: one pass of the critic.
"""

from __future__ import annotations

from typing import Any

from tianshou.algorithm import A2C
from torch import Tensor

from algorithms import settings
from algorithms.onpolicy import Rollouts, adam
from algorithms.recurrent import actor_of, critic_of, joined_fields, policy_of
from marl.team import Part


class IA2C(Rollouts, A2C):
    """A2C for one part of the agents. `updates` is the number of rollouts in the run."""

    Settings = settings.IA2C
    FIELDS: tuple[str, ...] = ()
    minibatches = 1

    def __init__(self, s: settings.IA2C, part: Part, updates: int) -> None:
        s.check()
        actor = actor_of(part, s)
        critic = critic_of(part, s)
        super().__init__(
            policy=policy_of(actor),
            critic=critic,
            optim=adam(s.lr, s.anneal, updates),
            vf_coef=s.value,
            ent_coef=s.entropy,
            max_grad_norm=s.gradient_norm,
            gae_lambda=s.gae_lambda,
            gamma=s.gamma,
            return_scaling=s.return_scaling,
        )
        self.FIELDS += joined_fields(self.policy, value=critic)

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """V(o) of a critic with memory; the update computes log pi(a|o) itself, with its gradient."""
        return self._remembered(rows, out)
