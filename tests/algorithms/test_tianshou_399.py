"""The returns that PPO learns from, in a game whose returns are known by hand (tianshou#399, #1137).

Tianshou's own multi-agent path takes a simultaneous game for a game of turns: an agent's row is followed by the next
agent's observation, and only the last agent's row is paid and ended. The first half shows that with Tianshou 2.0.1;
the second half shows the returns by hand on lanes. Both read what reaches PPO's loss, and both use `gae_returns`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec
from tianshou.algorithm import PPO
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.multiagent.marl import MultiAgentOnPolicyAlgorithm
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.env.pettingzoo_env import PettingZooEnv
from tianshou.utils.torch_utils import policy_within_training_step
from torch import nn

from algorithms import settings
from algorithms.ippo import IPPO
from marl.collect import LaneCollector
from marl.replay import Buffers, LaneBuffer
from marl.team import Team, parts
from marl.vector import VectorGame
from tests.payday import PAYDAY

AGENTS, HORIZON, GAMMA, LAMBDA = 3, 4, 0.9, 0.8
WEIGHTS = np.array([70.0, 5.0])
"""The critic's value of an observation is WEIGHTS . obs: known, and different for every agent and tick."""


# ---- by hand -------------------------------------------------------------------------------------------------------


def gae_returns(reward: Any, value: Any, following: Any, terminated: Any, ended: Any, gamma: float | None = None) -> np.ndarray:
    """R_t = A_t + V_t with A_t = r_t + gamma V'_t [not terminated] - V_t + gamma lambda A_{t+1} [not ended], each [T] (GAE)."""
    advantage, returns, gamma = 0.0, np.zeros(len(reward)), GAMMA if gamma is None else gamma
    for t in reversed(range(len(reward))):
        bootstrap = 0.0 if terminated[t] else gamma * following[t]
        ahead = 0.0 if ended[t] else gamma * LAMBDA * advantage
        advantage = reward[t] + bootstrap - value[t] + ahead
        returns[t] = advantage + value[t]
    return returns


def value_of(agent: int, t: Any) -> Any:
    """The critic's value for an agent at tick t of an episode."""
    return WEIGHTS[0] * (agent + 1) / AGENTS + WEIGHTS[1] * (1.0 - np.asarray(t) / HORIZON)


def by_hand(agent: int, ticks: int, end: str = "terminated") -> np.ndarray:
    """An agent's returns [ticks] over episodes in a row."""
    t = np.arange(ticks) % HORIZON
    over = t == HORIZON - 1
    return gae_returns(10.0 * (agent + 1) + t, value_of(agent, t), value_of(agent, t + 1), over & (end == "terminated"), over)


