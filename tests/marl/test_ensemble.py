"""Ensembles: each kind by hand, one member is itself, the least variance, members of different algorithms on mixed columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import algorithms
from marl.actor import Actor
from marl.copies import Copies
from marl.ensemble import EnsemblePolicy, checked_weights, combine, ensemble_parts
from marl.errors import UserError
from marl.evaluate import choose
from marl.game import Column, Discrete
from marl.opinion import Opinion, opinion_of
from marl.team import Part, parts, seen
from marl.vector import VectorGame
from tests.aim import AIM
from tests.constant import always
from tests.lanes import SMALL, paid, part_of, rows_of
from tests.riddles import BARGAIN, SHELF

LINE = {"a": Column(0.0, 10.0)}
LOG = {"a": Column(0.01, 100.0, scale="log")}
CHOICE = {"a": Discrete(3)}


def says(*actions: float, variance: Any = None, chances: Any = None) -> Opinion:
    """One row of one column."""
    return Opinion(
        np.array([actions]),
        None if variance is None else np.array([[variance]]),
        None if chances is None else (np.array([chances]),),
    )


def together(kind: str, table: Any, *opinions: Opinion, weights: Sequence[float] | None = None) -> float:
    return float(combine(kind, opinions, table, checked_weights(weights, len(opinions)))[0, 0])


def test_the_mean_is_taken_on_the_scale_of_the_column() -> None:
    assert together("mean", LINE, says(1.0), says(2.0), says(6.0)) == pytest.approx(3.0)
    assert together("mean", LINE, says(1.0), says(2.0), says(6.0), weights=[2, 1, 1]) == pytest.approx(2.5)
    assert together("mean", LOG, says(0.1), says(10.0)) == pytest.approx(1.0)
    assert together("mean", LOG, says(100.0), says(100.0)) <= 100.0


def test_the_mean_of_probabilities_decides_a_choice() -> None:
    """Two are lukewarm for 0, one is sure of 2: .4 + .4 + 0, .25 + .25 + .1, .35 + .35 + .9."""
    opinions = [says(0, chances=[0.4, 0.25, 0.35]), says(0, chances=[0.4, 0.25, 0.35]), says(2, chances=[0.0, 0.1, 0.9])]
    assert together("mean", CHOICE, *opinions) == 2
    assert together("vote", CHOICE, *opinions) == 0
    assert together("vote", CHOICE, *opinions, weights=[1, 1, 3]) == 2


def test_equal_votes_go_to_the_larger_sum_of_probabilities() -> None:
    assert together("vote", CHOICE, says(0, chances=[0.5, 0.1, 0.4]), says(2, chances=[0.3, 0.1, 0.6])) == 2  # .8 against 1.0
    assert together("vote", CHOICE, says(0, chances=[0.9, 0.0, 0.1]), says(2, chances=[0.3, 0.1, 0.6])) == 0  # 1.2 against .7
    assert together("vote", CHOICE, says(1), says(0)) == 0  # nothing tells them apart: the lower one


def test_the_vote_on_a_quantity_is_its_weighted_median() -> None:
    assert together("vote", LINE, says(1.0), says(9.0), says(2.0)) == 2.0
    assert together("vote", LINE, says(1.0), says(9.0)) == 5.0
    assert together("vote", LOG, says(0.1), says(10.0)) == pytest.approx(1.0)
    assert together("vote", LINE, says(1.0), says(9.0), says(2.0), weights=[1, 3, 1]) == 9.0
    assert together("vote", LINE, says(1.0), says(9.0), says(2.0), weights=[1, 2, 1]) == 5.5  # half of the weight is on 9


def test_uncertainty_weighs_a_quantity_by_the_inverse_variance() -> None:
    """Weights 1/.01 and 1/.04 are 4 to 1; given weights multiply them; a silent member has the variance of the actions."""
    sure, unsure = says(1.0, variance=0.01), says(6.0, variance=0.04)
    assert together("uncertainty", LINE, sure, unsure) == pytest.approx(2.0)
    assert together("uncertainty", LINE, sure, unsure, weights=[1, 4]) == pytest.approx(3.5)
    # shares .1 and .6 of the range, variance .0625 about their mean: weights 100 and 16
    assert together("uncertainty", LINE, sure, says(6.0)) == pytest.approx((100.0 * 1.0 + 16.0 * 6.0) / 116.0)
    assert together("uncertainty", LINE, says(1.0), says(6.0)) == pytest.approx(3.5)
    assert together("uncertainty", LINE, says(1.0, variance=0.0), says(6.0, variance=1e-6)) == pytest.approx(3.5)


def test_uncertainty_weighs_a_choice_by_the_inverse_entropy() -> None:
    """H of (.5, .5, 0) is log 2 = .693; of (0, .1, .9) .325: the sure member has 2.13 times the weight, and wins with it."""
    two, sure = says(0, chances=[0.5, 0.5, 0.0]), says(2, chances=[0.0, 0.1, 0.9])
    assert together("mean", CHOICE, two, two, sure) == 1  # 1.0, 1.1, .9
    assert together("uncertainty", CHOICE, two, two, sure) == 2  # 1.44, 1.75, 2.77
    assert together("uncertainty", CHOICE, two, two, sure, weights=[2, 2, 1]) == 1  # 2.88, 3.19, 2.77
    assert together("uncertainty", CHOICE, says(1), says(1), says(0)) == 1


def test_the_mean_of_three_noisy_estimators_has_a_third_of_the_variance() -> None:
    """And by inverse variance 1 / (1/4 + 1 + 1) of unequal ones, below the 2/3 of their mean. 20,000 rows: 1 % is one deviation."""
    chance = np.random.default_rng(0)
    noise = chance.standard_normal((3, 20_000, 1))

    def spread(kind: str, deviations: Sequence[float]) -> float:
        opinions = [Opinion(5.0 + 0.1 * d * e, np.full((20_000, 1), (0.01 * d) ** 2)) for d, e in zip(deviations, noise)]
        found = combine(kind, opinions, LINE, np.ones(3))
        assert abs(found.mean() - 5.0) < 0.01
        return float(found.var()) / 0.01

    assert spread("mean", [1.0, 1.0, 1.0]) == pytest.approx(1.0 / 3.0, rel=0.03)
    assert spread("mean", [2.0, 1.0, 1.0]) == pytest.approx(2.0 / 3.0, rel=0.03)
    assert spread("uncertainty", [2.0, 1.0, 1.0]) == pytest.approx(1.0 / 2.25, rel=0.03)
    assert 1.0 / 3.0 < spread("vote", [1.0, 1.0, 1.0]) < 1.0  # a median is less efficient than a mean


GRID = np.array(list(product([0.0, 1.0], np.linspace(-1.0, 1.0, 5))))
MIXED = replace(BARGAIN, action_grid=lambda p: {"guesser": GRID})


def member(
    copies: Copies, name: str, sharing: str = "group", seed: int = 0, agent_id: bool = False, **given: Any
) -> list[tuple[Part, Any]]:
    """A run's parts with untrained policies, each of its own."""
    torch.manual_seed(seed)
    settings = algorithms.settings_of(name)(**SMALL[name], agent_id=agent_id, **given)
    plan = {n: p.named() if agent_id else p for n, p in parts(copies, sharing, reward=paid(name)).items()}
    return [(part, algorithms.load(name)(settings, part, 10).policy) for part in plan.values()]


