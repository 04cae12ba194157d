"""Critics of members in any number: what they compute, by hand and under permutation, and MAPPO and a curriculum on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from algorithms import settings
from algorithms.attention import Attention, AttentionCritic, PooledCritic
from curricula import Curriculum, Stage
from marl.errors import UserError
from marl.schedule import Schedule
from marl.team import Part
from marl.track import read_metrics
from marl.vector import VectorGame
from tests.aim import AIM
from tests.algorithms.test_answers import learned
from tests.algorithms.test_team_rows import one, shaken
from tests.algorithms.test_tianshou_399 import gae_returns
from tests.branches import BRANCHES
from tests.commons import COMMONS
from tests.lanes import lanes, part_of
from tests.marl.test_resume import assert_equal_runs
from tests.marl.test_run import broken, done, made
from tests.payday import PAYDAY

GAMMA, LAMBDA = 0.9, 0.8  # those of gae_returns
CRITICS = ["pooled", "attention"]


def critic_of(kind: str, part: Part, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    made = PooledCritic(part, [6, 8], "tanh") if kind == "pooled" else AttentionCritic(part, [6, 8], "tanh", 2)
    shaken(made)
    return made


def crew(teams: bool, masked: bool = False) -> Part:
    return replace(part_of("choice", masked), reward="team_sum" if teams else "individual")


def rows(n: int, count: int, width: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Members' rows and who acts: every member in some rows, and somebody in every row but the last."""
    chance = torch.Generator().manual_seed(seed)
    obs, alive = torch.randn(n, count, width, generator=chance), torch.rand(n, count, generator=chance) < 0.7
    alive[0, :-1], alive[:, -1] = True, False
    return obs, alive.float()


@pytest.mark.parametrize("kind", CRITICS)
def test_a_critic_of_three_serves_five_in_any_order(kind: str) -> None:
    """Weights have the same shapes; a member's value goes where the member goes, a team's stays."""
    for teams in (True, False):
        three, five = (critic_of(kind, crew(teams), seed) for seed in (1, 2))
        five.load_state_dict(three.state_dict())
        obs, alive = rows(5, 40)
        order = torch.tensor([3, 0, 4, 1, 2])
        value, moved = five(obs, alive), five(obs[order], alive[order])
        assert value.shape == ((1, 40) if teams else (5, 40))
        assert torch.allclose(moved, value if teams else value[order], atol=1e-5)
        assert not torch.allclose(value[:, 0], value[:, 1], atol=1e-3)


@pytest.mark.parametrize("kind", CRITICS)
@pytest.mark.parametrize("teams", [True, False])
def test_who_has_left_is_nothing_to_the_others(kind: str, teams: bool) -> None:
    critic, (obs, alive) = critic_of(kind, crew(teams)), rows(4, 30)
    ghosts = torch.where(alive.unsqueeze(-1) == 1, obs, torch.full_like(obs, 1e6))
    before, after = critic(obs, alive), critic(ghosts, alive)
    kept = torch.ones(1, 30, dtype=torch.bool) if teams else alive == 1
    assert torch.allclose(before[kept], after[kept], atol=1e-5)
    fewer = critic(obs[:, :5][:3], alive[:, :5][:3])
    gone = alive[:, :5].clone()
    gone[3] = 0
    assert torch.allclose(critic(obs[:, :5], gone)[: len(fewer)], fewer, atol=1e-5)


@pytest.mark.parametrize("kind", CRITICS)
def test_only_observed_columns_are_read(kind: str) -> None:
    part = crew(False, masked=True)
    critic, (obs, alive) = critic_of(kind, part), rows(3, 8, part.width)
    other = obs.clone()
    other[..., part.observed :] += 5.0
    assert torch.equal(critic(obs, alive), critic(other, alive))


def test_attention_by_hand() -> None:
    """softmax_j(q_i . k_j / sqrt 2) v_j for each of two heads of two, over who acts, all sums written out."""
    torch.manual_seed(0)
    net, x = Attention(4, 2), torch.randn(3, 1, 4)
    shaken(net)
    alive = torch.tensor([[1.0], [0.0], [1.0]])
    found = net(x, alive).detach().numpy()[:, 0]

    def through(layer: Any, row: np.ndarray) -> np.ndarray:
        return layer[0].weight.detach().numpy() @ row + layer[0].bias.detach().numpy()

    q, k, v = ([through(layer, row) for row in x[:, 0].numpy()] for layer in (net.asked, net.keys, net.values))
    for i in range(3):
        mixed = np.zeros(4)
        for own in (slice(0, 2), slice(2, 4)):
            weight = [np.exp(q[i][own] @ k[j][own] / np.sqrt(2.0)) if j != 1 else 0.0 for j in range(3)]
            mixed[own] = sum(w * v[j][own] for j, w in enumerate(weight)) / sum(weight)
        assert found[i] == pytest.approx(through(net.out, mixed), rel=1e-4, abs=1e-5)


