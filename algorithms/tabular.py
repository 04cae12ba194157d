"""Tabular Q-learning of firms that meet again and again: Watkins 1989, as Calvano, Calzolari, Denicolò and Pastorello 2020 play it.

Every player i keeps Q_i(s, a) over the state s, the joint action of the last tick, and its own action a. In tick t all explore
with probability exp(-beta t), each on its own, else take their best action; then each updates the cell that it was in,

    Q_i(s, a_i) <- (1 - alpha) Q_i(s, a_i) + alpha (r_i + gamma max_a' Q_i(s', a')),    s' = (a_1, ..., a_n).

At first Q_i(s, a) = mean over the others' actions of r_i / (1 - gamma), what a earns against uniformly random rivals. A session
has converged when no player's best action has changed in any state for `patience` ticks. Sessions are independent and share
nothing; their loop is compiled, and the draws of a session are addressed by its key, so that it replays alone.

Not a learner of `marl train`: a table needs no gradient and no replay, and the 2 million ticks of a session take a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from algorithms.hyperparameters import setting
from marl import rng
from marl.errors import UserError
from marl.rng import draw

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tabular:
    """What the sessions have in common; defaults are the paper's baseline."""

    alpha: float = setting(0.15, 0.0, 1.0, "learning rate")
    beta: float = setting(4e-6, 0.0, 1.0, "decay a tick of the probability to explore, exp(-beta t)")
    gamma: float = setting(0.95, 0.0, 0.999999, "discount a tick")
    patience: int = setting(100_000, 1, 10**9, "ticks without a change of any best action, after which a session has converged")
    limit: int = setting(10_000_000, 1, 10**12, "ticks after which a session that has not converged is left")
    measured: int = setting(1_000, 1, 10**9, "greedy ticks after learning over which profits are averaged")

    def __post_init__(self) -> None:
        for f in fields(self):
            low, high, value = f.metadata["low"], f.metadata["high"], getattr(self, f.name)
            if not low <= value <= high:
                raise UserError(f"algorithm.{f.name} = {value!r}: legal range is [{low:g}, {high:g}]")


@dataclass(frozen=True)
class Sessions:
    """What sessions came to: tables [N, A, m^A, m], mean reward [N, A] of greedy play, ticks [N], whether converged [N]."""

    tables: Array
    rewards: Array
    ticks: Array
    converged: Array


def play(payoff: Array, settings: Tabular, sessions: int, seed: int) -> Sessions:
    """`sessions` sessions of the game payoff [m, ..., m, A], one axis of m actions a player, to convergence or the limit."""
    agents, m = payoff.shape[-1], payoff.shape[0]
    if payoff.shape != (m,) * agents + (agents,):
        raise UserError(f"payoff has shape {payoff.shape}: an axis of as many actions for each player, then the players are expected")
    flat = np.ascontiguousarray(payoff.reshape(-1, agents), np.float64)
    tables = np.empty((sessions, agents, m**agents, m))
    tables[:] = at_first(payoff, settings.gamma)[:, None, :]
    rewards, ticks, converged = np.zeros((sessions, agents)), np.zeros(sessions, np.int64), np.zeros(sessions, np.bool_)
    keys = rng.keys(seed, 0, sessions)
    s = settings
    for n in range(sessions):
        ticks[n], converged[n], state, best = learn(tables[n], flat, keys[n], s.alpha, s.beta, s.gamma, s.patience, s.limit)
        follow(best, flat, state, m, s.measured, rewards[n])
    return Sessions(tables, rewards, ticks, converged)


def at_first(payoff: Array, gamma: float) -> Array:
    """[A, m] values before learning: the mean over what the others may do, for ever."""
    agents = payoff.shape[-1]
    means = [payoff[..., i].mean(tuple(k for k in range(agents) if k != i)) for i in range(agents)]
    return np.stack(means) / (1.0 - gamma)


@njit
def learn(q, payoff, key, alpha, beta, gamma, patience, limit):
    """One session on its tables q [A, m^A, m]: (ticks, converged, last state, best actions [A, m^A])."""
    agents, states, m = q.shape
    best = np.zeros((agents, states), np.int64)
    for i in range(agents):
        for s in range(states):
            best[i, s] = first_best(q[i, s])
    action = np.zeros(agents, np.int64)
    state = int(draw(key, 0) * states)
    still = 0
    for t in range(limit):
        explore = np.exp(-beta * t)
        after = 0
        for i in range(agents):
            place = 1 + 2 * (t * agents + i)
            action[i] = int(draw(key, place + 1) * m) if draw(key, place) < explore else best[i, state]
            after = after * m + action[i]
        changed = False
        for i in range(agents):
            a = action[i]
            target = payoff[after, i] + gamma * q[i, after, best[i, after]]
            q[i, state, a] = (1.0 - alpha) * q[i, state, a] + alpha * target
            found = first_best(q[i, state])
            if found != best[i, state]:
                best[i, state] = found
                changed = True
        state = after
        still = 0 if changed else still + 1
        if still >= patience:
            return t + 1, True, state, best
    return limit, False, state, best


@njit(inline="always")
def first_best(row):
    """Index of the largest value, the first of equals."""
    found = 0
    for a in range(1, len(row)):
        if row[a] > row[found]:
            found = a
    return found


@njit
def follow(best, payoff, state, m, ticks, reward):
    """Mean reward [A] of `ticks` greedy ticks from `state`, which come into a cycle."""
    agents = len(best)
    for _ in range(ticks):
        after = 0
        for i in range(agents):
            after = after * m + best[i, state]
        for i in range(agents):
            reward[i] += payoff[after, i] / ticks
        state = after
