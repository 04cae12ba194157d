"""Policies of SAC over action rows: what they draw, its log-probability and the choices' probabilities, their mode outside training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.discrete_sac import DiscreteSACPolicy
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.data import Batch
from torch import Tensor
from torch.nn import functional

from algorithms.gumbel import SegmentActor, SegmentPolicy, any_of, noisy, one_hot
from algorithms.networks import HALF_LOG_TWO_PI
from algorithms.opinions import of_squashed
from algorithms.quantiles import choice, normal
from marl.opinion import Opinion
from marl.team import LightPolicy

LOWEST, HIGHEST = -20.0, 2.0
"""Bounds of a log standard deviation, as in the paper's code."""


class SoftPolicy(SegmentPolicy, SACPolicy):
    """SAC's policy over action rows: [tanh of continuous columns | one-hot segments of discrete ones]."""

    def __init__(self, actor: SegmentActor) -> None:
        self.row_width = actor.free + sum(actor.columns.choices)
        super().__init__(actor=actor, action_scaling=False, action_space=spaces.Box(-1.0, 1.0, (self.row_width,), np.float32))

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(act [N, row], log_prob [N, 1], chances [N, K_1 + K_2 + ...]); the mode outside training.

        log_prob is that of the drawn continuous columns and its expectation over the discrete ones, `chances` are the latter's p.
        """
        free, columns = self.actor.free, self.actor.columns
        out, state = self.actor(batch.obs, state)
        mean, log_std, *logits = out.split([free, free, *columns.choices], -1)
        log_std = log_std.clamp(LOWEST, HIGHEST)
        drawn = mean + log_std.exp() * torch.randn_like(mean) if self.is_within_training_step else mean
        squashed = torch.tanh(drawn)
        # log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)) holds its precision where tanh saturates
        correction = 2.0 * (math.log(2.0) - drawn - functional.softplus(-2.0 * drawn))
        z = (drawn - mean) * (-log_std).exp()
        log_prob = (-0.5 * z.square() - log_std - HALF_LOG_TWO_PI - correction).sum(-1, keepdim=True)
        if not logits:
            return Batch(act=squashed, log_prob=log_prob, state=state)
        log_probs = [torch.log_softmax(l, -1) for l in logits]
        p = [l.exp() for l in log_probs]
        log_prob = log_prob + sum((x * l).sum(-1, keepdim=True) for x, l in zip(p, log_probs))
        chosen = [one_hot(noisy(l, self.is_within_training_step)) for l in log_probs]
        return Batch(act=torch.cat([squashed, *chosen], -1), log_prob=log_prob, chances=torch.cat(p, -1), state=state)

    def numbers(self, bounded: Tensor, u: Tensor) -> Tensor:
        """Of means and log deviations."""
        mean, log_std = bounded.chunk(2, -1)
        return torch.tanh(normal(mean, log_std.clamp(LOWEST, HIGHEST), u))

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode, and the distribution that it explores with."""
        free = self.actor.free
        mean, log_std, *logits = self.actor(rows)[0].split([free, free, *self.actor.columns.choices], -1)
        return of_squashed(self.map_action(out.act), mean, log_std.clamp(LOWEST, HIGHEST), logits)


class ChoicePolicy(LightPolicy, DiscreteSACPolicy):
    """DiscreteSAC's policy over one Discrete column; an action row is [choice]."""

    def __init__(self, actor: SegmentActor) -> None:
        self.row_width = 1
        super().__init__(actor=actor, action_space=spaces.Discrete(actor.columns.choices[0]))

    def map_action(self, act: Any) -> Any:
        """[N, 1] choices."""
        return self._action_to_numpy(act).reshape(-1, 1)

    def drawn(self, rows: Tensor, out: Any, u: Tensor) -> Tensor:
        """Choices [N] drawn from its distribution by uniform numbers u [N, 1] (`marl.sample`)."""
        return choice(torch.softmax(out.logits, -1), u[:, 0])

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode, and the probabilities that it explores with."""
        none = out.logits[:, :0]
        return of_squashed(self.map_action(out.act), none, none, [out.logits])

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniform over the legal choices, [N]."""
        k = self.actor.columns.choices[0]
        return any_of(obs[:, self.actor.observed :] if self.actor.masked else obs.new_ones(len(obs), k))
