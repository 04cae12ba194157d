"""Speed of the compiled auction against the plain-Python twin of the same rules, over whole episodes: 8 bidders, 32 auctions a tick."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import envs
from envs.auction.params import AuctionParams
from marl.vector import VectorGame
from tests.envs.auction_oracle import Auction
from tests.speed.measure import Ratio, ratio

BIDDERS, COPIES = 8, 256
RULES, VIEW, THREADS, RATE = 100.0, 20.0, 1.8, 2.0e6
PARAMS: dict[str, Any] = {"n_agents": BIDDERS, "auctions_per_tick": 32, "horizon": 24}


def plain_episode() -> Callable[[], None]:
    """One episode of the twin with actions drawn once, as a peer's loop plays it."""
    game = Auction(AuctionParams(**PARAMS))
    game.reset(seed=0)
    return lambda: _play(game)


def view_episode() -> Callable[[], None]:
    """One episode of the PettingZoo view of the compiled game."""
    game = envs.parallel_env("auction", **PARAMS)
    game.reset(seed=0)
    return lambda: _play(game)


def _play(game: Any) -> None:
    game.reset()
    actions = {agent: np.array([1.0], np.float32) for agent in game.possible_agents}
    while game.agents:
        game.step(actions)


def copies_episodes(threads: int) -> tuple[Callable[[], None], float]:
    """(play one episode of every copy, agent-steps that it makes)."""
    game: VectorGame = envs.make("auction", COPIES, threads=threads, **PARAMS)
    game.reset(0)
    action = np.ones(game.action.shape)

    def play() -> None:
        for _ in range(PARAMS["horizon"]):
            game.step(action)

    return play, float(PARAMS["horizon"] * BIDDERS * COPIES)


def repeated(turn: Callable[[], None], times: int) -> Callable[[], None]:
    def play() -> None:
        for _ in range(times):
            turn()

    return play


def rules() -> Ratio:
    """One thread, 256 copies, against one twin."""
    ours, work = copies_episodes(1)
    plain = float(PARAMS["horizon"] * BIDDERS)
    return ratio(
        "rules, 256 copies", repeated(ours, 20), repeated(plain_episode(), 20), (20 * work, 20 * plain), unit="agent-steps", at_least=RULES
    )


def view() -> Ratio:
    """The PettingZoo view of one copy, against one twin."""
    work = float(PARAMS["horizon"] * BIDDERS)
    times = (200, 20)
    turns = repeated(view_episode(), times[0]), repeated(plain_episode(), times[1])
    return ratio("PettingZoo view", *turns, (times[0] * work, times[1] * work), unit="agent-steps", at_least=VIEW)


def threads() -> Ratio:
    """Two threads against one, wall time."""
    two, work = copies_episodes(2)
    one, _ = copies_episodes(1)
    named = {"unit": "agent-steps", "at_least": THREADS, "clock": time.perf_counter, "turns": 11}
    return ratio("two threads", repeated(two, 20), repeated(one, 20), (20 * work, 20 * work), **named)  # type: ignore[arg-type]
