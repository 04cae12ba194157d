"""Bit flip: its closed form against play, its goal, its ends."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import envs
from envs.classic.bit_flip import BIT_FLIP, BitFlipParams, known, optimal, outcome
from marl.check import check_game
from marl.errors import UserError
from marl.game import TERMINATED, TRUNCATED, Game, Goal


def played(bits: int, goal: int, horizon: int, start: int) -> tuple[float, bool]:
    """(return, whether the goal was reached) of the best play, bit by bit."""
    total = 0.0
    for _ in range(horizon):
        off = start ^ goal
        start ^= (off & -off) if off else 1
        if start == goal:
            return total, True
        total -= 1.0
    return total, False


@pytest.mark.parametrize(("bits", "horizon"), [(1, 2), (3, 5), (4, 4), (5, 3), (6, 2)])
def test_the_known_answer_is_the_mean_over_all_beginnings(bits: int, horizon: int) -> None:
    pairs = [played(bits, goal, horizon, start) for start, goal in product(range(2**bits), repeat=2)]
    found = known(BitFlipParams(bits=bits, horizon=horizon))
    assert found["return"] == pytest.approx(np.mean([total for total, _ in pairs]))
    assert found["reached"] == pytest.approx(np.mean([reached for _, reached in pairs]))
    if horizon >= bits:
        assert found["return"] == pytest.approx(1.0 - bits / 2 - 2.0 * 2.0**-bits)


def test_the_best_play_returns_it() -> None:
    copies = envs.make("bit_flip", 4_096, bits=8, horizon=8)
    copies.reset(0)
    total, over = np.zeros(4_096), np.zeros(4_096, np.bool_)
    for _ in range(8):
        copies.step(optimal(copies.params, copies.obs[:, 0], np.random.default_rng(0))[:, None])
        total += np.where(over, 0.0, copies.reward[:, 0])
        over |= copies.status != 0
    assert over.all()
    assert total.mean() == pytest.approx(known(copies.params)["return"], abs=4 * total.std() / 64)


def test_reaching_the_goal_ends_the_game_and_the_horizon_cuts_it() -> None:
    copies = envs.make("bit_flip", 256, bits=3, horizon=4)
    copies.reset(1)
    seen = set()
    for _ in range(40):
        copies.step(np.random.default_rng(2).integers(3, size=(256, 1, 1)).astype(float))
        equal = (copies.final_obs[:, 0, :3] == copies.final_obs[:, 0, 3:]).all(1)
        assert ((copies.status == TERMINATED) == equal).all()
        assert (copies.reward[:, 0] == equal - 1.0).all()
        seen |= set(copies.status.tolist())
    assert seen == {0, TERMINATED, TRUNCATED}


def test_it_keeps_the_contract() -> None:
    check_game("bit_flip")
    check_game("bit_flip", bits=3, horizon=2)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Goal(("bit_0",), ("goal_0",), outcome), "the goal of flipper pays something else than the tick did"),
        (Goal(("bit_9",), ("goal_0",), outcome), "goal of 'flipper' has column 'bit_9'"),
        (Goal(("bit_0", "bit_1"), ("goal_0",), outcome), "2 columns achieved and 1 desired"),
        (
            Goal(("bit_0", "bit_1"), ("goal_0", "goal_1"), lambda p, a, d: (outcome(p, a, d)[0], np.zeros(len(a), np.bool_))),
            "the goal of flipper and the tick do not agree on whether the game is over",
        ),
    ],
)
def test_a_goal_that_says_something_else_than_the_rules_is_refused(goal: Goal, message: str) -> None:
    wrong = Game(**{**BIT_FLIP.__dict__, "goal": lambda p: {"flipper": goal}})
    with pytest.raises(UserError) as error:
        check_game(wrong, only="goal", bits=2, horizon=3)
    assert message in str(error.value)


def test_a_goal_of_nobody_is_refused() -> None:
    wrong = Game(**{**BIT_FLIP.__dict__, "goal": lambda p: {"runner": Goal((), (), outcome)}})
    with pytest.raises(UserError, match="goal of 'runner': roles are flipper"):
        check_game(wrong, only="goal")
