"""The entropy's coefficient: its two rules by hand, in the loss, over a run, and through a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import algorithms
from algorithms import settings
from algorithms.entropy import HIGHEST, LOWEST, EntropyBonus
from marl.errors import UserError
from marl.schedule import Schedule
from marl.track import read_metrics
from marl.train import Run
from marl.vector import VectorGame
from tests.haste import HASTE
from tests.lanes import lanes
from tests.payday import PAYDAY

PROXIMAL = ["ippo", "mappo", "ippo_lagrangian"]


def test_the_coefficient_goes_linearly_to_its_end_and_stays_there() -> None:
    bonus, seen = EntropyBonus(settings.IPPO(entropy=0.4, entropy_end=0.1), 3), []
    for _ in range(5):
        seen.append(bonus.coefficient)
        bonus.observe(1.0)
    assert seen == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.1])


def test_the_coefficient_is_moved_by_what_the_entropy_lacks() -> None:
    """log c <- log c + p (H* - H): half a nat too little, then a nat too much, at a pace of .2."""
    bonus = EntropyBonus(settings.IPPO(entropy=0.1, entropy_target=1.5, entropy_pace=0.2), 10)
    bonus.observe(1.0)
    assert bonus.coefficient == pytest.approx(0.1 * math.exp(0.1))
    bonus.observe(2.5)
    assert bonus.coefficient == pytest.approx(0.1 * math.exp(0.1 - 0.2))


@pytest.mark.parametrize(("entropy", "bound"), [(1e9, LOWEST), (-1e9, HIGHEST)])
def test_a_target_out_of_reach_moves_the_coefficient_to_a_bound_and_no_further(entropy: float, bound: float) -> None:
    bonus = EntropyBonus(settings.IPPO(entropy=0.1, entropy_target=0.0), 10)
    bonus.observe(entropy)
    assert bonus.coefficient == pytest.approx(bound)


@pytest.mark.parametrize("name", PROXIMAL)
def test_an_update_takes_the_coefficient_of_its_turn_into_the_loss(name: str) -> None:
    """The loss of one minibatch differs between two coefficients by the entropy times their difference."""
    told = []
    for end in (0.0, 0.9):  # of 100 updates, of which none has passed: both begin with .5
        here = lanes(VectorGame(PAYDAY, 2), name, entropy=0.5, entropy_end=end, anneal=False, minibatches=1)
        for _ in range(2):
            torch.manual_seed(5)
            here.collect(4)
            told.append(here.update().get_loss_stats_dict())
    first, second = told[0], told[2]
    assert first["worker/entropy_coefficient"] == second["worker/entropy_coefficient"] == 0.5
    assert first["worker/loss"] == second["worker/loss"]
    falling, rising = told[1], told[3]
    assert (falling["worker/entropy_coefficient"], rising["worker/entropy_coefficient"]) == pytest.approx((0.495, 0.504))
    assert falling["worker/ent_loss"] == rising["worker/ent_loss"]
    assert falling["worker/loss"] - rising["worker/loss"] == pytest.approx(0.009 * falling["worker/ent_loss"], rel=1e-2)


@pytest.mark.parametrize("name", PROXIMAL)
def test_without_a_rule_nothing_is_added(name: str) -> None:
    here = lanes(VectorGame(PAYDAY, 2), name, entropy=0.5)
    here.collect(4)
    assert "worker/entropy_coefficient" not in here.update().get_loss_stats_dict()
    (learner,) = here.team.learners.values()
    assert not [key for key in learner.state_dict() if key.startswith(("bonus", "tail", "policy.sight"))]
    assert learner.ent_coef == 0.5


def run_of(folder: Path, total: int, **given: Any) -> Run:
    return Run(
        lambda stage, n: VectorGame(HASTE, n),
        algorithms.load("ippo"),
        settings.IPPO(hidden=[16], rollout=8, minibatches=1, **given),
        Schedule(total, evaluation_every=10**9, evaluation_episodes=2, checkpoint_every=10**9),
        seed=0,
        n_envs=4,
        folder=folder,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("given", "entropy"), [({"entropy": 1e-2, "entropy_target": 1.0}, 1.0), ({"entropy": 0.0}, -0.36)])
def test_the_entropy_swings_about_its_target(given: dict[str, float], entropy: float, tmp_path: Path) -> None:
    """In the mean of the later half of 400 updates. Without a bonus the entropy falls from .7 nats to below 0."""
    run = run_of(tmp_path, 32 * 400, lr=1e-2, anneal=False, **given)
    run.start()
    run.run()
    late = [row["loss/driver/ent_loss"] for row in read_metrics(tmp_path / "metrics.jsonl")[-200:]]
    assert sum(late) / len(late) == pytest.approx(entropy, abs=0.15)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"entropy_target": 1.0}, "algorithm.entropy_target = 1 nats with algorithm.entropy = 0: legal range of the coefficient"),
        ({"entropy": 0.1, "entropy_target": 1.0, "entropy_end": 0.0}, "algorithm.entropy_target = 1 nats with algorithm.entropy_end = 0"),
        ({"cvar": 0.0}, "algorithm.cvar = 0.0: legal range is [1e-06, 1]"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as error:
        settings.MAPPO(**given).check()
    assert message in str(error.value)