def test_pools_by_hand() -> None:
    critic = critic_of("pooled", crew(True))
    embedded = torch.tensor([[[1.0, -2.0]], [[9.0, 9.0]], [[3.0, -6.0]]])
    alive = torch.tensor([[1.0], [0.0], [1.0]])
    assert critic.crowd(embedded, alive, True).tolist()[0] == pytest.approx([2.0, -4.0, 3.0, -2.0, np.log(3.0)])
    assert critic.crowd(embedded, torch.zeros(3, 1), True).tolist()[0] == [0.0] * 5


@pytest.mark.parametrize("teams", [True, False])
@pytest.mark.parametrize("kind", CRITICS)
def test_gradients_are_those_of_finite_differences(kind: str, teams: bool) -> None:
    """With respect to every weight and every observation, in float64."""
    critic = critic_of(kind, crew(teams)).double()
    obs, alive = rows(3, 4)
    names, weights = zip(*critic.named_parameters())

    def value(x: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        found = torch.func.functional_call(critic, dict(zip(names, given)), (x, alive.double()))
        return found if teams else found * alive

    assert torch.autograd.gradcheck(value, (obs.double().requires_grad_(), *(w.detach().requires_grad_() for w in weights)))


# ---- MAPPO ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize("reward", ["team_sum", "individual"])
@pytest.mark.parametrize("kind", CRITICS)
def test_returns_by_hand(kind: str, reward: str, end: str) -> None:
    """Two copies of two workers, of whom the second leaves after two of four ticks; rollouts of six ticks end within an episode."""
    copies = VectorGame(PAYDAY, 2, n_agents=2, horizon=4, leave=2, end=end)
    how = {"gamma": GAMMA, "gae_lambda": LAMBDA, "normalise_values": False}
    here = lanes(copies, "mappo", rollout=6, reward=reward, critic=kind, heads=2, **how)
    here.collect(6)
    learner, buffer = one(here)
    shaken(learner.critic)
    batch = learner._preprocess_batch(buffer.sample(0)[0], buffer, None)
    team = reward == "team_sum"

    def value(t: int, present: int) -> list[float]:
        obs = torch.tensor([[[(a + 1) / 2, 1 - t / 4]] for a in range(2)])
        return learner.critic(obs, torch.tensor([[1.0], [float(present > 1)]]))[:, 0].tolist()

    ticks, present = [0, 1, 2, 3, 0, 1], [2, 2, 1, 1, 2, 2]
    after = [(1, 2), (2, 1), (3, 1), (4, 1), (1, 2), (2, 1)]  # the last tick of an episode leads to tick 4, if it is cut
    for k in range(1 if team else 2):
        pay = np.array([(10.0 + t + (20.0 + t if team and p > 1 else 0.0)) if k == 0 else 20.0 + t for t, p in zip(ticks, present)])
        left = np.array([k == 1 and t == 1 for t in ticks])
        over = np.array([False, False, False, True, False, False])
        v, following = ([value(*x)[k] for x in where] for where in (zip(ticks, present), after))
        expected = gae_returns(pay, np.array(v), np.array(following), (over & (end == "terminated")) | left, over | left)
        acted = [k == 0 or p > 1 for p in present]
        for copy in range(2):
            assert batch.returns[k].view(2, 6)[copy][acted].tolist() == pytest.approx(expected[acted].tolist(), rel=1e-4)


@pytest.mark.parametrize("kind", CRITICS)
def test_an_update_moves_every_weight_of_the_critic(kind: str) -> None:
    here = lanes(VectorGame(PAYDAY, 2, n_agents=3, horizon=5, leave=2), "mappo", rollout=8, critic=kind, heads=2, lr=1e-2)
    here.collect(8)
    learner, _ = one(here)
    before = {name: p.detach().clone() for name, p in learner.critic.named_parameters()}
    here.update()
    still = [name for name, p in learner.critic.named_parameters() if torch.equal(p, before[name])]
    assert not [name for name in still if name != "attention.keys.0.bias"]  # it shifts all scores of a row alike


FREE = replace(COMMONS, name="commons_free")
"""Whose number of agents the tests of runs leave to the stages."""
GROWING = [Stage("three", {"n_agents": 3}, promote=-1e9, on="return", window=1), Stage("five", {"n_agents": 5})]


def grown(folder: Path, **given: Any) -> dict[str, Any]:
    plan = Schedule(96, evaluation_every=24, evaluation_episodes=4, checkpoint_every=16)
    return {"folder": folder, "schedule": plan, "name": "mappo", **given}


@pytest.mark.parametrize("reward", ["team_mean", "individual"])
@pytest.mark.parametrize("sharing", ["group", "all"])
@pytest.mark.parametrize("kind", CRITICS)
def test_a_curriculum_may_change_the_number_of_agents(kind: str, sharing: str, reward: str, tmp_path: Path) -> None:
    given = {"own": {"critic": kind, "heads": 2}, "sharing": sharing, "reward": reward}
    outcome, rows = done(**grown(tmp_path, **given), curriculum=Curriculum(GROWING), game=FREE)
    assert outcome.steps == 96
    assert [row["curriculum/stage"] for row in rows if "evaluation/return" in row] == [0, 1, 1, 1, 1]
    again = made(**grown(tmp_path, **given), curriculum=Curriculum(GROWING), game=FREE)
    again.load("last.pt")
    assert again.judge(4).evaluation.returns.shape == (4, 5)


def test_a_broken_curriculum_of_growing_numbers_is_the_whole_one(tmp_path: Path) -> None:
    stages = [replace(GROWING[0], minimum_steps=20), replace(GROWING[1], demote=1e9, on="return", window=1, minimum_steps=20)]
    given = {"own": {"critic": "attention", "heads": 2}, "game": FREE}
    done(**grown(tmp_path / "whole", **given), curriculum=Curriculum(stages))
    broken(at=[24, 40, 72], **grown(tmp_path / "broken", **given), curriculum=lambda: Curriculum(stages))
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")
    assert {row["curriculum/stage"] for row in read_metrics(tmp_path / "whole" / "metrics.jsonl")} == {0, 1}


@pytest.mark.parametrize("name", ["mappo", "qmix", "maddpg"])
def test_networks_of_a_fixed_number_refuse_another(name: str, tmp_path: Path) -> None:
    run = made(**grown(tmp_path, name=name), curriculum=Curriculum(GROWING), game=FREE)
    with pytest.raises(UserError, match=r"stage 1 has parts .*'agents': 5.* the policies were made for .*'agents': 3"):
        run.start()


def test_independent_learners_go_on_with_any_number(tmp_path: Path) -> None:
    outcome, _ = done(**grown(tmp_path, name="ippo"), curriculum=Curriculum(GROWING), game=FREE)
    assert outcome.steps == 96


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"critic": "mean"}, "algorithm.critic = 'mean': legal are state, pooled, attention"),
        ({"critic": "pooled", "hidden": []}, "algorithm.critic = 'pooled' with algorithm.hidden = []: at least one layer is needed"),
        (
            {"critic": "attention", "hidden": [64, 30]},
            "algorithm.hidden = [64, 30]: algorithm.heads = 4 must divide the last layer's units",
        ),
        ({"critic": "attention", "critic_hidden": [30]}, "algorithm.critic_hidden = [30]: algorithm.heads = 4 must divide"),
    ],
)
def test_what_no_critic_can_be_made_of_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        settings.MAPPO(**given).check()
    assert message in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CRITICS)
def test_what_is_known_is_learned(kind: str, tmp_path: Path) -> None:
    """As MAPPO with its own critic: archers aim, and two players find the branch that pays 8."""
    for name in ("aim", "branches"):
        (tmp_path / name).mkdir()
    assert learned(AIM, "mappo", tmp_path / "aim", 20_000, rollout=16, lr=3e-3, critic=kind) > -0.01
    paid = learned(
        BRANCHES, "mappo", tmp_path / "branches", 10_000, params={"safe": 0.0}, reward="team_mean", rollout=8, lr=3e-3, critic=kind
    )
    assert paid == 8.0