def ensemble(copies: Copies, kind: str, *members: list[tuple[Part, Any]]) -> Actor:
    plan = ensemble_parts({p.name: p for p, _ in members[0]}, [v.group for v in copies.groups.values()])
    policies = {name: EnsemblePolicy(part, members, kind, checked_weights(None, len(members))) for name, part in plan.items()}
    return Actor(copies, plan, policies)


def copies_of(game: Any, n: int = 5) -> VectorGame:
    copies = VectorGame(game, n, n_agents=3)
    copies.reset(0)
    return copies


@pytest.mark.parametrize("kind", ["mean", "vote", "uncertainty"])
@pytest.mark.parametrize("sharing", ["group", "none"])
@pytest.mark.parametrize(("name", "agent_id"), [("ippo", False), ("ippo", True), ("isac", False), ("idqn", False)])
def test_one_member_acts_as_itself(kind: str, sharing: str, name: str, agent_id: bool) -> None:
    copies = copies_of(MIXED)
    own = member(copies, name, sharing, agent_id=agent_id)
    alone = Actor(copies, {p.name: p for p, _ in own}, {p.name: policy for p, policy in own})
    assert np.array_equal(ensemble(copies, kind, own).act(copies.obs), alone.act(copies.obs))


@pytest.mark.parametrize("kind", ["mean", "vote", "uncertainty"])
def test_different_algorithms_on_mixed_columns(kind: str) -> None:
    """ippo, isac and idqn, which chooses from a grid; one shares parameters, one does not, one is told who it is."""
    copies = copies_of(MIXED)
    members = [member(copies, "ippo", "none", 1), member(copies, "isac", "group", 2, True), member(copies, "idqn", "all", 3)]
    found = ensemble(copies, kind, *members).act(copies.obs)
    assert set(np.unique(found[:, :, 0])) <= {0.0, 1.0}
    assert (np.abs(found[:, :, 1]) <= 1.0).all()
    for agent in range(3):
        opinions = []
        for own in members:
            part, policy = next((p, q) for p, q in own if p.lo <= agent < p.hi)
            identity = np.tile(np.eye(part.ids)[agent : agent + 1], (5, 1)) if part.ids else np.zeros((5, 0))
            rows = np.concatenate([copies.obs[:, agent], identity], 1).astype(np.float32)
            opinions.append(opinion_of(policy, torch.from_numpy(rows), 1.0)[0])
        expected = combine(kind, opinions, MIXED.roles(copies.params)[0].action, np.ones(3))
        assert np.allclose(found[:, agent], expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "vote", "uncertainty"])
