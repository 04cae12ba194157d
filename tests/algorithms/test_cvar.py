"""The worst share of episodes as the objective: its rewards by hand, its gradient, and a bet that is good in the mean alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.cvar import Tail, running
from marl.vector import VectorGame
from tests.algorithms.test_answers import learned
from tests.gamble import BETS, GAMBLE, SAFE
from tests.lanes import lanes
from tests.payday import PAYDAY


def of(*rows: list[float]) -> np.ndarray[Any, Any]:
    return np.array(rows)


def begun(lanes_: int) -> np.ndarray[Any, Any]:
    """Heads of lanes whose episodes begin with the first row."""
    return np.stack([np.zeros(lanes_), np.ones(lanes_)])


def test_an_episode_runs_on_from_the_rollout_before() -> None:
    over = of([0, 1, 0, 0], [0, 0, 0, 1]).astype(bool)
    upto, ahead = running(of([1, 2, 3, 4], [1, 1, 1, 1]), over, np.array([10.0, 0.0]))
    assert upto.tolist() == [[11, 13, 3, 7], [1, 2, 3, 4]]
    assert ahead.tolist() == [[10, 11, 0, 3], [0, 1, 2, 3]]


def test_rewards_by_hand() -> None:
    """Four episodes end with 13, 2, 5 and 9; half of them with 5 or less. Above 5 nothing counts, whenever it was paid."""
    tail = Tail(0.5, 8)
    paid = of([1, 2, 2, 7], [2, 3, 4, 5], [4, 5, 3, 3])
    over = of([0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]).astype(bool)
    found = tail.paid(paid, over, np.ones((3, 4), bool), np.array([[10.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert tail.quantile == 5.0
    assert found.tolist() == [[0, 0, 2, 5], [2, 3, 4, 1], [4, 1, 3, 2]]
    assert tail.worst == (2 + 5) / 2


def test_a_lane_that_left_ends_no_episode() -> None:
    tail = Tail(0.5, 8)
    over, alive = of([0, 1, 1, 1]).astype(bool), of([1, 1, 0, 0]).astype(bool)
    tail.paid(of([1, 2, 9, 9]), over, alive, begun(1))
    assert (int(tail.seen), tail.quantile) == (1, 3.0)


def test_before_an_episode_has_ended_and_at_level_one_rewards_are_those_paid() -> None:
    paid, nothing = of([1, 2, 3], [4, 5, 6]), np.zeros((2, 3), bool)
    tail = Tail(0.25, 8)
    assert tail.paid(paid, nothing, ~nothing, begun(2)).tolist() == paid.tolist()
    assert tail.told() == {}
    everyone = Tail(1.0, 8)
    assert everyone.paid(paid, of([0, 0, 1], [0, 0, 1]).astype(bool), ~nothing, begun(2)).tolist() == paid.tolist()
    assert everyone.told() == {"quantile": 15.0, "cvar": 10.5}


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 10_000))
def test_recent_episodes_are_kept_over_rollouts(episodes: int, window: int, seed: int) -> None:
    """The quantile is that of the latest `window`, of all a rollout's where it ended more; the window goes on from a saved state."""
    chance = np.random.default_rng(seed)
    tail, history = Tail(0.3, window), np.array([])
    for _ in range(4):
        totals = chance.standard_normal(int(chance.integers(0, episodes)))
        ended = np.ones((len(totals), 1), bool)
        tail.paid(totals[:, None], ended, ended, begun(len(totals)))
        history = np.concatenate([history, totals])
        if len(history):
            latest = np.sort(history[-max(window, len(totals)) :])
            assert tail.quantile == latest[int(np.ceil(0.3 * len(latest) - 1e-9)) - 1]
            share = 0.3 * len(latest)
            assert tail.worst == pytest.approx(min((v - np.maximum(v - latest, 0).sum() / share for v in latest), key=lambda x: -x))
        again = Tail(0.3, window)
        again.load_state_dict(tail.state_dict())
        tail = again


@given(st.floats(0.5, 1.0), st.integers(1, 6), st.integers(0, 10_000))
def test_what_is_paid_has_the_discounted_return_that_the_quantile_cuts(gamma: float, cut: int, seed: int) -> None:
    """sum gamma^t r'_t = min(R, v) - min(0, v) of every episode, R = sum gamma^t r_t; |r'_t| <= |r_t|; rollouts may cut it anywhere."""
    paid = np.random.default_rng(seed).standard_normal((50, 7))
    over = np.zeros((50, 7), bool)
    over[:, 6] = True
    weight = gamma ** np.arange(7)
    total = (weight * paid).sum(1)
    tail, alive = Tail(0.3, 50, gamma), np.ones((50, 7), bool)
    found = tail.paid(paid, over, alive, begun(50))
    assert tail.quantile == pytest.approx(np.sort(total)[14])
    assert (weight * found).sum(1) == pytest.approx(np.minimum(total, tail.quantile) - min(0.0, tail.quantile))
    assert (np.abs(found) <= np.abs(paid) + 1e-12).all()
    head = np.stack([(weight * paid)[:, :cut].sum(1), np.full(50, gamma**cut)])
    assert tail.paid(paid[:, cut:], over[:, cut:], alive[:, cut:], head) == pytest.approx(found[:, cut:])


