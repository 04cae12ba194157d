"""Evaluation: frozen policies on fixed seeds, one episode a copy, so that two policies meet the same draws.

They act at their mode, or as `marl.sample` draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from tianshou.algorithm.algorithm_base import Policy
from tianshou.utils.torch_utils import policy_within_training_step, torch_train_mode

from marl import notice, rng, room
from marl.copies import Copies
from marl.errors import UserError
from marl.recall import Recall
from marl.sample import drawn
from marl.team import Part, ScriptedPolicy

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Evaluation:
    """Whole episodes: returns [E, A], lengths [E], metrics [E, A, K] and costs [E, A, C] with their names, by role slices.

    `learners` [A] marks the agents of parts that learn: the others are part of their world.
    """

    returns: Array
    lengths: Array
    metrics: Array
    costs: Array
    metric_names: tuple[str, ...]
    cost_names: tuple[str, ...]
    roles: Mapping[str, slice]
    learners: Array

    @property
    def by_episode(self) -> Array:
        """Mean return of the learning agents, [E]."""
        mean: Array = self.returns[:, self.learners].mean(1)
        return mean

    def role(self, name: str) -> Array:
        """Mean return of a role's learning agents, [E]."""
        own = self.roles[name]
        mean: Array = self.returns[:, own][:, self.learners[own]].mean(1)
        return mean

    def metric(self, name: str) -> Array:
        """A metric of every learning agent, [E, L]."""
        column: Array = self.metrics[:, self.learners, self.metric_names.index(name)]
        return column


def seed_of(seed: int, purpose: str = "evaluation") -> int:
    """Seed of a run's evaluation episodes (or of another purpose): no key in common with its training copies."""
    return rng.derive(seed, purpose)


class Watch(Protocol):
    """Is told of every tick of a play before it happens and after: reads the copies and leaves them."""

    def before(self, copies: Copies) -> None: ...

    def after(self, copies: Copies) -> None: ...


def play(
    copies: Copies,
    plan: Mapping[str, Part],
    policies: Mapping[str, Policy],
    limit: int = 1_000_000,
    watch: Watch | None = None,
    sample: bool | Collection[str] = False,
) -> Evaluation:
    """Play every copy from where it stands to the end of its episode with frozen policies, at their mode.

    With `sample` they draw from their distributions (`marl.sample`), all of them or those of the parts that it names. Policies
    with memory remember nothing at first. Raises UserError where the plan has no part, or several, for an agent, and where an episode
    has not ended after `limit` ticks.
    """
    _check_covered(copies, plan)
    episodes = copies.n_envs
    each = copies.n_agents * (1 + len(copies.metric_names) + len(copies.cost_names)) * 8 + copies.action[0].nbytes
    room.check(episodes * each, f"what {episodes:,} episodes of {copies.name} came to", "lower evaluation.episodes")
    running = np.ones(episodes, np.bool_)
    total, lengths = np.zeros((episodes, copies.n_agents)), np.zeros(episodes, np.int64)
    metrics, costs = np.zeros(copies.metrics.shape), np.zeros(copies.cost.shape)
    action = np.zeros(copies.action.shape)
    recalls = {name: Recall(policies[name], part.n * copies.n_envs) for name, part in plan.items()}
    with _frozen(policies), torch.no_grad():
        for tick in range(limit):
            notice.count("tick", tick)
            for name, part in plan.items():
                own = sample if isinstance(sample, bool) else name in sample
                action[:, part.lo : part.hi, : part.group.action_width] = choose(policies[name], part, copies, recalls[name], own)
            if watch is not None:
                watch.before(copies)
            copies.step(action)
            if watch is not None:
                watch.after(copies)
            _forget(recalls, plan, copies.status != 0)
            total[running] += copies.reward[running]
            costs[running] += copies.cost[running]
            lengths[running] += 1
            ended = running & (copies.status != 0)
            metrics[ended] = copies.metrics[ended]
            running &= ~ended
            if not running.any():
                break
        else:
            raise UserError(f"evaluation of {copies.name}: {int(running.sum())} of {episodes} episodes go on after {limit} ticks")
    roles = {name: slice(v.group.lo, v.group.hi) for name, v in copies.groups.items()}
    learners = np.zeros(copies.n_agents, np.bool_)
    for part in plan.values():
        learners[part.lo : part.hi] = part.learns
    return Evaluation(total, lengths, metrics, costs, copies.metric_names, copies.cost_names, roles, learners)


def _check_covered(copies: Copies, plan: Mapping[str, Part]) -> None:
    """Every agent is played by one part: an action that nobody writes would be 0."""
    seated = np.concatenate([np.arange(part.lo, part.hi) for part in plan.values()]) if plan else np.zeros(0, np.int64)
    if not np.array_equal(np.sort(seated), np.arange(copies.n_agents)):
        said = ", ".join(f"{name} {part.lo} to {part.hi - 1}" for name, part in plan.items()) or "none"
        raise UserError(
            f"plan of {copies.name}: parts of agents {said}; expected is one part for each of agents 0 to {copies.n_agents - 1}"
        )


def _forget(recalls: Mapping[str, Recall], plan: Mapping[str, Part], over: Array) -> None:
    for name, recall in recalls.items():
        if recall.width:
            recall.forget(np.repeat(over, plan[name].n))


def choose(policy: Policy, part: Part, copies: Copies, recall: Recall | None = None, sample: bool = False) -> Array:
    """A policy's action [B, n, U] for its part of the copies, in the action table's units: its mode, or drawn with `sample`.

    What it remembers moves on in `recall`; without, it remembers nothing.
    """
    rows = np.ascontiguousarray(part.rows(copies.obs, copies.action_mask)).reshape(-1, part.width)
    device = next(policy.parameters(), torch.empty(0)).device
    recall = recall or Recall(policy, len(rows))
    here = torch.from_numpy(rows).to(device)
    out = recall.ask(policy, here)
    recall.keep(out)
    act = drawn(policy, part, copies.address, here, out) if sample else out.act
    return np.asarray(policy.map_action(act)).reshape(copies.n_envs, part.n, -1)


class _frozen:
    """Policies out of training: no exploration, no dropout, scripted draws that are the same every time; all as before afterwards."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._contexts = [
            context
            for policy in policies.values()
            for context in (policy_within_training_step(policy, enabled=False), torch_train_mode(policy, enabled=False))
        ]
        self._contexts += [policy.fixed_draws() for policy in policies.values() if isinstance(policy, ScriptedPolicy)]

    def __enter__(self) -> None:
        for context in self._contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self._contexts):
            context.__exit__(*error)


def evaluate(
    make: Callable[[int], Copies],
    plan: Mapping[str, Part],
    policies: Mapping[str, Policy],
    episodes: int,
    seed: int,
    sample: bool | Collection[str] = False,
) -> Evaluation:
    """`episodes` episodes, one a copy of `make(episodes)`, from the evaluation keys of `seed`; `sample` as in `play`."""
    copies = make(episodes)
    copies.reset(seed_of(seed))
    try:
        return play(copies, plan, policies, sample=sample)
    finally:
        copies.close()
