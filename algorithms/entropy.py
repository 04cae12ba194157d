"""The coefficient of PPO's entropy bonus over a run: falling linearly, or adapted toward a target entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from algorithms import settings
from algorithms.schedules import linear

LOWEST, HIGHEST = 1e-4, 10.0
"""Bounds of an adapted coefficient: without them it would run away while the target is out of reach, and be long in coming back."""


class EntropyBonus(nn.Module):
    """The coefficient c of the next update, and what moves it.

    With `entropy_end`: c_k = c_0 + (c_end - c_0) min(1, k / K) at update k of K.
    With `entropy_target` H*: log c <- log c + p (H* - H) after every update, H the mean entropy of its rows in nats and p
    `entropy_pace`. That is a step down the gradient of SAC's J(c) = c (H - H*) taken in log c as its code does, where c H
    is replaced by log c H (Haarnoja et al. 2018, arXiv 1812.05905, section 5): c rises while the policy is more certain than asked.
    """

    state: Tensor

    def __init__(self, s: settings.Proximal, updates: int) -> None:
        super().__init__()
        self._first, self._end, self._target, self._pace, self._updates = (
            s.entropy,
            s.entropy_end,
            s.entropy_target,
            s.entropy_pace,
            max(updates, 1),
        )
        start = math.log(s.entropy) if s.entropy_target is not None else 0.0
        self.register_buffer("state", torch.tensor([0.0, start], dtype=torch.float64))  # updates so far, log of an adapted c

    @property
    def coefficient(self) -> float:
        """c of the next update."""
        if self._target is not None:
            return math.exp(float(self.state[1]))
        assert self._end is not None
        return linear(self._first, self._end, float(self.state[0]), self._updates)

    def observe(self, entropy: float) -> None:
        """Take the mean entropy [nats] of the rows of an update."""
        self.state[0] += 1
        if self._target is not None:
            moved = float(self.state[1]) + self._pace * (self._target - entropy)
            self.state[1] = min(max(moved, math.log(LOWEST)), math.log(HIGHEST))
