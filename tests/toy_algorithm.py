"""Exponential weights over a finite set of actions, whatever is observed: an algorithm as users write one, for `--module`.

log w_k <- log w_k + eta mean_i[ r_i 1(a_i = k) / p_k ],   p_k = (1 - e) w_k / sum_j w_j + e / K,
with a_i drawn from p and paid r_i: the importance-weighted gains of Exp3 (Auer, Cesa-Bianchi, Freund and Schapire 2002), averaged
over the rows i of a rollout. log w, p [K]; a, r [N]. It learns the best single action, or, in self-play, mixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.algorithm_base import OnPolicyAlgorithm
from tianshou.algorithm.modelfree.reinforce import SimpleLossTrainingStats
from tianshou.data import Batch
from torch import Tensor

from algorithms import ALGORITHMS, check_serves
from algorithms.choices import Choices
from algorithms.hyperparameters import Settings, setting
from algorithms.quantiles import choice
from marl.team import LightPolicy, Part


@dataclass
class Exp3Settings(Settings):
    """`lr` is eta."""

    serves = "choices"
    uniform: float = setting(0.2, 0.0, 1.0, "e, the share of choices that is drawn uniformly")


class WeightsPolicy(LightPolicy):
    """Draws from p within a training step, takes the choice of the largest weight outside."""

    log_weights: Tensor

    def __init__(self, part: Part, uniform: float) -> None:
        self.row_width, self.choices, self.uniform = 1, Choices(part), uniform
        super().__init__(action_space=spaces.Discrete(len(self.choices)), action_bound_method=None)
        self.register_buffer("log_weights", torch.zeros(len(self.choices), dtype=torch.float64))

    @property
    def chances(self) -> Tensor:
        """p [K]."""
        return (1.0 - self.uniform) * self.log_weights.softmax(0) + self.uniform / len(self.choices)

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(act [N])."""
        n = len(batch.obs)
        drawn = torch.multinomial(self.chances, n, replacement=True)
        return Batch(act=drawn if self.is_within_training_step else self.log_weights.argmax().repeat(n), state=None)

    def drawn(self, rows: Tensor, out: Any, u: Tensor) -> Tensor:
        """Choices [N] drawn from p by uniform numbers u [N, U], for `marl.sample`."""
        return choice(self.chances.repeat(len(u), 1), u[:, 0])

    def map_action(self, act: Any) -> Any:
        """Choices [N] -> the units of the action table [N, U]."""
        return self.choices.actions[np.asarray(self._action_to_numpy(act), np.int64).reshape(-1)]


class Exp3(OnPolicyAlgorithm[WeightsPolicy]):
    """Exp3 for one part of the agents."""

    Settings = Exp3Settings
    FIELDS = ("chance",)
    minibatches = 1

    def __init__(self, s: Exp3Settings, part: Part, updates: int) -> None:
        s.check()
        check_serves("exp3", part.name, part.group.action, part.grid)
        super().__init__(policy=WeightsPolicy(part, s.uniform))
        self.s = s

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """p of what was drawn, [N]."""
        return {"chance": self.policy.chances[out.act]}

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        batch.__dict__["gain"] = torch.as_tensor(batch.rew / buffer.recorded["chance"], dtype=torch.float64)
        return batch

    def _update_with_batch(self, batch: Any, batch_size: int | None, repeat: int) -> SimpleLossTrainingStats:
        chosen = torch.as_tensor(batch.act[:, 0]).long()
        gains = torch.zeros_like(self.policy.log_weights).index_add_(0, chosen, batch.gain) / len(chosen)
        self.policy.log_weights += self.s.lr * gains
        return SimpleLossTrainingStats(loss=-float(torch.as_tensor(batch.rew).mean()))


ALGORITHMS["exp3"] = "tests.toy_algorithm:Exp3"