def test_by_hand_is_right_where_it_is_obvious(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without discount and at lambda 1 the return is the sum of what is still paid: 10 + 11 + 12 + 13."""
    monkeypatch.setitem(globals(), "GAMMA", 1.0)
    monkeypatch.setitem(globals(), "LAMBDA", 1.0)
    assert by_hand(0, 2 * HORIZON) == pytest.approx([46.0, 36.0, 25.0, 13.0] * 2)


class Known(nn.Module):
    """The critic: WEIGHTS . obs."""

    def forward(self, obs: Any, *_: Any, **__: Any) -> torch.Tensor:
        rows = getattr(obs, "obs", obs)  # on Tianshou's path an observation comes with its agent and mask
        return torch.as_tensor(rows).float() @ torch.tensor(WEIGHTS, dtype=torch.float32).unsqueeze(1)


@contextmanager
def returns_in_the_loss(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[Any, np.ndarray]]:
    """Algorithm -> the returns of the batch that its loss gets, in the order of the buffer; nothing is learned."""
    seen: dict[Any, np.ndarray] = {}

    def loss(self: Any, batch: Any, *_: Any, **__: Any) -> TrainingStats:
        seen[self] = batch.returns.numpy().copy()
        return TrainingStats()

    with monkeypatch.context() as patch:
        patch.setattr(PPO, "_update_with_batch", loss)
        yield seen


# ---- Tianshou's own path -------------------------------------------------------------------------------------------


class Workers(ParallelEnv):
    """The same rules, one copy of them, as PettingZoo's simultaneous game. Effort is low or high: Tianshou's path fails without a mask."""

    metadata = {"name": "payday", "render_modes": []}  # noqa: RUF012
    render_mode = None

    def __init__(self) -> None:
        self.copies = VectorGame(PAYDAY, n_agents=AGENTS, horizon=HORIZON)
        self.possible_agents = list(self.copies.agents)

    def observation_space(self, agent: str) -> spaces.Box:
        return SEEN

    def action_space(self, agent: str) -> spaces.Discrete:
        return EFFORT

    def _each(self, values: Any) -> dict[str, Any]:
        return dict(zip(self.possible_agents, values, strict=True))

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.agents = list(self.possible_agents)
        return self._each(self.copies.reset(0)[0].copy()), self._each([{}] * AGENTS)

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        self.copies.step(np.array([[[2.0 * actions[a] - 1.0] for a in self.possible_agents]]))
        over = [bool(self.copies.status[0])] * AGENTS
        told = (self.copies.final_obs[0].copy(), self.copies.reward[0].tolist(), over, [False] * AGENTS, [{}] * AGENTS)
        if over[0]:
            self.agents = []
        return tuple(self._each(x) for x in told)


SEEN, EFFORT = spaces.Box(0.0, 1.0, (2,), np.float32), spaces.Discrete(2)


class Logits(nn.Module):
    """An actor without an opinion."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[torch.Tensor, Any]:
        return self.weight.expand(len(obs), 2), state


def stock_ppo() -> PPO:
    policy = ProbabilisticActorPolicy(
        actor=Logits(), dist_fn=lambda logits: torch.distributions.Categorical(logits=logits), action_space=EFFORT, action_scaling=False
    )
    return PPO(policy=policy, critic=Known(), optim=AdamOptimizerFactory(lr=0.0), gamma=GAMMA, gae_lambda=LAMBDA)


@pytest.fixture(scope="module")
def stock() -> dict[int, np.ndarray]:
    """Agent -> the returns [T] that Tianshou's multi-agent PPO computes for it in two episodes."""
    algorithms, environment = [stock_ppo() for _ in range(AGENTS)], PettingZooEnv(parallel_to_aec(Workers()))
    team = MultiAgentOnPolicyAlgorithm(algorithms=algorithms, env=environment)
    worlds = DummyVectorEnv([lambda: PettingZooEnv(parallel_to_aec(Workers()))])
    collector: Any = Collector(team, worlds, VectorReplayBuffer(AGENTS * HORIZON * 2, 1))
    with pytest.MonkeyPatch.context() as patch, returns_in_the_loss(patch) as seen, policy_within_training_step(team.policy):
        collector.reset()
        collector.collect(n_step=AGENTS * HORIZON * 2)
        team.update(collector.buffer, batch_size=None, repeat=1)
    return {a: seen[algorithm] for a, algorithm in enumerate(algorithms)}


@pytest.mark.parametrize("agent", range(AGENTS))
def test_stock_returns_are_wrong(stock: dict[int, np.ndarray], agent: int) -> None:
    truth = by_hand(agent, 2 * HORIZON)
    assert stock[agent].shape == truth.shape
    assert (np.abs(stock[agent] - truth) > 0.5).mean() >= 0.75


@pytest.mark.parametrize("agent", range(AGENTS))
def test_stock_returns_are_those_of_turns(stock: dict[int, np.ndarray], agent: int) -> None:
    """What goes wrong, exactly: the next agent's value, no pay and no end for anyone but the last."""
    t, last = np.arange(2 * HORIZON) % HORIZON, agent == AGENTS - 1
    over = (t == HORIZON - 1) & last
    reward = (10.0 * (agent + 1) + t) * last
    following = value_of(0, t + 1) if last else value_of(agent + 1, t)
    assert stock[agent] == pytest.approx(gae_returns(reward, value_of(agent, t), following, over, over), rel=1e-5)


# ---- our path ------------------------------------------------------------------------------------------------------


def lane_returns(monkeypatch: pytest.MonkeyPatch, sharing: str, copies: int, ticks: int, end: str) -> np.ndarray:
    """The returns [A, B, T] that IPPO computes on lanes."""
    game = VectorGame(PAYDAY, copies, n_agents=AGENTS, horizon=HORIZON, end=end)
    plan, chosen = parts(game, sharing), settings.IPPO(gamma=GAMMA, gae_lambda=LAMBDA, rollout=ticks, anneal=False)
    learners = {name: IPPO(chosen, part, 1) for name, part in plan.items()}
    for learner in learners.values():
        learner.critic = Known()
    team = Team(plan, learners, {})
    buffers = Buffers(
        {
            name: LaneBuffer(
                part.n, copies, ticks, part.width, learners[name].policy.row_width, fields=IPPO.FIELDS, keep_next=False, seed=0
            )
            for name, part in plan.items()
        }
    )
    collector = LaneCollector(team, game, buffers, seed=0)
    with returns_in_the_loss(monkeypatch) as seen, policy_within_training_step(team.policy):
        collector.reset()
        collector.collect(n_step=copies * ticks)
        team.update(buffers, batch_size=None, repeat=1)
    return np.concatenate([seen[learner].reshape(-1, copies, ticks) for learner in learners.values()])


@pytest.mark.parametrize("sharing", ["all", "group", "none"])
@pytest.mark.parametrize("copies", [1, 5])
def test_returns_on_lanes_are_those_by_hand(monkeypatch: pytest.MonkeyPatch, sharing: str, copies: int) -> None:
    found = lane_returns(monkeypatch, sharing, copies, 2 * HORIZON, "terminated")
    assert found.shape == (AGENTS, copies, 2 * HORIZON)
    for agent in range(AGENTS):
        for copy in range(copies):
            assert found[agent, copy] == pytest.approx(by_hand(agent, 2 * HORIZON), rel=1e-5)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize("ticks", [1, HORIZON, 2 * HORIZON + 3])
def test_ends_and_tails_on_lanes_are_those_by_hand(monkeypatch: pytest.MonkeyPatch, end: str, ticks: int) -> None:
    """A truncated game goes on in the critic's mind; so does an episode that a rollout cuts."""
    found = lane_returns(monkeypatch, "group", 2, ticks, end)
    for agent in range(AGENTS):
        assert found[agent] == pytest.approx(np.tile(by_hand(agent, ticks, end), (2, 1)), rel=1e-5)
