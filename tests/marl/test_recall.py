"""What a policy remembers ends with its episode, wherever it acts: in collection, in evaluation, as an actor, as a frozen rival."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from envs.classic.memory import MEMORY
from marl.actor import Actor
from marl.errors import UserError
from marl.evaluate import play
from marl.exploit import exploitability
from marl.vector import VectorGame
from tests.commons import COMMONS
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY

LEARNERS = [("ippo", "gru"), ("ippo", "attention"), ("mappo", "lstm"), ("idqn", "lstm"), ("qmix", "gru")]
OFF: dict[str, Any] = {"sequence": 3, "burn_in": 1, "epsilon": 0.0, "epsilon_end": 0.0}


def cued() -> VectorGame:
    """Three copies in which two agents see a cue in the first of four ticks."""
    return VectorGame(MEMORY, 3, n_agents=2, cues=5, delay=3)


def remembering(name: str, memory: str, game: Any = None, **given: Any) -> Lanes:
    """Networks large enough that what is remembered shows in what is done."""
    copies = game or cued()
    own = {"sequence": 4} if name in ("ippo", "mappo") else OFF
    here = lanes(copies, name, memory=memory, memory_width=6, memory_length=5, **{**own, **given})
    (learner,) = here.team.learners.values()
    torch.manual_seed(9)
    for p in learner.policy.parameters():
        p.data += (1.0 if p.ndim > 1 else 0.1) * torch.randn_like(p)
    return here


def collected(here: Lanes, ticks: int) -> np.ndarray[Any, Any]:
    """Raw actions [B, n, T] of ticks at the mode: nothing is drawn."""
    (buffer,) = here.buffers.values()
    found = []
    for _ in range(ticks):
        if here.team.on_policy:
            buffer.reset()
        here.collector.collect(n_step=here.copies.n_envs)
        found.append(buffer._lanes["act"][:, :, (buffer._at - 1) % buffer.rows, 0].T.copy())
    return np.stack(found, 2)


@pytest.mark.parametrize(("name", "memory"), LEARNERS)
def test_what_is_done_after_an_episode_does_not_depend_on_the_episode_before(name: str, memory: str) -> None:
    """What is seen does not depend on what anybody does; in the second run everybody remembers something at the beginning."""
    here = remembering(name, memory)
    (recall,) = here.collector._recalls.values()
    begun, copies = here.collector.state_dict(), here.copies.state_dict()
    runs = []
    for strange in (False, True):
        here.collector.load_state_dict(begun)
        here.copies.load_state_dict(copies)
        if strange:
            recall.state = recall.state + 2.0 * torch.randn_like(recall.state)
        first = collected(here, 3)
        assert not (recall.state == 0).all(1).any()
        last = collected(here, 1)
        assert (recall.state == 0).all()
        runs.append((np.concatenate([first, last], 2), collected(here, 4)))
    assert not np.array_equal(runs[0][0], runs[1][0])
    assert np.array_equal(runs[0][1], runs[1][1])


def test_only_the_lanes_that_ended_forget() -> None:
    """The worker who leaves after two ticks begins again at once, its colleagues when the copy's episode ends."""
    here = remembering("ippo", "gru", VectorGame(PAYDAY, 2, n_agents=2, horizon=4, leave=2))
    (recall,) = here.collector._recalls.values()
    gone = []
    for _ in range(5):
        collected(here, 1)
        gone.append((recall.state == 0).all(1).view(2, 2)[0].tolist())
    assert gone == [[False, False], [False, True], [False, True], [True, True], [False, False]]


@pytest.mark.parametrize(("name", "memory"), LEARNERS)
def test_the_collector_continues_where_it_was_saved(name: str, memory: str) -> None:
    here, there = (remembering(name, memory) for _ in range(2))
    collected(here, 2)
    there.collector.load_state_dict(here.collector.state_dict())
    there.copies.load_state_dict(here.copies.state_dict())
    assert np.array_equal(collected(here, 5), collected(there, 5))
    saved = here.collector.state_dict()
    saved["memory"] = {part: rows[:, :-1] for part, rows in saved["memory"].items()}
    with pytest.raises(UserError, match="saved hidden states are"):
        there.collector.load_state_dict(saved)


@pytest.mark.parametrize(("name", "memory"), LEARNERS)
def test_evaluation_and_actor_remember_as_collection_does(name: str, memory: str) -> None:
    """Over two episodes of the same copies: `play` ends with the first, the actor is told when to forget."""
    here = remembering(name, memory)
    (policy,) = (here.team.member(n) for n in here.plan)
    (part_name,) = here.plan
    fork = cued()
    fork.load_state_dict(here.copies.state_dict())
    played = cued()
    played.load_state_dict(here.copies.state_dict())
    actor = Actor(fork, here.plan, {part_name: policy})
    units, wrong = [], []
    for _ in range(8):
        raw = collected(here, 1)[:, :, 0]
        units.append(policy.map_action(raw.reshape(-1, 1)).reshape(3, 2, -1))
        wrong.append(Actor(fork, here.plan, {part_name: policy}).act(fork.obs))
        acted = actor.act(fork.obs)
        assert acted == pytest.approx(units[-1])
        fork.step(acted)
        actor.reset(fork.status != 0)
    assert not np.allclose(np.array(wrong), np.array(units))
    returns = here.collector.take_finished().returns[0]
    assert play(played, here.plan, {part_name: policy}).returns == pytest.approx(returns)
    with pytest.raises(UserError, match=r"observations of 2 copies after 3: policies with memory need reset\(\) in between"):
        actor.act(fork.obs[:2])
    with pytest.raises(UserError, match=r"reset of copies \(2,\): act was last shown 3"):
        actor.reset(np.array([True, False]))
    actor.reset()
    assert actor.act(fork.obs[:2]).shape == (2, 2, 1)


def test_an_actor_asked_by_name_remembers_each_agent() -> None:
    """As an array of one copy is answered; one agent's calls do not move another's memory."""
    here = remembering("ippo", "gru", VectorGame(COMMONS, 3, n_agents=2, horizon=9))
    policies = {name: here.team.member(name) for name in here.plan}
    whole, single = (Actor(here.copies, here.plan, policies) for _ in range(2))
    obs = here.copies.obs[0]
    for _ in range(3):
        expected = whole.act(obs)
        for i, agent in reversed(list(enumerate(here.copies.agents))):
            assert single.act({agent: obs[i]})[agent] == pytest.approx(expected[i], abs=1e-5)
    single.reset()
    first = single.act({here.copies.agents[0]: obs[0]})[here.copies.agents[0]]
    assert first == pytest.approx(Actor(here.copies, here.plan, policies).act(obs)[0], abs=1e-5)
    assert not np.allclose(first, expected[0])


def test_frozen_rivals_remember_while_a_best_response_learns() -> None:
    """A part's policy plays in two seats beside the responder, each with a memory of its own."""
    here = remembering("ippo", "lstm", VectorGame(COMMONS, 3, n_agents=3, horizon=4))
    policies = {name: here.team.member(name) for name in here.plan}
    found = exploitability(
        lambda stage, n: VectorGame(COMMONS, n, n_agents=3, horizon=4),
        type(next(iter(here.team.learners.values()))),
        here.settings,
        here.plan,
        policies,
        next(iter(here.copies.groups)),
        steps=64,
        n_envs=4,
        episodes=8,
        seed=1,
    )
    assert np.isfinite([found.mean, found.present]).all()
    assert found.present > 0.0
