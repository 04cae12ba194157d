"""The two-step game of Rashid et al. 2018, "QMIX: monotonic value function factorisation": player 0 chooses a branch, then both play it.

Branch 0 pays 7 whatever they do, branch 1 pays [[0, 1], [1, 8]]. The first step pays nothing, and player 1's action there
does nothing. The value of the game is 8. An additive team value fitted under uniform play puts branch 1 at 6.5, below 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from marl.compiled import rule
from marl.game import F4, F8, I8, RUNNING, TERMINATED, Column, Component, Discrete, Game, Role, array, index
from marl.params import Params, param


@dataclass(frozen=True)
class TwoStepParams(Params):
    sure: float = param(7.0, 0.0, 1e6, "points", "branch 0, whatever is done there")
    apart: float = param(1.0, 0.0, 1e6, "points", "branch 1, different actions")
    both: float = param(8.0, 0.0, 1e6, "points", "branch 1, both do action 1")


SEEN = {"first": Column(0, 1), "branch_0": Column(0, 1), "branch_1": Column(0, 1)}
"""Where the game stands, one-hot: what players see, and the global state."""

seen_ = index(SEEN)


class TwoStepState(NamedTuple):
    branch: I8 = array()  # [B] chosen branch
    paid: F8 = array()  # [B] points


@rule
def begin(p, s, b):
    s.branch[b] = 0
    s.paid[b] = 0.0


@rule
def step(p, s, b, action, components, cost):
    if s.t[b] == 0:
        s.branch[b] = int(action[b, 0, 0])
        return RUNNING
    ones = action[b, 0, 0] + action[b, 1, 0]
    risky = p.both if ones == 2.0 else p.apart if ones == 1.0 else 0.0
    s.paid[b] = p.sure if s.branch[b] == 0 else risky
    for a in range(2):
        components[b, a, 0] = s.paid[b]
    return TERMINATED


@rule
def show(s, b, row):
    row[seen_.first] = 1.0 if s.t[b] == 0 else 0.0
    row[seen_.branch_0] = 1.0 if s.t[b] > 0 and s.branch[b] == 0 else 0.0
    row[seen_.branch_1] = 1.0 if s.t[b] > 0 and s.branch[b] == 1 else 0.0


@rule
def observe(p, s, b, obs):
    for a in range(2):
        show(s, b, obs[b, a])


@rule
def overview(p, s, b, state):
    show(s, b, state[b])


@rule
def measure(p, s, b, metrics):
    for a in range(2):
        metrics[b, a, 0] = s.paid[b]
        metrics[b, a, 1] = s.branch[b]


def values(p: TwoStepParams) -> tuple[float, F8]:
    """(worth of branch 0, points of branch 1 [2, 2])."""
    return p.sure, np.array([[0.0, p.apart], [p.apart, p.both]])


def known(p: TwoStepParams) -> dict[str, float]:
    """Value of the game by backward induction, under the metrics' names; `additive` is what the best additive fit reaches."""
    sure, risky = values(p)
    best = max(sure, float(risky.max()))
    fit = additive(risky)
    greedy = np.unravel_index(int(fit.argmax()), fit.shape)
    return {"return": best, "payoff": best, "additive": float(risky[greedy]) if fit.max() > sure else sure}


def additive(table: F8) -> F8:
    """[2, 2] best fit u_i + v_j in least squares under uniform play: row mean plus column mean less the mean."""
    return table.mean(1, keepdims=True) + table.mean(0, keepdims=True) - table.mean()


def optimal(p: TwoStepParams, obs: F4, generator: np.random.Generator) -> F8:
    """The better branch, and action 1 in it."""
    sure, risky = values(p)
    return np.full((len(obs), 1), 1.0 if risky.max() > sure else 0.0)


TWO_STEP = Game(
    "two_step",
    version=0,
    params=TwoStepParams,
    state=TwoStepState,
    roles=lambda p: (Role("player", 2, SEEN, {"choice": Discrete(2)}),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"payoff": Column(0, 1e6, "points"), "branch": Column(0, 1)},
    reward={"payoff": Component(1.0, "points")},
    overview=overview,
    state_table=SEEN,
    baselines={"optimal": optimal},
    reference=lambda p: "optimal",
    known=known,
    together=known,
    citation="Rashid et al. 2018, QMIX: Monotonic value function factorisation for deep multi-agent reinforcement learning",
)
