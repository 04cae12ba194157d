"""Speed of the compiled cluster against the plain-Python twin of the same rules, over whole episodes of 200 ticks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import envs
from envs.resource_allocation.params import ClusterParams
from tests.envs.cluster_oracle import Cluster
from tests.speed.measure import Rate, Ratio, rate, ratio
from tests.speed.rules import repeated

RULES, RATE = 60.0, 2.0e6
"""At least: how many times the twin's speed, and agent-steps a second of one core."""
SIZES: dict[int, dict[str, Any]] = {
    8: {"n_agents": 8, "nodes": "4 8 16"},
    128: {"n_agents": 128, "nodes": "64 8 16"},
}


def plain_episode(settings: dict[str, Any]) -> Callable[[], None]:
    """One episode of the twin with actions that stay."""
    game = Cluster(ClusterParams(**settings, horizon=20))
    game.reset(seed=0)
    action = dict.fromkeys(game.possible_agents, np.array([1.0, 1.0, 0.05, 0.0]))

    def play() -> None:
        game.reset()
        while game.agents:
            game.step(action)

    return play


def copies_episode(settings: dict[str, Any], copies: int) -> Callable[[], None]:
    """One episode of every copy, one thread."""
    game = envs.make("cluster", copies, **settings, horizon=200)
    game.reset(0)
    game.action[:] = [1.0, 1.0, 0.05, 0.0]

    def play() -> None:
        for _ in range(200):
            game.tick()

    return play


def cluster(tenants: int) -> Ratio:
    """One thread, so many copies that they are 2,048 tenants, against one twin, whose episodes are a tenth as long."""
    settings, copies = SIZES[tenants], 2_048 // tenants
    ours, theirs = copies_episode(settings, copies), plain_episode(settings)
    work = (200.0 * copies * tenants, 20.0 * tenants)
    return ratio(f"cluster, {tenants} tenants", repeated(ours, 2), theirs, (2 * work[0], work[1]), unit="agent-steps", at_least=RULES)


def raw(tenants: int) -> Rate:
    """One thread, 2,048 tenants in all, actions that stay."""
    copies = 2_048 // tenants
    play = copies_episode(SIZES[tenants], copies)
    return rate(f"cluster, {tenants} tenants", play, 200.0 * copies * tenants, unit="agent-steps", at_least=RATE)
