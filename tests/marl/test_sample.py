"""Policies that draw: addressed, so that an evaluation repeats, forks agree and training does not notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from tianshou.data import Batch

import envs
from marl import rng
from marl.actor import Actor
from marl.evaluate import choose, evaluate, play, seed_of
from marl.external import vectorize
from marl.judge import Judge
from marl.sample import PURPOSE, drawn, reasons
from marl.team import LightPolicy, parts, scripted
from marl.vector import VectorGame
from tests.commons import COMMONS
from tests.constant import always
from tests.foreign import Walk
from tests.lanes import lanes
from tests.marl.test_evaluate import bazaar, learned

RPS = envs.GAMES["rock_paper_scissors"]
SHARES = [f"share_{k}" for k in range(3)]


def rps(n: int) -> VectorGame:
    return VectorGame(RPS, n)


def uniform() -> tuple[dict[str, Any], dict[str, Any]]:
    """(plan, policies) of players whose choices are equally likely; the mode of equals is the first."""
    team = lanes(rps(2)).team
    with torch.no_grad():
        for p in team.parameters():
            p.zero_()
    return team.plan, {name: team.member(name) for name in team.plan}


def test_uniforms_are_uniform_and_apart() -> None:
    """By agent, column, tick, episode, copy and purpose; exact in float32 and inside (0, 1)."""
    keys, none = rng.keys(3, 0, 2_000), np.zeros(2_000, np.int64)
    here = rng.uniforms((keys, none, none), PURPOSE, 0, 5, 4)
    assert here.shape == (2_000, 5, 4) and here.dtype == np.float32
    assert here.min() > 0.0 and here.max() < 1.0
    assert scipy.stats.kstest(here.ravel(), "uniform").pvalue > 0.01
    others = [
        rng.uniforms((keys, none, none + 1), PURPOSE, 0, 5, 4),
        rng.uniforms((keys, none + 1, none), PURPOSE, 0, 5, 4),
        rng.uniforms((keys, none, none), "another", 0, 5, 4),
        here[:, [1, 2, 3, 4, 0]],
        here[:, :, [1, 2, 3, 0]],
        here[[*range(1, 2_000), 0]],
    ]
    for other in others:
        assert abs(np.corrcoef(here.ravel(), other.ravel())[0, 1]) < 3.5 / np.sqrt(here.size)
    assert rng.uniforms((keys[7:9], none[:2], none[:2]), PURPOSE, 2, 4, 3).tolist() == here[7:9, 2:4, :3].tolist()


def test_a_mixed_policy_is_judged_by_what_it_learned() -> None:
    """The equilibrium of rock-paper-scissors plays each action in a third of the ticks; its mode plays rock alone."""
    plan, policies = uniform()
    mode, mixed = (evaluate(rps, plan, policies, 400, 1, sample) for sample in (False, True))
    assert [mode.metric(s).mean() for s in SHARES] == [1.0, 0.0, 0.0]
    counts = [mixed.metric(s).sum() * 25 for s in SHARES]
    assert scipy.stats.chisquare(counts).pvalue > 0.01
    own, other = (mixed.metric("share_0")[:, i] for i in (0, 1))
    assert abs(np.corrcoef(own, other)[0, 1]) < 0.15  # players who share a policy do not share their luck
    assert mixed.returns[:, 0].var() == pytest.approx(25 * 2 / 3, rel=0.2)  # nor do ticks


@pytest.mark.parametrize("name", ["ippo", "isac"])
def test_an_evaluation_repeats_and_training_does_not_notice(name: str) -> None:
    """Equal on one seed, other on another; a copy alone does what it did among many; no generator moves."""

    def commons(n: int) -> VectorGame:
        return VectorGame(COMMONS, n, horizon=6)

    team = lanes(commons(2), name).team
    plan, policies = team.plan, {n: team.member(n) for n in team.plan}
    for policy in policies.values():
        policy.is_within_training_step = True
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    one, two, other = (evaluate(commons, plan, policies, 8, seed, sample=True) for seed in (5, 5, 6))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == np.random.get_state()[1].tolist()
    assert all(policy.is_within_training_step for policy in policies.values())
    assert one.returns.tobytes() == two.returns.tobytes() != other.returns.tobytes()
    assert one.returns.tobytes() != evaluate(commons, plan, policies, 8, 5).returns.tobytes()
    alone = commons(2)
    alone.reset(seed_of(5), first=3)
    assert play(alone, plan, policies, sample=True).returns == pytest.approx(one.returns[3:5])


def test_parts_that_are_named_draw_alone() -> None:
    plan, policies = learned()
    whole = evaluate(bazaar, plan, policies, 8, 5)
    assert evaluate(bazaar, plan, policies, 8, 5, sample=()).returns.tobytes() == whole.returns.tobytes()
    assert evaluate(bazaar, plan, policies, 8, 5, sample={"seller"}).returns.tobytes() != whole.returns.tobytes()
    every = [evaluate(bazaar, plan, policies, 8, 5, sample=sample).returns.tobytes() for sample in (True, set(plan))]
    assert every[0] == every[1]


def test_seats_of_one_policy_draw_as_the_whole() -> None:
    """Draws are the agents', whatever parts they are in: a fork with another plan meets the same."""
    plan, policies = learned()
    copies = bazaar(3)
    copies.reset(2)
    (name, part) = next((n, p) for n, p in plan.items() if p.n > 1)
    whole = choose(policies[name], part, copies, sample=True)
    halves = [type(part)(**{**part.__dict__, "lo": lo, "hi": lo + 1}) for lo in range(part.lo, part.hi)]
    assert np.concatenate([choose(policies[name], h, copies, sample=True) for h in halves], 1) == pytest.approx(whole)


