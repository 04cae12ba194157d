"""A deviation that falls over a run: its rule by hand, that it is what actions are drawn with and no gradient moves it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from algorithms.deviation import FallingDeviation
from marl.game import Column, Game
from marl.vector import VectorGame
from tests.lanes import lanes
from tests.payday import PAYDAY

PROXIMAL = [("ippo", "none"), ("ippo", "gru"), ("mappo", "none"), ("mappo", "gru"), ("ippo_lagrangian", "none")]


@pytest.mark.parametrize(("updates", "share"), [(3, 1.0), (6, 0.5)])
def test_the_logarithm_goes_linearly_to_its_end_and_stays_there(updates: int, share: float) -> None:
    log_std, seen = torch.zeros(2), []
    falling = FallingDeviation(share, updates, [-1.0, -1.0], [-4.0, -4.0])
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


def game(**declared: float) -> Game:
    """Payday with its column explored as declared."""
    return replace(PAYDAY, roles=lambda p: tuple(replace(r, action=table(r.action, declared)) for r in PAYDAY.roles(p)))


def table(action: Any, declared: Any) -> dict[str, Column]:
    (name,) = action
    return {name: replace(action[name], **declared)}


def deviations(here: Any) -> list[float]:
    return [math.exp(x) for x in learner_of(here).policy.actor.log_std.tolist()]


@pytest.mark.parametrize("name", ["ippo", "ippo_lagrangian", "mappo", "ia2c", "reinforce"])
def test_a_column_says_how_widely_it_is_explored_at_first_where_no_setting_does(name: str) -> None:
    """By hand: e^-.7 where nothing is said, .2 of half the range where the column says so, e^-1 where the setting does."""
    told = [({}, {}, math.exp(-0.7)), ({"explore": 0.2}, {}, 0.2), ({"explore": 0.2}, {"log_std": -1.0}, math.exp(-1.0))]
    for declared, given, right in told:
        assert deviations(lanes(VectorGame(game(**declared), 2), name, **given)) == pytest.approx([right])


@pytest.mark.parametrize("name", ["ippo", "ippo_lagrangian", "mappo"])
@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({}, 0.2 * 0.1**0.01),
        ({"log_std_end": -4.0}, 0.2**0.99 * math.exp(-0.04)),
        ({"log_std": -1.0, "log_std_end": -3.0}, math.exp(-1.02)),
    ],
)
def test_and_what_its_deviation_falls_to(name: str, given: dict[str, float], right: float) -> None:
    """After one of 100 updates, by hand; with a setting's own deviation the column's end does not count, and it is learned."""
    game_ = game(explore=0.2, explore_last=0.02)
    here = lanes(VectorGame(game_, 2), name, **given)
    learned = lanes(VectorGame(game_, 2), name, log_std=-1.0)
    for each in (here, learned):
        each.collect(4)
        each.update()
    assert deviations(here) == pytest.approx([right])
    assert learner_of(learned).deviation is None


def test_of_two_columns_one_falls_and_the_other_is_learned() -> None:
    log_std = torch.nn.Parameter(torch.tensor([-1.0, -1.0]))
    falling = FallingDeviation(1.0, 4, [-1.0, -1.0], [-3.0, None])
    falling.hold(log_std)
    optim = torch.optim.Adam([log_std], lr=0.1)
    log_std.sum().backward()
    optim.step()
    assert log_std.tolist() == pytest.approx([-1.0, -1.1])
    falling.fall(log_std)
    assert log_std.tolist() == pytest.approx([-1.5, -1.1])


@pytest.mark.parametrize("name", ["itd3", "maddpg", "matd3"])
def test_noise_is_as_wide_as_the_column_says_where_no_setting_does(name: str) -> None:
    for declared, given, right in [({}, {}, 0.1), ({"explore": 0.2}, {}, 0.2), ({"explore": 0.2}, {"noise": 0.3}, 0.3)]:
        here = lanes(VectorGame(game(**declared), 2), name, **given, reward="individual")
        assert learner_of(here).policy.noise.tolist() == pytest.approx([right])


def test_isac_begins_as_widely_as_the_column_says() -> None:
    """Its deviation is that of a row: near e^0 where nothing is said, before tanh."""
    for declared, right in (({}, 1.0), ({"explore": 0.2}, 0.2)):
        actor = learner_of(lanes(VectorGame(game(**declared), 2), "isac")).policy.actor
        parameters, _ = actor(torch.zeros(1, actor.observed))
        assert math.exp(float(parameters[0, 1].detach())) == pytest.approx(right, rel=0.05)


def learner_of(here: Any) -> Any:
    (learner,) = here.team.learners.values()
    return learner


def moved(here: Any) -> list[torch.Tensor]:
    return [p for p in learner_of(here).policy.actor.parameters() if p.requires_grad]