def test_a_discount_that_has_vanished_pays_what_is_paid_or_nothing() -> None:
    """After 10,000 ticks .9^t is 0 to the machine: below the quantile a tick pays itself, above it nothing."""
    tail = Tail(0.5, 2, 0.9)
    tail.paid(of([1.0], [2.0]), of([1], [1]).astype(bool), of([1], [1]).astype(bool), begun(2))
    assert tail.quantile == 1.0
    found = tail.paid(of([3.0], [3.0]), of([0], [0]).astype(bool), of([1], [1]).astype(bool), np.array([[0.5, 1.5], [0.0, 0.0]]))
    assert found.tolist() == [[3.0], [0.0]]


@pytest.mark.parametrize("name", ["ippo", "mappo"])
def test_rollouts_hand_on_what_an_episode_has_paid_discounted(name: str) -> None:
    """A team of two is paid 30, 32, 34 in episodes of three ticks; with gamma .5 rollouts of four ticks find 0, 1; 30, .5; 46, .25."""
    here = lanes(VectorGame(PAYDAY, 1, n_agents=2, horizon=3), name, reward="team_sum", cvar=0.5, gamma=0.5)
    (buffer,) = here.buffers.values()
    for expected in ([0.0, 1.0], [30.0, 0.5], [46.0, 0.25], [0.0, 1.0]):
        here.collect(4)
        assert buffer.head.T.tolist() == [expected] * 2


@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_the_gradient_is_that_of_the_worst_share(gamma: float) -> None:
    """E[grad log p (R - v)+-] / a of a choice between lotteries, p the sigmoid of x, against differences of the exact CVaR.

    The bet pays 3, 1.5 or -2, with chances .5, .3, .2; not to bet 1 or .5 evenly. Of all outcomes v is the .35-quantile.
    Each is paid .5 in the first tick and the rest in the third.
    """
    bet, safe, level = {3.0: 0.5, 1.5: 0.3, -2.0: 0.2}, {1.0: 0.5, 0.5: 0.5}, 0.35

    def chances(x: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        p = 1.0 / (1.0 + np.exp(-x))
        value = 0.5 + gamma**2 * (np.array([*bet, *safe]) - 0.5)
        return value, np.array([*(p * c for c in bet.values()), *((1 - p) * c for c in safe.values())])

    def worst(x: float) -> float:
        value, chance = chances(x)
        order = np.argsort(value)
        taken = np.diff(np.minimum(np.concatenate([[0.0], chance[order].cumsum()]), level))
        return float((value[order] * taken).sum() / level)

    x = 0.2
    _, chance = chances(x)
    p = chance[:3].sum()
    score = np.array([1 - p] * 3 + [-p] * 2)
    count = np.round(chance * 1_000_000).astype(int)
    tail = Tail(level, 1, gamma)
    rest = np.repeat(np.array([*bet, *safe]) - 0.5, count)
    rewards = np.stack([np.full(len(rest), 0.5), np.zeros(len(rest)), rest], 1)
    ended = np.tile([False, False, True], (len(rest), 1))
    paid = tail.paid(rewards, ended, np.ones_like(ended), begun(len(rest))) @ gamma ** np.arange(3)
    found = (paid * np.repeat(score, count)).mean() / level
    assert found == pytest.approx((worst(x + 1e-5) - worst(x - 1e-5)) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(("name", "reward"), [("ippo", "individual"), ("mappo", "individual"), ("mappo", "team_sum")])
def test_the_returns_of_a_rollout_by_hand(name: str, reward: str) -> None:
    """Two workers earn 10 + t and 20 + t in episodes of three ticks: 33 and 63, the team 96; rollouts of four ticks cut them.

    The lower half of 33, 63 ends at 33, of 96 alone at 96; beyond that a tick pays nothing.
    """
    here = lanes(VectorGame(PAYDAY, 1, n_agents=2, horizon=3), name, reward=reward, cvar=0.5, gamma=1.0, gae_lambda=1.0)
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    seen: list[Any] = []
    estimate = learner.compute_episodic_return

    def watched(rows: Any, *args: Any, **how: Any) -> Any:
        seen.append(rows.rew.reshape(-1, 4).tolist())
        return estimate(rows, *args, **how)

    learner.compute_episodic_return = watched
    for _ in range(2):
        here.collect(4)
        learner._preprocess_batch(buffer.sample(0)[0], buffer, np.arange(len(buffer)))
    if reward == "individual":
        assert seen[0] == [[10, 11, 12, 10], [20, 13, 0, 20]]
        assert seen[1] == [[11, 12, 10, 11], [13, 0, 20, 13]]
    else:
        assert seen == [[[30, 32, 34, 30]], [[32, 34, 30, 32]]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["ippo", "mappo"])
def test_the_mean_bets_and_the_worst_quarter_does_not(name: str, seed: int, tmp_path: Path) -> None:
    """Worked out in tests.gamble; 256 evaluation episodes of two players leave a bet's mean of 2 a standard error of .09."""
    found = []
    for level in (1.0, 0.25):
        folder = tmp_path / str(level)
        folder.mkdir()
        found.append(learned(GAMBLE, name, folder, 12_000, seed, rollout=8, lr=3e-3, cvar=level))
    assert found[0] == pytest.approx(BETS, abs=0.36)
    assert found[1] == SAFE
