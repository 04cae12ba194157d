"""Matrix games, the two-step game and the memory game: payoffs, theory, ends, what is seen."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import envs
from envs.classic.matrix import CLIMBING, PENALTY, ROCK_PAPER_SCISSORS, ClimbingParams, PenaltyParams, RockPaperScissorsParams, equilibria
from envs.classic.two_step import TWO_STEP, TwoStepParams, additive, known, values
from marl.game import Game
from marl.vector import VectorGame

TABLES = {
    "climbing": [[11, -30, 0], [-30, 7, 6], [0, 0, 5]],
    "penalty": [[-100, 0, 10], [0, 2, 0], [10, 0, -100]],
    "rock_paper_scissors": [[0, -1, 1], [1, 0, -1], [-1, 1, 0]],
}


@pytest.mark.parametrize("name", TABLES)
def test_payoffs(name: str) -> None:
    game = envs.make(name, 9)
    game.reset(0)
    pairs = np.array(list(product(range(3), repeat=2)))
    for t in range(25):
        game.step(pairs[..., None])
        np.testing.assert_array_equal(game.reward[:, 0], np.array(TABLES[name]).reshape(-1))
        np.testing.assert_array_equal(game.reward[:, 1], game.reward[:, 0] * (-1 if name == "rock_paper_scissors" else 1))
        assert (game.status == (2 if t == 24 else 0)).all()
    np.testing.assert_allclose(game.metrics[:, 0, 0], game.reward[:, 0])
    np.testing.assert_array_equal(game.metrics[..., 1:], np.eye(3)[pairs])


def test_equilibria() -> None:
    assert equilibria(ClimbingParams().payoffs()) == [(0, 0), (1, 1)]
    assert equilibria(PenaltyParams().payoffs()) == [(0, 2), (1, 1), (2, 0)]
    assert equilibria(RockPaperScissorsParams().payoffs()) == []


@pytest.mark.parametrize(("game", "best", "safe"), [(CLIMBING, 275, 175), (PENALTY, 250, 50)])
def test_published_returns(game: Game, best: float, safe: float) -> None:
    for k in (0, -25, -50, -75, -100) if game is PENALTY else (None,):
        p = game.make_params(**({} if k is None else {"k": k}))
        assert game.known is not None and game.known(p) == {"return": best, "safe_return": safe}
    assert {preset: game.make_params(preset).k for preset in game.presets} == {f"penalty-{k}": -k for k in (0, 25, 50, 75, 100)} or (
        game is CLIMBING
    )


def test_nobody_gains_on_a_uniform_player() -> None:
    own = ROCK_PAPER_SCISSORS.make_params().payoffs()  # type: ignore[attr-defined]
    np.testing.assert_allclose(own[0] @ np.full(3, 1 / 3), 0, atol=1e-15)
    np.testing.assert_allclose(np.full(3, 1 / 3) @ own[1], 0, atol=1e-15)


@pytest.mark.parametrize("name", ["optimal", "safe"])
def test_scripted_climbers_earn_what_is_known(name: str) -> None:
    assert played(VectorGame(CLIMBING, 2), name) == {"optimal": 275, "safe": 175}[name]
    if name == "safe":
        assert played(VectorGame(PENALTY, 2, k=-25), name) == 50


def played(game: VectorGame, name: str) -> float:
    """Return of player 0 of copy 0 over an episode of everybody playing that baseline."""
    game.reset(0)
    total = 0.0
    for _ in range(1000):
        rows = game.game.baselines[name](game.params, game.obs.reshape(-1, game.obs.shape[2]), np.random.default_rng(0))
        game.step(rows.reshape(game.action.shape))
        total += float(game.reward[0, 0])
        if game.status[0]:
            return total
    raise AssertionError("the episode did not end")


def test_last_actions_are_seen_where_asked_for() -> None:
    game = VectorGame(ROCK_PAPER_SCISSORS, 1, observe_last=True)
    np.testing.assert_array_equal(game.reset(0)[0], [[1, 0, 0, 0, 0, 0, 0]] * 2)
    game.step([[[2], [0]]])
    np.testing.assert_array_equal(game.obs[0], [[1, 0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 1]])
    assert VectorGame(CLIMBING).obs.shape == (1, 2, 1)


def test_a_game_of_one_tick_terminates() -> None:
    game = VectorGame(CLIMBING, horizon=1)
    game.reset(0)
    game.step([[[0], [0]]])
    assert game.status[0] == 1


def test_two_step_pays_as_published() -> None:
    """All 16 joint plays: branch 0 pays 7, branch 1 [[0, 1], [1, 8]]; player 1 does not choose the branch."""
    plays = np.array(list(product(range(2), repeat=4)), float).reshape(16, 2, 2, 1)
    game = VectorGame(TWO_STEP, 16)
    np.testing.assert_array_equal(game.reset(0)[0], [[1, 0, 0]] * 2)
    game.step(plays[:, 0])
    assert not game.status.any() and not game.reward.any()
    branch = plays[:, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(game.obs[:, 0], np.eye(3)[1 + branch])
    np.testing.assert_array_equal(game.state, np.eye(3)[1 + branch])
    game.step(plays[:, 1])
    table = np.array([[0, 1], [1, 8]])
    due = [7 if k == 0 else table[int(i), int(j)] for k, (i, j) in zip(branch, plays[:, 1, :, 0])]
    np.testing.assert_array_equal(game.reward, np.array([due, due]).T)
    assert (game.status == 1).all() and game.reward.max() == 8 == played(VectorGame(TWO_STEP), "optimal")


def test_an_additive_value_chooses_the_branch_of_seven() -> None:
    """Least squares by another way, and the figures of Rashid et al. 2018 for both kinds of factorisation."""
    sure, risky = values(TwoStepParams())
    design = np.array([[i == 0, i == 1, j == 0, j == 1] for i in range(2) for j in range(2)], float)
    fit = design @ np.linalg.lstsq(design, risky.ravel(), rcond=None)[0]
    np.testing.assert_allclose(additive(risky).ravel(), fit, atol=1e-12)
    np.testing.assert_allclose(fit, [-1.5, 2.5, 2.5, 6.5], atol=1e-12)
    assert fit.max() < sure and known(TwoStepParams()) == {"return": 8, "payoff": 8, "additive": 7}
    assert known(TwoStepParams(sure=6)) == {"return": 8, "payoff": 8, "additive": 8}


def test_only_who_remembers_answers() -> None:
    """Whoever repeats the cue is always right; what is seen after it is the same for every cue."""
    game = envs.make("memory", 400, n_agents=2, cues=5, delay=3)
    game.reset(0)
    cue = game.obs[..., :5].argmax(2)
    assert set(np.unique(cue)) == set(range(5)) and (game.obs[..., :5].sum(2) == 1).all()
    for t in range(4):
        game.step(cue[..., None] if t == 3 else np.zeros(game.action.shape))
        assert (game.reward == (1 if t == 3 else 0)).all() and (game.status == (1 if t == 3 else 0)).all()
        if t < 2:
            assert not game.obs.any()
        elif t == 2:
            np.testing.assert_array_equal(game.obs, np.broadcast_to([0, 0, 0, 0, 0, 1], game.obs.shape))
    assert (game.metrics == 1).all()


def test_a_policy_without_memory_is_right_once_in_so_many_cues() -> None:
    game = envs.make("memory", 4000, delay=1)
    game.reset(3)
    game.step(np.zeros(game.action.shape))
    game.step(np.full(game.action.shape, 2.0))
    assert game.reward.mean() == pytest.approx(game.game.known(game.params)["memoryless"], abs=0.025)  # type: ignore[misc]
