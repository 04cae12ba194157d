"""Evaluation: against a loop by hand, on fixed seeds, without exploration, without a trace on what is evaluated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from marl.errors import UserError
from marl.evaluate import choose, evaluate, play, seed_of
from marl.team import parts, scripted, seen
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.constant import always
from tests.lanes import lanes
from tests.marl.test_collect import by_hand, watched
from tests.payday import PAYDAY


def bazaar(n: int) -> VectorGame:
    return VectorGame(BAZAAR, n, horizon=12, purse=60)


def learned(sharing: str = "group", name: str = "ippo") -> tuple[dict[str, Any], dict[str, Any]]:
    """(plan, policies) of a team of which everybody acts on what it sees."""
    team = lanes(bazaar(2), name, sharing).team
    with torch.no_grad():
        for p in team.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return team.plan, {part: team.member(part) for part in team.plan}


@pytest.mark.parametrize("name", ["ippo", "isac"])
def test_an_evaluation_is_a_loop_by_hand(name: str) -> None:
    """One episode a copy from where it stands; what a copy does after its end counts no more."""
    copies = bazaar(4)
    copies.reset(3)
    plan, policies = learned(name=name)
    action = np.zeros(copies.action.shape)
    for tick in range(7):
        copies.step(action)
        if tick == 1:
            copies.next_episode([1])
    copies.next_episode([0])
    log = watched(copies)
    found = play(copies, plan, policies)
    assert found.lengths.tolist() == [12, 7, 5, 5]
    assert len(log) == 12
    for copy in range(4):
        total, length, metrics, cost, _ = by_hand(log, copy)[0]
        assert found.returns[copy] == pytest.approx(total)
        assert (found.lengths[copy], found.metrics[copy].tolist()) == (length, metrics.tolist())
        assert found.costs[copy] == pytest.approx(cost)


@pytest.mark.parametrize("sharing", ["group", "none"])
def test_fixed_seeds_give_one_evaluation(sharing: str) -> None:
    plan, policies = learned(sharing)
    one, two, other = (evaluate(bazaar, plan, policies, 8, seed) for seed in (5, 5, 6))
    assert one.returns.tobytes() == two.returns.tobytes()
    assert one.metrics.tobytes() == two.metrics.tobytes()
    assert one.returns.tobytes() != other.returns.tobytes()


def test_scripted_rivals_that_draw_do_the_same_in_every_evaluation() -> None:
    """Else a policy would be measured against other luck each time, and evaluating would change what training meets."""
    copies = bazaar(2)
    plan = parts(copies, "group", learners=1)
    own = lanes(copies).team
    policies = {n: own.member(n.removesuffix("_rivals")) if p.learns else scripted(copies, p, "random", 7) for n, p in plan.items()}
    rival: Any = policies["buyer_rivals"]
    before = rival.generator.bit_generator.state
    one, two = (evaluate(bazaar, plan, policies, 8, 5) for _ in range(2))
    assert one.returns.tobytes() == two.returns.tobytes()
    assert rival.generator.bit_generator.state == before
    assert rival.generator.random() == np.random.default_rng((7, 3)).random()


def test_scripts_of_two_parts_draw_apart() -> None:
    """Buyers and sellers that were given one seed are not each other's shadow."""
    copies = VectorGame(BAZAAR, 50, n_sellers=2, n_buyers=2)
    copies.reset(0)
    plan = parts(copies, "group")
    shares = [choose(scripted(copies, p, "random", 3), p, copies)[..., 0].ravel() for p in plan.values()]
    assert abs(np.corrcoef(*shares)[0, 1]) < 0.3


def test_evaluation_keys_are_no_training_keys() -> None:
    training, evaluated = VectorGame(COMMONS, 500), VectorGame(COMMONS, 500, horizon=1)
    training.reset(9)
    evaluate(lambda _: evaluated, parts(evaluated, "group"), {"harvester": always(0.5)}, 500, 9)
    assert not set(training.world.key) & set(evaluated.world.key)
    assert len({seed_of(9), seed_of(9, "exploitability"), seed_of(9, "best response"), 9}) == 4


