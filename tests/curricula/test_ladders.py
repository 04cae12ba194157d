"""Every shipped ladder: its stages say what scores 1 and 0 there, and played, the one is above the other."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import curricula
import envs
from curricula import CURRICULA, Stage
from marl.copies import Copies
from marl.evaluate import evaluate, play, seed_of
from marl.judge import naive_policies
from marl.score import RESOLVED
from marl.team import parts, scripted
from marl.vector import VectorGame

GAME = {
    "auction_formats": ("auction", {}),
    "auction": ("auction", {}),
    "resource_allocation": ("cluster", {}),
    "supply_chain": ("supply_chain", {}),
    "trading": ("trading", {}),
    "trading_demo": ("trading", {"preset": "demo"}),
}
STAGES = [pytest.param(name, stage, id=f"{name}-{stage.name}") for name in CURRICULA for stage in curricula.load(name).stages]
SEEDS = (0, 1)
QUICK = ("auction_formats-second_price", "resource_allocation-basic")


def test_every_ladder_has_its_game() -> None:
    assert set(GAME) == set(CURRICULA)


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_a_stage_says_what_scores_1_and_0(name: str, stage: Stage) -> None:
    game, given = GAME[name]
    params = envs.GAMES[game].make_params(**{**given, **stage.params})
    known = [*envs.GAMES[game].at(params).baselines, "random"]
    assert stage.reference in known and stage.naive in known and stage.episodes is not None
    assert stage.promote is None or 0.0 < stage.promote <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_the_reference_is_above_the_naive_policy(name: str, stage: Stage, seed: int) -> None:
    """By five standard errors on the stage's own number of episodes, for every role; no other naive policy is above the one it names."""
    game, given = GAME[name]
    params = envs.GAMES[game].make_params(**{**given, **stage.params})
    make = partial(VectorGame, envs.GAMES[game], params=params)
    sample = make(1)
    assert stage.reference is not None and stage.naive is not None and stage.episodes is not None
    plan, drawn = parts(sample, "group", learners=1), seed_of(seed)
    seats = {part: scripted(sample, own, stage.reference, drawn) for part, own in plan.items()}
    for role, view in sample.groups.items():
        returns = {}
        for who in {stage.reference, stage.naive, *naive_policies(sample.game)}:
            played = evaluate(make, plan, {**seats, role: scripted(sample, plan[role], who, drawn)}, stage.episodes, drawn)
            returns[who] = played.returns[:, view.group.lo]
        gap = returns[stage.reference] - returns[stage.naive]
        errors = gap.mean() / (gap.std(ddof=1) / len(gap) ** 0.5)
        print(f"{name}/{stage.name} {role}: " + ", ".join(f"{who} {x.mean():.4g}" for who, x in returns.items()) + f"; {errors:.1f} s.e.")
        assert errors >= RESOLVED, f"{role}: {stage.reference} is {errors:.1f} standard errors above {stage.naive}"
        for other in naive_policies(sample.game):
            ahead = returns[other] - returns[stage.naive]
            assert ahead.mean() <= RESOLVED * ahead.std(ddof=1) / len(ahead) ** 0.5, f"{role}: {other} earns more than {stage.naive}"


class Squares:
    """Mean square of every agent's reward over ticks."""

    def __init__(self) -> None:
        self.sum, self.ticks = np.zeros(0), 0

    def before(self, copies: Copies) -> None:
        """Nothing is read before a tick."""

    def after(self, copies: Copies) -> None:
        """Take a tick's rewards."""
        square = (copies.reward.astype(np.float64) ** 2).mean(0)
        self.sum, self.ticks = (square if not self.ticks else self.sum + square), self.ticks + 1


@pytest.mark.parametrize(
    ("name", "stage"), [pytest.param(*p.values, id=p.id, marks=() if p.id in QUICK else pytest.mark.slow) for p in STAGES]
)
def test_rewards_of_a_tick_are_of_a_size_that_a_critic_sees(name: str, stage: Stage) -> None:
    """The root of their mean square lies in [.01, 100], in episodes of the reference."""
    game, given = GAME[name]
    copies = VectorGame(envs.GAMES[game], 4, envs.GAMES[game].make_params(**{**given, **stage.params}))
    copies.reset(1)
    plan, seen = parts(copies, "group"), Squares()
    play(copies, plan, {part: scripted(copies, own, str(stage.reference), 0) for part, own in plan.items()}, watch=seen)
    for role, view in copies.groups.items():
        size = (seen.sum[view.group.lo : view.group.hi].mean() / seen.ticks) ** 0.5
        assert 1e-2 <= size <= 1e2, f"{role}: {size:g} a tick"
