"""The market's ladders: in every stage each role has something to earn, and the number of episodes is enough to tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from curricula import load
from marl.evaluate import evaluate
from marl.game import F8
from marl.judge import naive_policies
from marl.score import RESOLVED
from marl.team import parts, scripted
from tests.envs.test_trading_answers import act

LADDERS = {"trading": {}, "trading_demo": {"preset": "demo"}}
STAGES = [
    pytest.param(ladder, i, id=f"{ladder}-{stage.name}", marks=() if i == 0 else pytest.mark.slow)
    for ladder in LADDERS
    for i, stage in enumerate(load(ladder).stages)
]


def settings(ladder: str, i: int) -> tuple[Any, dict[str, Any]]:
    """The stage, and the parameters of the game there."""
    stage = load(ladder).stages[i]
    return stage, {**LADDERS[ladder], **stage.params}


@pytest.mark.slow
@pytest.mark.parametrize(("ladder", "i"), STAGES)
def test_the_reference_is_above_every_naive_policy_for_each_role(ladder: str, i: int) -> None:
    """By five standard errors at the shipped number of episodes: one agent among the reference, on the same episodes."""
    stage, given = settings(ladder, i)
    sample = envs.make("trading", 1, **given)
    plan = parts(sample, "group", learners=1)
    seats = {name: scripted(sample, part, stage.reference, 0) for name, part in plan.items()}
    naive = naive_policies(sample.game)
    assert stage.naive in naive

    def focal(role: str, baseline: str) -> F8:
        policies = {**seats, role: scripted(sample, plan[role], baseline, 0)}
        found: F8 = evaluate(lambda n: envs.make("trading", n, **given), plan, policies, stage.episodes, 0).returns
        return found[:, sample.groups[role].group.lo]

    for role in sample.groups:
        best = focal(role, stage.reference)
        for name in naive:
            gap = best - focal(role, name)
            errors = gap.mean() / gap.std(ddof=1) * len(gap) ** 0.5
            print(f"{ladder} {stage.name} {role}: {stage.reference} {best.mean():.3f}, {gap.mean():.3f} above {name}, {errors:.1f} errors")
            assert errors >= RESOLVED, (role, name)


@pytest.mark.parametrize(("ladder", "i"), STAGES)
def test_rewards_of_a_tick_are_of_a_size_that_a_critic_sees(ladder: str, i: int) -> None:
    """The root of their mean square lies in [.01, 100], in an episode of the reference."""
    stage, given = settings(ladder, i)
    game = envs.make("trading", 4, **given)
    game.reset(1)
    squares = np.zeros(game.n_agents)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        act(game, stage.reference)
        game.tick()
        squares += (game.reward.astype(np.float64) ** 2).mean(0) / game.params.horizon  # type: ignore[attr-defined]
    for role, view in game.groups.items():
        size = np.sqrt(squares[view.group.lo : view.group.hi].mean())
        assert 1e-2 <= size <= 1e2, (role, size)
