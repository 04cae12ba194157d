"""Speed of learning against the plain torch loops of `tests.speed.plain`, on the same game with the same networks."""

from __future__ import annotations

import numpy as np
import torch
from tianshou.utils.torch_utils import policy_within_training_step

import envs
from algorithms import load, settings_of
from marl.assemble import Counters, make_buffers, trainer_params
from marl.collect import LaneCollector
from marl.team import Team, parts
from marl.vector import VectorGame
from tests.speed.measure import Ratio, ratio
from tests.speed.plain import PlainPPO, PlainSAC

AGENTS = 4
ROLLOUT = {8: 256, 64: 64, 512: 64, 4096: 32}
COLLECT = {8: 0.6, 64: 0.7, 512: 1.0, 4096: 1.2}
TRAIN = {8: 0.85, 64: 0.9, 512: 0.9, 4096: 0.9}
UPDATE = 0.55


def copies(lanes: int) -> VectorGame:
    """A cheap game, so that the learner is what is measured: four bidders, two auctions a tick, episodes of 100 ticks."""
    return envs.make("auction", lanes // AGENTS, n_agents=AGENTS, mode="uniform_ipv", format="second", auctions_per_tick=2, horizon=100)


def assembled(name: str, lanes: int, rollout: int):  # type: ignore[no-untyped-def]
    """(team, collector, trainer) as a run assembles them."""
    own = copies(lanes)
    own_settings = settings_of(name)(rollout=rollout, anneal=False, hidden=[64, 64])
    plan = parts(own, "group")
    learners = {n: load(name)(own_settings, p, 1) for n, p in plan.items()}
    team = Team(plan, learners, {}, warm_up=0)
    collector = LaneCollector(team, own, make_buffers(team, own.n_envs, own_settings, 0), 0)
    trainer = team.create_trainer(trainer_params(team, collector, own.n_envs, own_settings, Counters()))
    trainer.reset()
    return team, collector, trainer


def turns(lanes: int) -> int:
    """Rollouts a turn: a few tenths of a second."""
    return 4 if lanes < 512 else 1


def collection(lanes: int) -> Ratio:
    """Rollouts alone: ours with values and log-probabilities recorded, as PPO needs them."""
    torch.manual_seed(0)
    rows, times = ROLLOUT[lanes], turns(lanes)
    team, collector, _ = assembled("ippo", lanes, rows)
    plain = PlainPPO(copies(lanes), rows)

    def ours() -> None:
        with policy_within_training_step(team.policy):
            for _ in range(times):
                collector.collect(n_step=rows * lanes // AGENTS)
                collector.reset_buffer()
                collector.take_finished()

    def theirs() -> None:
        for _ in range(times):
            plain.collect()

    steps = float(times * rows * lanes)
    return ratio(f"collect, {lanes} lanes", ours, theirs, (steps, steps), unit="agent-steps", at_least=COLLECT[lanes])


def training(lanes: int) -> Ratio:
    """Rollouts and updates: 4 passes of 4 minibatches."""
    torch.manual_seed(0)
    rows = ROLLOUT[lanes]
    _, collector, trainer = assembled("ippo", lanes, rows)
    plain = PlainPPO(copies(lanes), rows)

    def ours() -> None:
        trainer.execute_epoch()
        collector.take_finished()

    def theirs() -> None:
        plain.collect()
        plain.update()

    steps = float(rows * lanes)
    return ratio(f"PPO, {lanes} lanes", ours, theirs, (steps, steps), unit="agent-steps", turns=5, at_least=TRAIN[lanes])


def updating(lanes: int, updates: int = 50) -> Ratio:
    """SAC updates of 256 rows from a replay that `lanes` lanes filled."""
    torch.manual_seed(0)
    team, collector, _ = assembled("isac", lanes, 1)
    with policy_within_training_step(team.policy):
        collector.collect(n_step=max(2_000 // lanes, 2) * (lanes // AGENTS))
    ((name, buffer),) = collector.buffer.items()
    learner = team.learners[name]
    index = buffer.sample_indices(0)
    fields = (buffer.obs, buffer.act, buffer.rew, buffer.obs_next, buffer.terminated.astype(np.float32))
    plain = PlainSAC(*(torch.from_numpy(x[index]) for x in fields))

    def ours() -> None:
        with policy_within_training_step(team.policy):
            for _ in range(updates):
                learner.update(buffer, sample_size=256)

    def theirs() -> None:
        for _ in range(updates):
            plain.update()

    return ratio(f"SAC update, {lanes} lanes", ours, theirs, (updates, updates), unit="updates", at_least=UPDATE)
