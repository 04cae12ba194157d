"""What a run is assembled from: buffers for the lanes, and the parameters of Tianshou's stock trainers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tianshou.trainer import OffPolicyTrainerParams, OnPolicyTrainerParams
from tianshou.utils.logger.logger_base import LazyLogger

from marl import rng, sight
from marl.collect import LaneCollector
from marl.hindsight import HindsightBuffer
from marl.joint import TeamBuffer
from marl.priority import PrioritisedBuffer, PrioritisedTeamBuffer
from marl.replay import Buffers, LaneBuffer
from marl.schedule import Schedule
from marl.sequences import SequenceBuffer, Stretch, TeamSequenceBuffer
from marl.survivors import Survivors
from marl.team import Part, Team

EPOCH_TICKS = 128
"""Ticks of an off-policy epoch, about: rollouts are short there, and a row for each would drown the log."""

KINDS: dict[tuple[bool, bool], type[LaneBuffer]] = {
    (False, False): LaneBuffer,
    (True, False): TeamBuffer,
    (False, True): SequenceBuffer,
    (True, True): TeamSequenceBuffer,
}
"""By whether a learner is central and whether its policy remembers."""
PRIORITISED: dict[bool, type[LaneBuffer]] = {False: PrioritisedBuffer, True: PrioritisedTeamBuffer}
"""Of learners without memory, by whether they are central."""


class Counters(LazyLogger):
    """Gives the trainer the counters of the checkpoint: epoch, env steps, update steps."""

    at = (0, 0, 0)

    def restore_data(self) -> tuple[int, int, int]:
        return self.at


def updates(schedule: Schedule, settings: Any, n_envs: int) -> int:
    """Updates in the whole run, for a learning rate that falls over it; where the end is in episodes, one a copy counts as a rollout."""
    ticks = schedule.total / (settings.rollout * n_envs) if schedule.unit == "steps" else schedule.total / n_envs
    return int(-(-ticks // 1) * getattr(settings, "updates", 1))


def make_learner(algorithm: Callable[[Any, Part, int], Any], settings: Any, part: Part, updates: int) -> Any:
    """The algorithm of a part, seeing through a `marl.sight` where its settings say so."""
    learner = algorithm(settings, part, updates)
    if getattr(settings, "normalise_observations", False):
        sight.attach(learner, part)
    return learner


def made_for(learner: Any, part: Part) -> dict[str, Any]:
    """What a part's networks are made for: a stage of a curriculum may change the rest.

    Those of a learner that is `CENTRAL` know the members by number, unless it says that it serves `any_number`.
    """
    shape = {"width": part.width, "action": part.group.action}
    if getattr(learner, "CENTRAL", False) and not getattr(learner, "any_number", False):
        shape |= {"agents": part.n, "state_width": part.state_width}
    return shape


def make_buffers(team: Team, n_envs: int, settings: Any, seed: int, stage: str = "") -> Buffers:
    """A rollout for each part that learns, or a ring of `settings.replay` rows off-policy.

    A learner that is `CENTRAL` gets the global state and team rows beside its lanes, one with `COSTS` the game's cost
    columns, one whose policy has memory sequences. Parts that are paid as a team hold the same ticks, as many as its largest
    part's ring holds. Each part of each stage of a run draws from a stream of its own.
    """
    buffers = Buffers()
    largest = max(team.plan[name].n for name in team.learners)
    for name, learner in team.learners.items():
        own: Any = learner
        part = team.plan[name]
        n = largest if part.teams else part.n
        rows = settings.rollout if team.on_policy else max(-(-settings.replay // (n * n_envs)), settings.rollout)
        fields, width = own.FIELDS, own.policy.row_width
        stream = rng.derive(seed, f"replay of {name}{stage and f', {stage}'}")
        how: dict[str, Any] = {"fields": fields, "keep_next": not team.on_policy, "seed": stream}
        how["costs"] = len(part.costs) if getattr(own, "COSTS", False) else 0
        how["gamma"] = settings.gamma if getattr(settings, "cvar", 1.0) < 1.0 else None
        remembers = getattr(own.policy, "state_width", 0) > 0
        if remembers:
            how["stretch"] = _stretch(settings, own.policy.state_width, team.on_policy)
            rows = rows if team.on_policy else how["stretch"].ring(rows)
        if getattr(own, "CENTRAL", False):
            how["state_width"] = part.state_width
        buffers[name] = _kind(own, settings, part, remembers, how)(part.n, n_envs, rows, part.width, width, **how)
        if part.teams:
            buffers.survivors = buffers.survivors or Survivors(cast(Any, team.learners), buffers)
            buffers[name].survivors = buffers.survivors
    return buffers


def _kind(learner: Any, settings: Any, part: Part, remembers: bool, how: dict[str, Any]) -> type[LaneBuffer]:
    """The buffer's class, whose own arguments are added to `how`. Memory, priorities and hindsight exclude each other."""
    central = getattr(learner, "CENTRAL", False)
    if getattr(settings, "priority", 0.0):
        how["alpha"] = settings.priority
        return PRIORITISED[central]
    if getattr(settings, "hindsight", 0.0):
        how |= {"aims": part.aims, "goals": settings.hindsight}
        return HindsightBuffer
    return KINDS[central, remembers]


def _stretch(settings: Any, width: int, on_policy: bool) -> Stretch:
    """A rollout is cut end to end; slices of a ring begin every half of their length, so that they overlap."""
    if on_policy:
        length = settings.sequence or settings.rollout
        return Stretch(width, length, stride=length)
    return Stretch(width, settings.sequence, max(1, settings.sequence // 2), settings.burn_in)


def trainer_params(
    team: Team, collector: LaneCollector, n_envs: int, settings: Any, counters: Counters
) -> OnPolicyTrainerParams | OffPolicyTrainerParams:
    """An epoch is a rollout on-policy, about `EPOCH_TICKS` ticks off-policy."""
    steps: int = settings.rollout * n_envs
    shared = {
        "training_collector": collector,
        "max_epochs": 1 << 40,
        "epoch_num_steps": steps if team.on_policy else steps * max(1, EPOCH_TICKS // settings.rollout),
        "collection_step_num_env_steps": steps,
        "show_progress": False,
        "verbose": False,
        "logger": counters,
        "resume_from_log": True,
    }
    if team.on_policy:
        return OnPolicyTrainerParams(**shared, batch_size=None, update_step_num_repetitions=getattr(settings, "epochs", 1))
    return OffPolicyTrainerParams(**shared, batch_size=settings.batch, update_step_num_gradient_steps_per_sample=settings.updates / steps)