def test_foreign_environments_have_an_address() -> None:
    copies = vectorize(Walk, 2)
    copies.reset(4)
    before = [x.copy() for x in copies.address]
    copies.step(np.zeros(copies.action.shape))
    after = copies.address
    assert before[0].tolist() == after[0].tolist() == rng.keys(4, 0, 2).tolist()
    assert (before[2].tolist(), after[2].tolist(), after[1].tolist()) == ([0, 0], [1, 1], [0, 0])
    plan = parts(copies, "none")
    team = lanes(vectorize(Walk, 2), sharing="none").team
    policies = {name: team.member(name) for name in plan}
    one, two, mode = (evaluate(lambda n: vectorize(Walk, n), plan, policies, 4, 9, sample) for sample in (True, True, False))
    assert one.returns.tobytes() == two.returns.tobytes() != mode.returns.tobytes()
    copies.close()


class Plain(LightPolicy):
    """A policy as somebody wrote it before there were draws."""

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        return Batch(act=batch.obs[:, :1], state=None)


def test_what_has_no_distribution_acts_at_its_mode_and_says_so() -> None:
    copies = bazaar(1)
    plan = parts(copies, "group")
    policies = {"seller": scripted(copies, plan["seller"], "random"), "buyer": Plain(action_space=always(0.0).action_space)}
    assert reasons(policies) == {"buyer": "it says of no distribution"}
    rows = torch.ones(3, plan["buyer"].width)
    out = policies["buyer"](Batch(obs=rows))
    assert drawn(policies["buyer"], plan["buyer"], copies.address, rows, out) is out.act
    one, two = (evaluate(bazaar, plan, dict.fromkeys(plan, policies["seller"]), 4, 5, sample) for sample in (False, True))
    assert one.returns.tobytes() == two.returns.tobytes()  # a script draws by itself, the same draws


def test_a_judge_draws_where_it_is_told() -> None:
    plan, policies = uniform()
    shares = [
        Judge(rps, plan, 64, 3, trained_focal=False, sample=sample).verdict(policies).row()["evaluation/share_0"]
        for sample in (False, True)
    ]
    assert shares[0] == 1.0
    assert shares[1] == pytest.approx(1 / 3, abs=0.03)


def test_an_actor_draws_anew_with_every_call_and_repeats_as_a_whole() -> None:
    plan, policies = uniform()
    copies = rps(1)
    copies.reset(0)
    obs = np.repeat(copies.obs, 5_000, 0)
    first, second, other = (Actor(copies, plan, policies, seed) for seed in (4, 4, 5))
    one = first.act(obs, sample=True)
    assert scipy.stats.chisquare(np.bincount(one.astype(int).ravel())).pvalue > 0.01
    again = first.act(obs, sample=True)
    assert (one != again).mean() == pytest.approx(2 / 3, abs=0.03)
    assert (first.act(obs) == 0.0).all()
    assert second.act(obs, sample=True).tolist() == one.tolist() != other.act(obs, sample=True).tolist()
    assert second.act(obs, sample=True).tolist() == again.tolist()
    assert first.certain == {}
    named, whole = (Actor(copies, plan, policies, 4) for _ in range(2))
    for _ in range(20):
        expected = whole.act(copies.obs[0], sample=True)[:, 0].astype(int).tolist()
        given = {agent: copies.obs[0, i] for i, agent in reversed(list(enumerate(copies.agents)))}
        found = named.act(given, sample=True)
        assert [found[agent] for agent in copies.agents] == expected
