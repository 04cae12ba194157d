"""Policies on another device than the rows: everything that asks a policy brings the rows to it. No GPU is needed to see that.

A parameter on torch's "meta" device marks where a policy lives; it is never computed with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tianshou.data import Batch
from torch import nn

from marl import checkpoint
from marl.actor import Actor
from marl.evaluate import choose
from marl.opinion import opinion_of
from marl.team import LightPolicy, parts
from marl.vector import VectorGame
from tests.aim import AIM


class Far(LightPolicy):
    """A policy that lives elsewhere and notes where its rows come to."""

    def __init__(self) -> None:
        super().__init__(action_space=spaces.Discrete(1), action_bound_method=None)
        self.weight = nn.Parameter(torch.empty(1, device="meta"))
        self.rows: list[tuple[str, int]] = []

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        self.rows.append((batch.obs.device.type, len(batch.obs)))
        return Batch(act=np.full((len(batch.obs), 1), 0.5))

    def map_action(self, act: Any) -> Any:
        return act


def test_rows_come_to_the_device_of_the_policy() -> None:
    copies, policy = VectorGame(AIM, 3), Far()
    copies.reset(0)
    plan = parts(copies, "group")
    actor = Actor(copies, plan, {"archer": policy})
    assert (actor.act(copies.obs) == 0.5).all()
    assert actor.act({"archer_1": copies.obs[0, 1]})["archer_1"] == 0.5
    assert (choose(policy, plan["archer"], copies) == 0.5).all()
    assert (opinion_of(policy, torch.zeros(4, 1), 1.0)[0].action == 0.5).all()
    assert policy.rows == [("meta", 6), ("meta", 1), ("meta", 6), ("meta", 4)]


def test_random_states_of_gpus_that_are_not_here_are_left_alone() -> None:
    """A run on the CPU of a machine with more GPUs goes on here, with the generators that it used."""
    states = checkpoint.random_states()
    states["cuda"] = [torch.zeros(16, dtype=torch.uint8)] * (torch.cuda.device_count() + 1)
    if torch.cuda.device_count():
        states["cuda"][:-1] = torch.cuda.get_rng_state_all()
    expected = torch.rand(3), np.random.random(3)
    checkpoint.set_random_states(states)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.random(3) == expected[1]).all()
