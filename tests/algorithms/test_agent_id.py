"""Agents that share parameters and see the same, told apart by the identity in their rows, wherever a policy is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import algorithms
import envs
from marl.actor import Actor
from marl.evaluate import choose
from marl.schedule import Schedule
from marl.team import parts
from marl.train import Run
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.lanes import lanes


def test_a_row_is_the_observation_the_identity_and_the_mask() -> None:
    copies = VectorGame(BAZAAR, 2)
    copies.reset(0)
    part = parts(copies, "group")["buyer"].named()
    rows = part.rows(copies.obs, copies.action_mask)
    assert rows.shape == (2, 3, part.width) == (2, 3, 2 + 3 + part.mask_width)
    assert (rows[..., :2] == copies.obs[:, 2:5, :2]).all()
    assert (rows[:, :, 2:5] == np.eye(3)).all()
    assert (rows[..., 5:] == copies.action_mask[:, 2:5, : part.mask_width]).all()


@pytest.mark.parametrize("name", ["ippo", "isac", "idqn", "itd3", "mappo", "qmix"])
def test_agents_that_see_the_same_act_differently_and_alike_wherever_they_are_asked(name: str) -> None:
    """The harvesters of one stock all see the same numbers."""
    copies = VectorGame(COMMONS, 2, n_agents=12)
    here = lanes(copies, name, agent_id=True, **({"epsilon_end": 0.0} if name in ("idqn", "qmix") else {}))
    (part,), (learner,) = here.plan.values(), here.team.learners.values()
    with torch.no_grad():
        for p in learner.policy.parameters():
            p.mul_(20.0)
            p.add_(0.1 * torch.randn_like(p))
    learner.policy.is_within_training_step = False
    with torch.no_grad():
        whole = choose(learner.policy, part, copies)
    assert len(np.unique(whole[0, :, 0])) > 1
    actor = Actor(copies, here.plan, {part.name: learner.policy})
    assert actor.act(copies.obs) == pytest.approx(whole)
    assert actor.act(copies.obs[1]) == pytest.approx(whole[1])
    each = actor.act(dict(zip(copies.agents, copies.obs[0])))
    assert np.concatenate([each[agent] for agent in copies.agents]) == pytest.approx(whole[0, :, 0], abs=1e-6)


def test_a_run_with_identities_is_trained_judged_and_loaded(tmp_path: Path) -> None:
    settings = algorithms.settings_of("ippo")(agent_id=True, hidden=[8], rollout=8)

    def made() -> Run:
        return Run(
            lambda stage, n: envs.make("auction", n, n_agents=3, horizon=6, mode="uniform_ipv", format="second", auctions_per_tick=2),
            algorithms.load("ippo"),
            settings,
            Schedule(total=64, evaluation_every=64, checkpoint_every=64, evaluation_episodes=2),
            seed=1,
            n_envs=2,
            folder=tmp_path,
        )

    run = made()
    run.start()
    run.run()
    again = made()
    again.load("last.pt")
    (part,) = again.plan.values()
    assert part.width == part.group.width + 3
    verdicts = run.judge(4), again.judge(4)
    assert list(verdicts[0].scores) == ["advertiser"]
    assert verdicts[0].evaluation.returns.tolist() == verdicts[1].evaluation.returns.tolist()
