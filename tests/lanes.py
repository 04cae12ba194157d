"""A small team on copies of a game, collecting: what the tests of the learning core stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tianshou.utils.torch_utils import policy_within_training_step

import algorithms
from marl.assemble import make_buffers
from marl.collect import LaneCollector
from marl.copies import Copies
from marl.replay import Buffers
from marl.team import Part, Team, parts

SMALL: dict[str, dict[str, Any]] = {
    "ippo": {"hidden": [8], "rollout": 4},
    "isac": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "ia2c": {"hidden": [8], "rollout": 4},
    "reinforce": {"hidden": [8], "rollout": 4},
    "idqn": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "itd3": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "mappo": {"hidden": [8], "rollout": 4},
    "vdn": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
    "qmix": {"hidden": [8], "replay": 200, "warm_up": 0, "batch": 16},
}
"""Settings that differ from the defaults."""


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


def lanes(
    copies: Copies, name: str = "ippo", sharing: str = "group", frozen: Mapping[str, Any] | None = None, seed: int = 0, **given: Any
) -> Lanes:
    """A team of the algorithm of that name; parts named in `frozen` play those policies. Copies are at their beginning."""
    torch.manual_seed(seed)
    chosen = algorithms.settings_of(name)(**{**SMALL[name], **given})
    plan = {n: p.named() if chosen.agent_id else p for n, p in parts(copies, sharing).items()}
    still = frozen or {}
    learners = {n: algorithms.load(name)(chosen, p, 100) for n, p in plan.items() if n not in still}
    team = Team(plan, learners, still, warm_up=getattr(chosen, "warm_up", 0))
    buffers = make_buffers(team, copies.n_envs, chosen, seed)
    collector = LaneCollector(team, copies, buffers, seed)
    collector.reset()
    return Lanes(copies, plan, team, buffers, collector, chosen)
