"""A deviation that falls over a run: its rule by hand, that it is what actions are drawn with and no gradient moves it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from algorithms import settings
from algorithms.deviation import FallingDeviation
from marl.vector import VectorGame
from tests.lanes import lanes
from tests.payday import PAYDAY

PROXIMAL = [("ippo", "none"), ("ippo", "gru"), ("mappo", "none"), ("mappo", "gru"), ("ippo_lagrangian", "none")]


@pytest.mark.parametrize(("updates", "share"), [(3, 1.0), (6, 0.5)])
def test_the_logarithm_goes_linearly_to_its_end_and_stays_there(updates: int, share: float) -> None:
    log_std, seen = torch.zeros(2), []
    falling = FallingDeviation(settings.IPPO(log_std=-1.0, log_std_end=-4.0, log_std_share=share), updates)
    for _ in range(5):
        falling.fall(log_std)
        seen.append(log_std.tolist())
    assert seen == [[x, x] for x in (-2.0, -3.0, -4.0, -4.0, -4.0)]


@pytest.mark.parametrize(("name", "memory"), PROXIMAL)
def test_it_falls_after_each_update_and_by_nothing_else(name: str, memory: str) -> None:
    """Of two runs one learns its deviation; the other's has the values of the rule, and its means are learned all the same."""
    given = {"log_std": -1.0, "memory": memory, "lr": 0.05, "anneal": False, "minibatches": 1, "entropy": 0.1}
    learned, falls = (lanes(VectorGame(PAYDAY, 2), name, log_std_end=end, **given) for end in (None, -3.0))
    for k in range(1, 3):  # of 100 updates
        for here in (learned, falls):
            before = [p.clone() for p in moved(here)]
            here.collect(4)
            here.update()
            assert any((p != q).any() for p, q in zip(before, moved(here), strict=True))
        assert learner_of(falls).policy.actor.log_std.tolist() == pytest.approx([-1.0 - 2.0 * k / 100])
        assert learner_of(learned).policy.actor.log_std.tolist() != pytest.approx([-1.0], abs=1e-4)


def test_actions_are_drawn_with_it() -> None:
    """4,096 draws of one mean: their deviation is e^-3 where the run is over, and e^-1 at its beginning."""
    here = lanes(VectorGame(PAYDAY, 2), "ippo", log_std=-1.0, log_std_end=-3.0)
    actor = learner_of(here).policy.actor
    for passed, deviation in ((0, math.exp(-1.0)), (100, math.exp(-3.0))):
        for _ in range(passed):
            learner_of(here).deviation.fall(actor.log_std)
        rows = torch.zeros(4_096, actor.net[0].in_features)
        assert float(actor.distribution(actor(rows)[0]).sample().std()) == pytest.approx(deviation, rel=0.05)


def learner_of(here: Any) -> Any:
    (learner,) = here.team.learners.values()
    return learner


def moved(here: Any) -> list[torch.Tensor]:
    return [p for p in learner_of(here).policy.actor.parameters() if p.requires_grad]
