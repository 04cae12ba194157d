"""PPO-Lagrangian: independent PPO under a limit on what an episode costs (Ray, Achiam and Amodei 2019).

max_pi E[R]  subject to  E[C] <= d:  a saddle point of  E[R] - m (E[C] - d)  over pi and the multiplier m >= 0 (Altman 1999),
R what an episode pays an agent and C what it costs one, in the mean over the part's agents, undiscounted.
The policy's step is PPO's, its loss unchanged, on the advantage A = A_R - m A_C; each by GAE(lambda), from a critic of its own,
the cost's learned by E[(R_C - V_C)^2] beside. (The paper divides A by 1 + m; here PPO divides A by its deviation.)
A_R is discounted by gamma; A_C by `cost_gamma`, which is 1 where not given, and costs end with their episode even where it is cut: A_C
is then the advantage in C, the very number that the limit is on, however late a choice costs. Below 1, m is larger by 1 / cost_gamma^k
where a choice costs k ticks later.
The multiplier's, after every rollout in which episodes ended, with their mean cost C and e = C - d, is
    I <- max(0, I + k_i e),   m = max(0, k_p e + I + k_d max(0, C - C_before))
(Stooke, Achiam and Abbeel 2020). With k_p = k_d = 0, the default, it is projected dual ascent at the rate k_i; k_p and k_d
damp its swings. m is in reward units a cost unit: at the optimum, what one more unit of an episode's cost would earn, discounted by
gamma to the tick of the choice.
Rows [N, width], A, R, C [N]. Costs of the ticks in which an agent acts are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from algorithms import settings
from algorithms.cvar import running
from algorithms.ippo import IPPO
from algorithms.onpolicy import adam
from algorithms.recurrent import critic_of, joined_fields
from marl.errors import UserError
from marl.replay import LaneBuffer
from marl.team import Part


class Multiplier(torch.nn.Module):
    """m, moved by what episodes cost."""

    state: Tensor

    def __init__(self, s: settings.IPPOLagrangian, limit: float) -> None:
        super().__init__()
        self.limit, self._gains = limit, (s.proportional, s.multiplier_lr, s.derivative)
        start = torch.tensor([s.multiplier, s.multiplier, 0.0, 0.0], dtype=torch.float64)
        self.register_buffer("state", start)  # m, integral I, mean cost before, rollouts that ended episodes

    @property
    def value(self) -> float:
        """m, reward units a cost unit."""
        return float(self.state[0])

    @property
    def cost(self) -> float | None:
        """Mean cost of the latest episodes; none before one has ended."""
        return float(self.state[2]) if self.state[3] else None

    def observe(self, costs: np.ndarray[Any, Any]) -> None:
        """Take the costs [E] of the episodes that a rollout ended."""
        if not len(costs):
            return
        proportional, integral, derivative = self._gains
        mean, off = float(costs.mean()), float(costs.mean()) - self.limit
        rise = max(0.0, mean - float(self.state[2])) if self.state[3] else 0.0
        gathered = max(0.0, float(self.state[1]) + integral * off)
        value = max(0.0, proportional * off + gathered + derivative * rise)
        self.state[:] = torch.tensor([value, gathered, mean, float(self.state[3]) + 1.0], dtype=torch.float64)


class IPPOLagrangian(IPPO):
    """PPO-Lagrangian for one part of the agents. `updates` is the number of rollouts in the run."""

    Settings = settings.IPPOLagrangian
    COSTS = True

    def __init__(self, s: settings.IPPOLagrangian, part: Part, updates: int) -> None:
        super().__init__(s, part, updates)
        self._columns, self._cost_gamma = _columns(s, part), s.cost_gamma
        if s.cost_limit is None:
            what = s.cost or " + ".join(part.costs)
            raise UserError(f"algorithm.cost_limit is not given: legal is a number, the mean of {what} an episode and agent")
        self.multiplier = Multiplier(s, s.cost_limit)
        self.cost_critic = critic_of(part, s)
        self.FIELDS += joined_fields(self.policy, cost_value=self.cost_critic)
        self.cost_optim = self._create_optimizer(self.cost_critic, adam(s.lr, s.anneal, updates), max_grad_norm=s.gradient_norm)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """As IPPO's, the advantage less m times the cost's; `cost_returns` for the cost's critic."""
        rows = super()._preprocess_batch(batch, buffer, indices)
        cost = buffer.cost[:, self._columns].sum(1)
        self.multiplier.observe(self._totals(batch, buffer, cost))
        returns, advantages = self._estimates(batch, buffer, indices, cost, 1.0, self.cost_critic, gamma=self._cost_gamma, episodic=True)
        kept = slice(None) if buffer.alive.all() else np.flatnonzero(buffer.alive)
        rows.__dict__["adv"] = rows.adv - self.multiplier.value * self._here(advantages[kept])
        rows.__dict__["cost_returns"] = self._here(returns[kept])
        return rows

    def _judges(self) -> Mapping[str, Any]:
        return {**super()._judges(), "cost_value": self.cost_critic}

    def _totals(self, batch: Any, buffer: LaneBuffer, cost: Any) -> Any:
        """Costs [E] of the episodes that ended in the rollout."""
        over, alive = ((batch.terminated | batch.truncated).reshape(-1, buffer.rows), buffer.alive.reshape(-1, buffer.rows))
        upto, _ = running(cost.reshape(-1, buffer.rows), over, buffer.cost_before[:, self._columns].sum(1))
        return upto[over & alive]

    def _update_with_batch(self, batch: Any, batch_size: int | None, repeat: int) -> Any:
        told = super()._update_with_batch(batch, batch_size, repeat)
        losses = []
        for _ in range(repeat):
            for rows in batch.split(batch_size or -1, merge_last=True):
                loss = (rows.cost_returns - self.cost_critic(rows.obs).flatten()).square().mean()
                self.cost_optim.step(loss)
                losses.append(loss.item())
        vars(told).update(multiplier=self.multiplier.value, episode_cost=self.multiplier.cost, cost_vf_loss=float(np.mean(losses)))
        return told


def _columns(s: settings.IPPOLagrangian, part: Part) -> list[int]:
    """The cost columns that the limit is on. Raises UserError where the game has none, or none of that name."""
    if not part.costs:
        raise UserError(f"algorithm = 'ippo_lagrangian' for {part.name}: the game has no cost columns to limit; ippo needs none")
    if s.cost is not None and s.cost not in part.costs:
        raise UserError(f"algorithm.cost = {s.cost!r}: legal are {', '.join(part.costs)}, or null for their sum")
    return list(range(len(part.costs))) if s.cost is None else [part.costs.index(s.cost)]