class Dropped(nn.Module):
    """A network with a layer that behaves otherwise in training."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.dropout = inner, nn.Dropout(0.5)

    def forward(self, rows: Any) -> Any:
        return self.dropout(self.inner(rows))


@pytest.mark.parametrize("name", ["ippo", "isac"])
def test_policies_act_at_their_mode_and_are_as_they_were(name: str) -> None:
    """Called in the middle of training: no exploration, no dropout, no draw of a generator; flags and parameters come back."""
    plan, policies = learned(name=name)
    for policy in policies.values():
        policy.actor.net = Dropped(policy.actor.net)
        policy.train()
        policy.is_within_training_step = True
    before = {n: [p.detach().clone() for p in policy.parameters()] for n, policy in policies.items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    one, two = (evaluate(bazaar, plan, policies, 8, 5) for _ in range(2))
    assert one.returns.tobytes() == two.returns.tobytes()
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == np.random.get_state()[1].tolist()
    for n, policy in policies.items():
        assert policy.is_within_training_step
        assert policy.actor.net.dropout.training
        assert all(torch.equal(p, q) for p, q in zip(before[n], policy.parameters()))
    log: list[Any] = []

    def logged(n: int) -> VectorGame:
        copies = bazaar(n)
        log.append(watched(copies))
        return copies

    evaluate(logged, plan, policies, 2, 5)
    for policy in policies.values():
        policy.is_within_training_step = False
        policy.eval()
    for row in log[0]:
        for n, part in plan.items():
            rows = torch.from_numpy(part.rows(row["before"], row["mask"]).reshape(-1, part.width))
            with torch.no_grad():
                mode = policies[n].map_action(policies[n](seen(rows)).act)
            did = row["action"][:, part.lo : part.hi, : part.group.action_width].reshape(len(mode), -1)
            assert np.array_equal(mode, did)


def test_two_policies_meet_the_same_draws() -> None:
    """The stock regrows by the same noise: of two evaluations the growth differs only where the harvest did."""
    worlds = []

    def kept(n: int) -> VectorGame:
        worlds.append(VectorGame(COMMONS, n, n_agents=2, horizon=1, growth=1.0))
        return worlds[-1]

    plan = parts(kept(1), "group")
    del worlds[:]
    noise = []
    for harvest in (0.2, 0.6):
        evaluate(kept, plan, {"harvester": always(harvest)}, 64, 5)
        left = 100.0 * (1.0 - harvest)
        noise.append((worlds[-1].final_obs[:, 0, 0] * 100.0 - left) / (left * (1.0 - left / 100.0)))
    assert noise[0] == pytest.approx(noise[1], abs=1e-4)
    assert noise[0].std() > 0.03


def test_means_are_those_of_agents_that_learn() -> None:
    """Of two sellers and three buyers one each learns: the others are part of their world."""
    copies = bazaar(1)
    plan = parts(copies, "none", learners=1)
    found = evaluate(bazaar, plan, {n: scripted(copies, p, "random") for n, p in plan.items()}, 8, 5)
    assert found.learners.tolist() == [True, False, True, False, False]
    assert found.by_episode.tolist() == pytest.approx(((found.returns[:, 0] + found.returns[:, 2]) / 2).tolist())
    assert found.role("buyer").tolist() == found.returns[:, 2].tolist()
    assert found.metric("earned").tolist() == found.metrics[:, [0, 2], 0].tolist()


def test_an_episode_without_an_end_is_told() -> None:
    copies = VectorGame(PAYDAY, 2, horizon=10)
    copies.reset(0)
    with pytest.raises(UserError, match="evaluation of payday: 2 of 2 episodes go on after 9 ticks"):
        play(copies, parts(copies, "group"), {"worker": always(0.0)}, limit=9)


@pytest.mark.parametrize(("missing", "said"), [(True, "buyer 2 to 4"), (False, "seller 0 to 1, buyer 2 to 4, twice 4 to 4")])
def test_a_plan_that_leaves_agents_out_or_seats_them_twice_is_refused(missing: bool, said: str) -> None:
    """Nobody acts on zeros without a word."""
    copies = bazaar(2)
    copies.reset(0)
    plan = parts(copies, "group")
    if missing:
        del plan["seller"]
    else:
        plan["twice"] = replace(plan["buyer"], name="twice", lo=4)
    policies = {name: scripted(copies, part, "random") for name, part in plan.items()}
    with pytest.raises(UserError, match=f"plan of bazaar: parts of agents {said}; expected is one part for each of agents 0 to 4"):
        play(copies, plan, policies)
