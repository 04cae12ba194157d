"""Speed of learning simple_spread with the published rows' recipes, against plain torch loops that do the same work.

Env steps a CPU second of collection and updates together; the gradient steps that an env step gets are fixed by the recipe
and named in the row.
"""

from __future__ import annotations

from typing import Any

import torch
from tianshou.utils.torch_utils import policy_within_training_step

import envs
from algorithms import load, settings_of
from marl.assemble import Counters, make_buffers, trainer_params
from marl.collect import LaneCollector
from marl.team import Team, parts
from marl.vector import VectorGame
from tests.speed.measure import Ratio, ratio
from tests.speed.plain_mappo import EPOCHS, MINIBATCHES, PlainMAPPO
from tests.speed.plain_qmix import PlainQMIX

MAPPO_RATIO, QMIX_RATIO = 0.85, 0.8
CHOICES, TICKS, RUN = 5, 25, 100_000
"""Choices of an agent, ticks of a rollout (an episode), and rollouts of a run, over which the learning rate falls."""
BATCH, UPDATES, RING = 1_600, 8, 124_992
"""QMIX: 64 episodes an update, 8 updates for 16 episodes, about 5,000 episodes in the replay."""
RECIPES: dict[str, dict[str, Any]] = {
    "mappo": {
        "rollout": TICKS, "epochs": EPOCHS, "minibatches": MINIBATCHES, "gamma": 0.9, "entropy": 0.003, "lr": 7e-4, "hidden": [128, 128],
        "activation": "relu", "agent_id": True,
    },
    "qmix": {
        "rollout": TICKS, "batch": BATCH, "updates": UPDATES, "gamma": 0.9, "lr": 1e-3, "anneal": True, "standardise": True,
        "replay": 3 * RING, "warm_up": 0, "agent_id": True,
    },
}  # fmt: skip


def copies(n_envs: int) -> VectorGame:
    """Without the columns of messages, which are always 0."""
    return envs.make("spread", n_envs, preset="simple_spread_v3", messages=False)


def assembled(name: str, n_envs: int) -> tuple[LaneCollector, Any]:
    """(collector, trainer) as a run assembles them."""
    own, s = copies(n_envs), settings_of(name)(**RECIPES[name])
    plan = {n: part.named() for n, part in parts(own, "all", reward="team_sum").items()}
    team = Team(plan, {n: load(name)(s, part, RUN) for n, part in plan.items()}, {}, warm_up=0)
    collector = LaneCollector(team, own, make_buffers(team, n_envs, s, 0), 0)
    trainer = team.create_trainer(trainer_params(team, collector, n_envs, s, Counters()))
    trainer.reset()
    return collector, trainer


def mappo(n_envs: int = 64) -> Ratio:
    """A rollout of 25 ticks and its 20 gradient steps."""
    torch.manual_seed(0)
    collector, trainer = assembled("mappo", n_envs)
    plain = PlainMAPPO(copies(n_envs), TICKS, CHOICES, RUN)
    turns = 4

    def ours() -> None:
        for _ in range(turns):
            trainer.execute_epoch()
            collector.take_finished()

    def theirs() -> None:
        for _ in range(turns):
            plain.collect()
            plain.update()

    steps = float(turns * TICKS * n_envs)
    name = f"MAPPO on spread, {EPOCHS * MINIBATCHES / (TICKS * n_envs):g} gradient steps an env step"
    return ratio(name, ours, theirs, (steps, steps), unit="env steps", at_least=MAPPO_RATIO)


def qmix(n_envs: int = 16) -> Ratio:
    """Rollouts of 25 ticks, 8 updates after each, from a replay that is filled to a fifth beforehand."""
    torch.manual_seed(0)
    collector, trainer = assembled("qmix", n_envs)
    plain = PlainQMIX(copies(n_envs), CHOICES, RING, BATCH, RUN)
    rollouts = trainer.params.epoch_num_steps // (TICKS * n_envs)
    held = RING // n_envs // 5
    with policy_within_training_step(trainer.algorithm.policy):
        collector.collect(n_step=held * n_envs)
    plain.collect(held)

    def ours() -> None:
        trainer.execute_epoch()
        collector.take_finished()

    def theirs() -> None:
        for _ in range(rollouts):
            plain.collect(TICKS)
            for _ in range(UPDATES):
                plain.update()

    steps = float(rollouts * TICKS * n_envs)
    name = f"QMIX on spread, {UPDATES / (TICKS * n_envs):g} updates of {BATCH:,} team rows an env step"
    return ratio(name, ours, theirs, (steps, steps), unit="env steps", turns=5, at_least=QMIX_RATIO)
