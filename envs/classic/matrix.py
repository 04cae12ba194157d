"""Repeated matrix games of two players: climbing, penalty (Claus and Boutilier 1998) and rock-paper-scissors.

Both players choose one of three actions in every tick and are paid from a table. An episode is 25 ticks, as in
Papoudakis et al. 2021, "Benchmarking multi-agent deep reinforcement learning algorithms in cooperative tasks", whose
returns are those of one player. Players see nothing that changes, or with `observe_last` what both did last. The ticks
go on without an end that anybody sees, so that the horizon truncates; a game of one tick terminates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.compiled import rule
from marl.game import F4, F8, I8, RUNNING, TERMINATED, TRUNCATED, Column, Component, Discrete, Game, Role, array, inf
from marl.params import Params, param

ACTIONS = 3


@dataclass(frozen=True)
class MatrixParams(Params):
    """What all repeated matrix games share. `payoff` [player, own action of player 0, of player 1]."""

    TABLES: ClassVar[tuple[str, ...]] = ("payoff",)
    horizon: int = param(25, 1, 100_000, "ticks")
    observe_last: bool = param(False, 0, 1, "", "whether players see both actions of the last tick")

    def payoffs(self) -> F8:
        """[2, 3, 3] points of both players."""
        raise NotImplementedError

    def tables(self) -> Mapping[str, npt.NDArray[Any]]:
        return {"payoff": self.payoffs()}


def common(table: list[list[float]]) -> F8:
    """[2, 3, 3] of a game in which both are paid the same."""
    return np.array([table, table], np.float64)


@dataclass(frozen=True)
class ClimbingParams(MatrixParams):
    """Whoever climbs towards 11 alone falls to -30."""

    def payoffs(self) -> F8:
        return common([[11, -30, 0], [-30, 7, 6], [0, 0, 5]])


@dataclass(frozen=True)
class PenaltyParams(MatrixParams):
    """Two optima that cost k where the players choose different ones; 2 is safe."""

    k: float = param(-100.0, -1e6, 0.0, "points")

    def payoffs(self) -> F8:
        return common([[self.k, 0, 10], [0, 2, 0], [10, 0, self.k]])


@dataclass(frozen=True)
class RockPaperScissorsParams(MatrixParams):
    """A zero-sum game, 1 for a win."""

    def payoffs(self) -> F8:
        own = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        return np.stack([own, -own])


class MatrixState(NamedTuple):
    last: I8 = array("agents")  # [B, A] action of the last tick, -1 at first
    paid: F8 = array("agents")  # [B, A] points in this episode
    chosen: I8 = array("agents", ACTIONS)  # [B, A, 3] ticks in which each action was chosen


@rule
def begin(p, s, b):
    for a in range(2):
        s.last[b, a] = -1
        s.paid[b, a] = 0.0
        for k in range(ACTIONS):
            s.chosen[b, a, k] = 0


@rule
def step(p, s, b, action, components, cost):
    i, j = int(action[b, 0, 0]), int(action[b, 1, 0])
    for a in range(2):
        mine = i if a == 0 else j
        s.last[b, a] = mine
        s.chosen[b, a, mine] += 1
        s.paid[b, a] += p.payoff[a, i, j]
        components[b, a, 0] = p.payoff[a, i, j]
    if s.t[b] + 1 < p.horizon:
        return RUNNING
    return TERMINATED if p.horizon == 1 else TRUNCATED


@rule
def observe(p, s, b, obs):
    for a in range(2):
        obs[b, a, 0] = 1.0
        if p.observe_last:
            for k in range(ACTIONS):
                obs[b, a, 1 + k] = 1.0 if s.last[b, a] == k else 0.0
                obs[b, a, 1 + ACTIONS + k] = 1.0 if s.last[b, 1 - a] == k else 0.0


@rule
def measure(p, s, b, metrics):
    for a in range(2):
        metrics[b, a, 0] = s.paid[b, a] / (s.t[b])
        for k in range(ACTIONS):
            metrics[b, a, 1 + k] = s.chosen[b, a, k] / (s.t[b])


METRICS = {"payoff": Column(-inf, inf, "points a tick")} | {
    f"share_{k}": Column(0, 1, f"share of ticks with action {k}") for k in range(ACTIONS)
}


def roles(p: MatrixParams) -> tuple[Role, ...]:
    """Two players; their columns are a constant, and with `observe_last` both last actions one-hot, zero at first."""
    seen = {"here": Column(0, 1)}
    if p.observe_last:
        seen |= {f"{who}_last_{k}": Column(0, 1) for who in ("own", "other") for k in range(ACTIONS)}
    return (Role("player", 2, seen, {"choice": Discrete(ACTIONS)}),)


def equilibria(payoff: F8) -> list[tuple[int, int]]:
    """Pure Nash equilibria (own action of player 0, of player 1): neither gains by another action alone."""
    rows, columns = payoff[0].max(0), payoff[1].max(1)
    return [(i, j) for i in range(ACTIONS) for j in range(ACTIONS) if payoff[0, i, j] >= rows[j] and payoff[1, i, j] >= columns[i]]


def known_common(p: MatrixParams) -> dict[str, float]:
    """Return of a player at the best and at the worst pure equilibrium: 275 and 175 in climbing, 250 and 50 in penalty."""
    payoff = p.payoffs()
    worth = [float(payoff[0, i, j]) for i, j in equilibria(payoff)]
    return {"return": max(worth) * p.horizon, "safe_return": min(worth) * p.horizon}


def known_zero_sum(p: MatrixParams) -> dict[str, float]:
    """Value of the game, and share of each action at its only equilibrium (von Neumann 1928)."""
    return {"return": 0.0, "payoff": 0.0, **{f"share_{k}": 1 / ACTIONS for k in range(ACTIONS)}}


def always(choice: int) -> Any:
    """The baseline that always chooses that action."""

    def act(p: MatrixParams, obs: F4, generator: np.random.Generator) -> F8:
        return np.full((len(obs), 1), float(choice))

    return act


def _game(name: str, params: type[MatrixParams], known: Any, **more: Any) -> Game:
    return Game(
        name,
        version=0,
        params=params,
        state=MatrixState,
        roles=roles,
        begin=begin,
        step=step,
        observe=observe,
        measure=measure,
        metrics=METRICS,
        reward={"payoff": Component(1.0, "points")},
        known=known,
        **more,
    )


SOURCE = "Claus and Boutilier 1998, The dynamics of reinforcement learning in cooperative multiagent systems"
CLIMBING = _game(
    "climbing",
    ClimbingParams,
    known_common,
    together=known_common,
    baselines={"optimal": always(0), "safe": always(1)},
    reference=lambda p: "optimal",
    citation=SOURCE,
)
PENALTY = _game(
    "penalty",
    PenaltyParams,
    known_common,
    together=known_common,
    baselines={"safe": always(1)},
    reference=lambda p: "safe",
    presets={"penalty-0": {"k": 0}, "penalty-25": {"k": -25}, "penalty-50": {"k": -50}, "penalty-75": {"k": -75}, "penalty-100": {}},
    citation=SOURCE,
)
ROCK_PAPER_SCISSORS = _game(
    "rock_paper_scissors",
    RockPaperScissorsParams,
    known_zero_sum,
    baselines={"rock": always(0)},
    citation="von Neumann 1928, Zur Theorie der Gesellschaftsspiele",
)
