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
from algorithms.networks import Actor, Critic
from algorithms.onpolicy import ActorPolicy, Rollouts, adam
from marl.team import Part


class IA2C(Rollouts, A2C):
    """A2C for one part of the agents. `updates` is the number of rollouts in the run."""

    Settings = settings.IA2C
    FIELDS: tuple[str, ...] = ()
    minibatches = 1

    def __init__(self, s: settings.IA2C, part: Part, updates: int) -> None:
        s.check()
        super().__init__(
            policy=ActorPolicy(Actor(part, s.hidden, s.activation, s.log_std)),
            critic=Critic(part, s.hidden, s.activation),
            optim=adam(s.lr, s.anneal, updates),
            vf_coef=s.value,
            ent_coef=s.entropy,
            max_grad_norm=s.gradient_norm,
            gae_lambda=s.gae_lambda,
            gamma=s.gamma,
            return_scaling=s.return_scaling,
        )
        self.team = part.teams

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """Nothing: the update computes log pi(a|o) itself, with its gradient."""
        return {}
