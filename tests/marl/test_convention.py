"""What learners are paid and what a time limit means: worked out by hand on payday."""

from __future__ import annotations

import numpy as np
import pytest

import algorithms
from marl.convention import pay
from marl.errors import UserError
from marl.team import parts, scripted
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.lanes import lanes
from tests.payday import PAYDAY


@pytest.mark.parametrize(
    ("convention", "expected"),
    [("individual", [[10, 20, 30], [11, 21, 0]]), ("team_sum", [[60] * 3, [32] * 3]), ("team_mean", [[20] * 3, [32 / 3] * 3])],
)
def test_pay_of_a_team_whose_third_member_left(convention: str, expected: list[list[float]]) -> None:
    """At tick 0 three workers earn 10, 20, 30; at tick 1 the third has left, and what stands in its row is nobody's."""
    copies = VectorGame(PAYDAY, 2, n_agents=3, horizon=3, leave=1, ghost=1e6)
    here = lanes(copies, rollout=2, reward=convention)
    here.collect(2)
    (buffer,) = here.buffers.values()
    paid = buffer.rew.reshape(3, 2, 2).transpose(1, 2, 0)  # [copies, ticks, agents]
    living = np.array([[1, 1, 1], [1, 1, 0]], bool)
    for copy in paid:
        assert copy[living] == pytest.approx(np.array(expected)[living])


def test_those_who_do_not_learn_are_not_of_the_team() -> None:
    copies = VectorGame(PAYDAY, 1, n_agents=3, horizon=2)
    plan = parts(copies, "group", 1)
    rivals = scripted(copies, plan["worker_rivals"], "random")
    reward = np.array([[1.0, 2.0, 4.0]], np.float32)
    assert pay("team_sum", reward, np.array([True, False, True]), None).tolist() == [[5.0] * 3]
    assert rivals is not None and plan["worker_rivals"].reward == "individual"


def test_a_team_of_several_roles_shares_one_reward() -> None:
    """Buyers and sellers, each with parameters of their own, are paid what all of them earned together."""
    here = lanes(VectorGame(BAZAAR, 2), rollout=3, reward="team_sum")
    kept = []
    for _ in range(3):
        here.collect(1)
        kept.append([buffer.rew.reshape(buffer.agents, 2, -1)[:, :, 0] for buffer in here.buffers.values()])
        assert (here.copies.reward.sum(1) == pytest.approx(kept[-1][0][0])) and len(kept[-1]) == 2
    for roles in kept:
        rows = np.concatenate(roles)
        assert (rows == rows[:1]).all()


@pytest.mark.parametrize(("time_limit", "terminated"), [("bootstrap", [False, False, False]), ("terminal", [False, False, True])])
def test_the_time_limit_of_a_continuing_game(time_limit: str, terminated: list[bool]) -> None:
    copies = VectorGame(PAYDAY, 1, n_agents=1, horizon=3, end="truncated")
    here = lanes(copies, rollout=3, gamma=1.0, gae_lambda=1.0, time_limit=time_limit)
    here.collect(3)
    (buffer,), (learner,) = here.buffers.values(), here.team.learners.values()
    assert buffer.terminated.tolist() == terminated
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
    ahead = 0.0 if terminated[2] else float(learner._values(np.array([[1.0, 0.0]], np.float32))[0])
    assert batch.returns.tolist() == pytest.approx([33.0 + ahead, 23.0 + ahead, 12.0 + ahead], rel=1e-5)


@pytest.mark.parametrize("name", [n for n in algorithms.ALGORITHMS if algorithms.settings_of(n).joint])
def test_an_algorithm_of_a_teams_value_refuses_individual_rewards(name: str) -> None:
    with pytest.raises(UserError, match=f"reward = 'individual' under algorithm = '{name}', .* legal are team_sum, team_mean; .* ippo"):
        algorithms.check_team(name, "individual")


def test_unknown_conventions_are_refused() -> None:
    copies = VectorGame(PAYDAY, 1)
    with pytest.raises(UserError, match="reward = 'mean': legal are individual, team_sum, team_mean"):
        parts(copies, "group", reward="mean")
    with pytest.raises(UserError, match="time_limit = 'cut': legal are bootstrap, terminal"):
        lanes(copies, time_limit="cut")
