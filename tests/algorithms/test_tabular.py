"""Tabular Q-learners: equal to a plain-Python twin, what they start from, when they have converged, that draws are a session's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from algorithms import tabular
from algorithms.tabular import Tabular
from marl import rng
from marl.errors import UserError

MASK = (1 << 64) - 1
DILEMMA = np.array([[[3.0, 3.0], [0.0, 5.0]], [[5.0, 0.0], [1.0, 1.0]]])
"""The prisoners': 0 cooperates. [own action of player 0, of player 1, player]"""


def word(x: int) -> int:
    """SplitMix64's finaliser on Python's whole numbers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def number(key: int, i: int) -> float:
    return (word((key + (i + 1) * 0x9E3779B97F4A7C15) & MASK) >> 11) / (1 << 53)


def twin(payoff: Any, s: Tabular, key: int) -> tuple[dict[Any, list[float]], int]:
    """Watkins' update with dictionaries: (player, state as a tuple of actions) -> values; and the ticks played."""
    m, agents = payoff.shape[0], payoff.shape[-1]
    first = [[float(np.take(payoff[..., i], a, axis=i).mean()) / (1.0 - s.gamma) for a in range(m)] for i in range(agents)]
    q = {(i, state): list(first[i]) for i in range(agents) for state in np.ndindex(*[m] * agents)}
    state = tuple(int(x) for x in np.unravel_index(int(number(key, 0) * m**agents), [m] * agents))
    still = 0
    for t in range(s.limit):
        before = [(i, at, values.index(max(values))) for (i, at), values in q.items()]
        acts = []
        for i in range(agents):
            explore, which = (number(key, 1 + 2 * (t * agents + i) + k) for k in (0, 1))
            mine = q[i, state]
            acts.append(int(which * m) if explore < math.exp(-s.beta * t) else mine.index(max(mine)))
        after = tuple(acts)
        for i, a in enumerate(acts):
            target = payoff[after][i] + s.gamma * max(q[i, after])
            q[i, state][a] = (1.0 - s.alpha) * q[i, state][a] + s.alpha * target
        still = still + 1 if before == [(i, at, values.index(max(values))) for (i, at), values in q.items()] else 0
        state = after
        if still >= s.patience:
            return q, t + 1
    return q, s.limit


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (3, 3)])
def test_equal_to_the_plain_twin(shape: tuple[int, int]) -> None:
    """Bit for bit over hundreds of ticks in which exploration fades, for two players and three."""
    m, agents = shape
    payoff = np.random.default_rng(m).integers(-32, 32, (*[m] * agents, agents)) / 8  # sums of these are exact in any order
    settings = Tabular(beta=0.02, patience=60, limit=400)
    found = tabular.play(payoff, settings, 2, seed=5)
    for n, key in enumerate(rng.keys(5, 0, 2)):
        q, ticks = twin(payoff, settings, int(key))
        mine = [[q[i, state] for state in np.ndindex(*[m] * agents)] for i in range(agents)]
        assert found.tables[n].tolist() == mine
        assert found.ticks[n] == ticks
        assert found.converged[n] == (ticks < settings.limit)


def test_it_begins_with_what_random_rivals_leave() -> None:
    assert tabular.at_first(DILEMMA, 0.5).tolist() == [[3.0, 6.0], [3.0, 6.0]]
    still = tabular.play(DILEMMA, Tabular(alpha=0.0, gamma=0.5, patience=7, limit=50), 1, seed=0)
    assert still.tables[0].tolist() == [[[3.0, 6.0]] * 4] * 2
    assert (still.ticks[0], still.converged[0]) == (7, True)
    assert still.rewards[0].tolist() == pytest.approx([1.0, 1.0])


def test_profits_are_those_of_the_greedy_path() -> None:
    """Player 0 repeats what player 1 did, player 1 does the other thing: (0, 1) -> (1, 0) -> (0, 1), half 0 and 5 each."""
    best = np.array([[0, 1, 0, 1], [1, 0, 1, 0]])
    reward = np.zeros(2)
    tabular.follow(best, DILEMMA.reshape(-1, 2), 1, 2, 10, reward)
    path, state = [], 1
    for _ in range(10):
        state = int(2 * best[0, state] + best[1, state])
        path.append(DILEMMA.reshape(-1, 2)[state])
    assert reward == pytest.approx(np.mean(path, 0))


def test_a_session_is_the_same_among_others() -> None:
    settings = Tabular(beta=0.01, patience=50, limit=1_000)
    few, many = (tabular.play(DILEMMA, settings, n, seed=3) for n in (2, 5))
    assert np.array_equal(few.tables, many.tables[:2])
    assert not np.array_equal(many.tables[0], many.tables[1])


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match=r"algorithm.alpha = 1.5: legal range is \[0, 1\]"):
        Tabular(alpha=1.5)
    with pytest.raises(UserError, match=r"payoff has shape \(2, 3, 2\)"):
        tabular.play(np.zeros((2, 3, 2)), Tabular(), 1, 0)