def test_a_forbidden_choice_is_never_taken(kind: str) -> None:
    copies = copies_of(SHELF, 40)
    acting = ensemble(copies, kind, *(member(copies, name, seed=i) for i, name in enumerate(["ippo", "isac", "idqn", "vdn"])))
    chosen = choose(acting.policies["guesser"], acting.plan["guesser"], copies)[:, :, 0].astype(int)
    assert np.take_along_axis(copies.action_mask, chosen[:, :, None], 2).all()
    assert np.array_equal(acting.act(copies.obs, copies.action_mask)[:, :, 0], chosen)
    row = acting.act({"guesser_1": copies.obs[0, 1]}, {"guesser_1": copies.action_mask[0, 1]})
    assert row == {"guesser_1": chosen[0, 1]}


def test_a_policy_that_says_nothing_stands_for_its_action() -> None:
    copies = copies_of(AIM)
    (part,) = parts(copies, "group").values()
    seats = [[(part, always(0.2))], [(part, always(0.5))]]
    policy = EnsemblePolicy(part.named(), seats, "mean", np.array([1.0, 2.0]))
    rows = torch.from_numpy(part.named().rows(copies.obs, copies.action_mask).reshape(-1, 4))
    assert np.allclose(policy(seen(rows)).act, 0.4)


@pytest.mark.parametrize("table", ["continuous", "hybrid"])
def test_a_squashed_policy_states_the_variance_that_it_explores_with(table: str) -> None:
    torch.manual_seed(0)
    part = part_of(table)
    policy = algorithms.load("isac")(algorithms.settings_of("isac")(**SMALL["isac"]), part, 10).policy
    row = rows_of(part, 1)
    opinion, _ = opinion_of(policy, row, 1.0)
    policy.is_within_training_step = True
    with torch.no_grad():
        drawn = policy(seen(row.repeat(50_000, 1))).act.numpy()
    free = policy.actor.free
    assert opinion.variance is not None and opinion.chances is not None
    assert np.allclose(drawn[:, :free].var(0) / 4.0, opinion.variance[0], rtol=0.03)
    if table == "hybrid":
        assert np.allclose(drawn[:, free : free + 3].mean(0), opinion.chances[0][0], atol=0.01)


def test_values_make_probabilities_at_the_temperature() -> None:
    """Of four choices with values 0, 1, 1 and 2 at temperature 1/2."""
    from algorithms.opinions import of_values

    actions = np.array([[0, 1.0], [0, 3.0], [1, 1.0], [1, 3.0]])
    table = {"side": Discrete(2), "amount": Column(1.0, 5.0)}
    opinion = of_values(actions[3:], torch.tensor([[0.0, 1.0, 1.0, 2.0]]), actions, table, 0.5)
    p = np.exp([0.0, 2.0, 2.0, 4.0]) / np.exp([0.0, 2.0, 2.0, 4.0]).sum()
    up = p[1] + p[3]
    assert opinion.chances is not None and opinion.variance is not None
    assert np.allclose(opinion.chances[0], [[p[0] + p[1], p[2] + p[3]]])
    assert np.allclose(opinion.variance, 0.5**2 * up * (1.0 - up))  # shares 0 and one half


@pytest.mark.parametrize("kind", ["mean", "vote", "uncertainty"])
def test_members_with_memory_remember_each_lane_for_itself(kind: str) -> None:
    """Two with memory and one without, in copies that are forgotten one by one; alone, one with memory is itself."""
    copies = copies_of(MIXED, 4)
    own = member(copies, "ippo", "none", 1, memory="gru")
    members = [own, member(copies, "idqn", "group", 2, memory="lstm"), member(copies, "isac", "all", 3)]
    team, single = ensemble(copies, kind, *members), ensemble(copies, kind, own)
    alone = Actor(copies, {p.name: p for p, _ in own}, {p.name: policy for p, policy in own})
    first = team.act(copies.obs)
    assert np.allclose(single.act(copies.obs), alone.act(copies.obs), atol=1e-6)
    again = team.act(copies.obs)
    assert np.abs(again[:, :, 1] - first[:, :, 1]).max() > 0.0, "nothing was remembered"
    assert np.allclose(single.act(copies.obs), alone.act(copies.obs), atol=1e-6)
    over = np.array([False, True, False, False])
    for actor in (team, single, alone):
        actor.reset(over)
    third = team.act(copies.obs)
    assert np.allclose(third[1], first[1], atol=1e-6)
    assert np.allclose(single.act(copies.obs), alone.act(copies.obs), atol=1e-6)
    policy = team.policies["guesser"]
    assert policy.initial(6).shape == (6, policy.state_width)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan], [1.0, 1.0, 1.0]])
def test_weights_that_are_refused(weights: list[float]) -> None:
    with pytest.raises(UserError, match="legal are 2 numbers from 0"):
        checked_weights(weights, 2)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="ensemble = 'median': legal are mean, vote, uncertainty"):
        combine("median", [says(1.0)], LINE, [1.0])
