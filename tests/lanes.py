"""What the tests of the learning core stand on: tables of every kind of columns, and a small team on copies of a game, collecting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tianshou.utils.torch_utils import policy_within_training_step

import algorithms
from marl.assemble import make_buffers, make_learner
from marl.collect import LaneCollector
from marl.copies import Copies, Group
from marl.game import Column, Discrete
from marl.replay import Buffers
from marl.team import Part, Team, parts

torch.set_num_threads(1)  # as a run does; a second thread for small tensors only waits where cores are shared

SMALL: dict[str, dict[str, Any]] = {
    "ippo": {"hidden": [8], "rollout": 4},
    "ippo_lagrangian": {"hidden": [8], "rollout": 4, "cost_limit": 1.0},
    "isac": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "ia2c": {"hidden": [8], "rollout": 4},
    "reinforce": {"hidden": [8], "rollout": 4},
    "idqn": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "rainbow": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16, "atoms": 11},
    "itd3": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "mappo": {"hidden": [8], "rollout": 4},
    "vdn": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "qmix": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "maddpg": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "matd3": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "hybrid": {"hidden": [8], "rollout": 4, "replay": 200, "batch": 16, "levels": 5},
}
"""Settings that differ from the defaults."""

TABLES: dict[str, dict[str, Column | Discrete]] = {
    "continuous": {"a": Column(0.0, 10.0), "b": Column(-1.0, 1.0)},
    "discrete": {"a": Discrete(3), "b": Discrete(2)},
    "line": {"a": Column(0.0, 10.0)},
    "choice": {"a": Discrete(3)},
    "hybrid": {"a": Discrete(3), "b": Column(0.01, 100.0, scale="log"), "c": Discrete(2), "d": Column(2.0, 6.0)},
}
SEEN = {"x": Column(-1.0, 1.0), "y": Column(-1.0, 1.0)}


def part_of(table: str, masked: bool = False) -> Part:
    return Part("all", Group("all", 0, 2, SEEN, TABLES[table]), 0, 2, masked)


def rows_of(part: Part, n: int, seed: int = 0) -> torch.Tensor:
    """Random observation rows [n, width]; where there is a mask, some choices of every column are forbidden, never all."""
    chance = np.random.default_rng(seed)
    legal = chance.random((n, part.mask_width)) < 0.5
    begin = 0
    for k in (c.k for c in part.group.action.values() if isinstance(c, Discrete)) if part.masked else ():
        legal[np.arange(n), begin + chance.integers(k, size=n)] = True
        begin += k
    return torch.from_numpy(np.concatenate([chance.standard_normal((n, 2)), legal], 1).astype(np.float32))


@dataclass
class Lanes:
    """A team, its buffers and the collector that joins them to the copies."""

    copies: Copies
    plan: dict[str, Part]
    team: Team
    buffers: Buffers
    collector: LaneCollector
    settings: Any

    def collect(self, ticks: int) -> Any:
        """Ticks of every copy, exploring; on-policy from an empty buffer."""
        if self.team.on_policy:
            self.buffers.reset()
        with policy_within_training_step(self.team.policy):
            return self.collector.collect(n_step=ticks * self.copies.n_envs)

    def update(self, **how: Any) -> Any:
        """One update of every part, as the trainer asks for it."""
        asked = {"batch_size": None, "repeat": 1} if self.team.on_policy else {"sample_size": self.settings.batch}
        with policy_within_training_step(self.team.policy):
            return self.team.update(self.buffers, **{**asked, **how})


def paid(name: str) -> str:
    """What learners are paid where a test does not say: a team's reward where the algorithm needs one."""
    return "team_sum" if algorithms.settings_of(name).joint else "individual"


def lanes(
    copies: Copies,
    name: str = "ippo",
    sharing: str = "group",
    frozen: Mapping[str, Any] | None = None,
    seed: int = 0,
    reward: str = "",
    time_limit: str = "bootstrap",
    **given: Any,
) -> Lanes:
    """A team of the algorithm of that name; parts named in `frozen` play those policies. Copies are at their beginning."""
    torch.manual_seed(seed)
    chosen = algorithms.settings_of(name)(**{**SMALL[name], **given})
    plan = {n: p.named() if chosen.agent_id else p for n, p in parts(copies, sharing, reward=reward or paid(name)).items()}
    still = frozen or {}
    learners = {n: make_learner(algorithms.load(name), chosen, p, 100) for n, p in plan.items() if n not in still}
    team = Team(plan, learners, still, warm_up=getattr(chosen, "warm_up", 0))
    buffers = make_buffers(team, copies.n_envs, chosen, seed)
    collector = LaneCollector(team, copies, buffers, seed, time_limit=time_limit)
    collector.reset()
    return Lanes(copies, plan, team, buffers, collector, chosen)
