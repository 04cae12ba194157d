"""Speed of the compiled supply chain against the plain-Python twin of the same rules, a reset against a step, and OR-Gym's rates.

OR-Gym 0.5's environments were timed on another day on one core of such a machine: its inventory environment made 10,700 steps of three
stages a second, its network environment 65 steps; they are constants here because it does not run beside numpy 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import envs
from envs.supply_chain.params import SupplyChainParams
from tests.envs.supply_oracle import SupplyChain
from tests.speed.measure import Rate, Ratio, rate, ratio
from tests.speed.rules import repeated

RULES, RATE = 100.0, 5.0e6
"""At least: how many times the twin's speed, and node-product-steps a second of one core."""
INVENTORY, NETWORK = 10_700.0, 65.0
"""OR-Gym: steps a second, of an inventory system's stages and of a network with its links."""
SIZES: dict[int, dict[str, Any]] = {
    6: {"n_agents": 6, "products": 2},
    36: {"n_agents": 36, "products": 10, "retailers": 12, "tiers": 4, "demand_mean": "3"},
    100: {"n_agents": 100, "products": 4, "retailers": 40, "tiers": 4},
}
PARTS, COPIES = 36_864, 512
"""Nodes x products of all copies, and copies, at most: the state of more leaves the processor's cache."""


def settings_of(nodes: int, **more: Any) -> dict[str, Any]:
    return {**SIZES[nodes], "horizon": 100, "continuing": True, "action": "delta", **more}


def plain_episode(nodes: int) -> Callable[[], None]:
    """One short episode of the twin with actions that stay."""
    game = SupplyChain(SupplyChainParams(**{**settings_of(nodes), "horizon": 10}))
    game.reset(seed=0)
    action = dict.fromkeys(game.possible_agents, np.zeros(game.p.products))

    def play() -> None:
        game.reset()
        while game.agents:
            game.step(action)

    return play


def copies_ticks(nodes: int, ticks: int, **more: Any) -> tuple[Callable[[], None], float]:
    """(so many ticks of all copies on one thread with actions that stay, node-product-steps that they are)."""
    settings = settings_of(nodes, **more)
    each = nodes * settings["products"]
    copies = min(COPIES, PARTS // each)
    game = envs.make("supply_chain", copies, **settings)
    game.reset(0)

    def play() -> None:
        for _ in range(ticks):
            game.tick()

    return play, float(ticks * copies * each)


def supply(nodes: int) -> Ratio:
    """One thread against one twin."""
    ours, work = copies_ticks(nodes, 10)
    plain = float(10 * nodes * SIZES[nodes]["products"])
    return ratio(
        f"supply chain, {nodes} nodes", repeated(ours, 2), plain_episode(nodes), (2 * work, plain), unit="node-product-steps",
        at_least=RULES, turns=3,
    )  # fmt: skip


def raw(nodes: int) -> Rate:
    """One thread, actions that stay."""
    play, work = copies_ticks(nodes, 10)
    return rate(f"supply chain, {nodes} nodes", play, work, unit="node-product-steps", at_least=RATE)


def peers() -> list[Rate]:
    """Stage-steps of a chain of three stages against OR-Gym's, 100 times; link-steps of a network of as many links against its, 1,000."""
    chain = envs.make("supply_chain", 1_024, topology="serial", n_agents=3, products=1, horizon=100, continuing=True, action="delta")
    network = envs.make("supply_chain", 256, products=1, horizon=100, continuing=True, action="delta")
    found = []
    for name, game, parts, bound in (
        ("serial chain, stages", chain, 3, 100 * 3 * INVENTORY),
        ("network, links", network, int(network.params.link_count), 1_000 * int(network.params.link_count) * NETWORK),  # type: ignore[attr-defined]
    ):
        game.reset(0)
        found.append(rate(name, repeated(game.tick, 50), 50.0 * game.n_envs * parts, unit="steps", at_least=bound))
    return found


def reset() -> Ratio:
    """A new episode of every copy against a tick of every copy."""
    settings = settings_of(36)
    copies = PARTS // 360
    game = envs.make("supply_chain", copies, **settings)
    game.reset(0)
    every = np.arange(copies)

    def begin() -> None:
        game._start(game._p, game._s, game._o, every)

    return ratio("supply chain, a reset over a step", repeated(begin, 5), repeated(game.tick, 5), (5.0, 5.0), unit="copies", at_least=1.0)
