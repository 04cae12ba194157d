"""A trained team as something that acts: on PettingZoo observations by agent name, or on arrays of many copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tianshou.algorithm.algorithm_base import Policy

from marl import rng, spaces
from marl.copies import Copies
from marl.errors import UserError
from marl.game import Discrete
from marl.recall import Recall
from marl.sample import drawn, reasons
from marl.team import Part


class Actor:
    """Policies at their mode, or drawn. `act` takes what the environment showed and gives what it takes.

    What is drawn is addressed by `seed`, copy, agent and how often `act` was asked for the agent: two actors of one run do the
    same when they are asked the same. `certain` says of which parts there is nothing to draw, and why (`marl.sample`).
    Policies with memory remember what `act` was shown, each agent of each copy for itself, until `reset`: call it when
    an episode begins. They count a call as a tick. Policies without memory need no `reset`.
    """

    def __init__(self, copies: Copies, plan: Mapping[str, Part], policies: Mapping[str, Policy], seed: int = 0) -> None:
        self.agents, self.plan, self.policies = copies.agents, dict(plan), dict(policies)
        self._shape = (copies.n_agents, copies.obs.shape[2])
        for policy in self.policies.values():
            policy.is_within_training_step = False
            policy.eval()
        self._recalls: dict[tuple[str, str], Recall] = {}  # by part, and by agent where each is asked for itself
        self._copies = 0
        self.certain, self._seed = reasons(self.policies), rng.derive(seed, "act")
        self._asked = np.zeros(copies.n_agents, np.int64)

    def reset(self, over: npt.NDArray[np.bool_] | None = None) -> None:
        """An episode begins: forget everything, or the copies marked in over [B], of those that `act` was last shown."""
        if over is None:
            self._recalls, self._copies = {}, 0
            return
        if np.shape(over) != (self._copies,):
            raise UserError(f"reset of copies {np.shape(over)}: act was last shown {self._copies}")
        for (name, agent), recall in self._recalls.items():
            if not agent:
                recall.forget(np.repeat(np.asarray(over, np.bool_), self.plan[name].n))

    def act(self, obs: Any, mask: Mapping[str, Any] | npt.NDArray[np.bool_] | None = None, sample: bool = False) -> Any:
        """Actions for observations: the policies' modes, or with `sample` drawn from their distributions.

        {agent: row [O]} gives {agent: action in its PettingZoo space}; an array [A, O] or [B, A, O] gives actions
        [A, U] or [B, A, U] in the units of the action table. `mask` likewise, where the game masks choices; all
        choices are legal without. Raises UserError for unknown agents, wrong shapes, what is not finite, and, where there
        is memory, another number of copies than before.
        """
        if isinstance(obs, Mapping):
            return {agent: self._one(agent, row, None if mask is None else mask[agent], sample) for agent, row in obs.items()}
        rows = np.asarray(obs, np.float32)
        if rows.ndim not in (2, 3) or rows.shape[-2:] != self._shape:
            raise UserError(
                f"observations have shape {rows.shape}: expected (..., agents, columns) = {self._shape}, with or without copies"
            )
        whole = rows.reshape(-1, *self._shape)
        legal = None if mask is None else np.asarray(mask, np.bool_).reshape(*whole.shape[:2], -1)
        self._check_copies(len(whole))
        width = max(part.group.action_width for part in self.plan.values())
        out = np.zeros((*whole.shape[:2], width))
        for name, part in self.plan.items():
            own = whole[:, part.lo : part.hi, : part.group.width]
            masks = None if legal is None else legal[:, part.lo : part.hi, : part.mask_width]
            out[:, part.lo : part.hi, : part.group.action_width] = self._rows(name, own, masks, part.lo, sample)
        return out.reshape(*rows.shape[:-1], width)

    def _check_copies(self, count: int) -> None:
        if self._copies and count != self._copies and any(recall.width for recall in self._recalls.values()):
            raise UserError(f"observations of {count} copies after {self._copies}: policies with memory need reset() in between")
        self._copies = count

    def _rows(
        self, name: str, obs: npt.NDArray[Any], mask: npt.NDArray[Any] | None, first: int, sample: bool, agent: str = ""
    ) -> npt.NDArray[Any]:
        """Actions [B, k, U] in units for observations [B, k, O] of a part's agents from number `first` on, or of `agent` alone."""
        part, policy = self.plan[name], self.policies[name]
        if not np.isfinite(obs).all():
            copy, k, column = (int(i) for i in np.argwhere(~np.isfinite(obs))[0])
            label, value = list(part.group.observation)[column], obs[copy, k, column]
            who = self.agents[first + k]
            raise UserError(f"observation of {who}, copy {copy}, column {label!r} = {value}: a finite number is expected")
        shape = obs.shape[:2]
        rows = part.joined(obs, np.ones((*shape, part.mask_width)) if mask is None else mask.reshape(*shape, part.mask_width), first)
        device = next(policy.parameters(), torch.empty(0)).device
        with torch.no_grad():
            flat = torch.from_numpy(rows.reshape(-1, part.width)).to(device)
            recall = self._recalls.get((name, agent)) or self._recalls.setdefault((name, agent), Recall(policy, len(flat)))
            out = recall.ask(policy, flat)
            recall.keep(out)
            act = drawn(policy, part, self._address(shape[0], first), flat, out, first) if sample else out.act
        self._asked[first : first + shape[1]] += 1
        return np.asarray(policy.map_action(act)).reshape(*shape, -1)

    def _address(self, copies: int, agent: int) -> rng.Address:
        """Where the draws of an agent stand in each of the copies."""
        none = np.zeros(copies, np.int64)
        return rng.keys(self._seed, 0, copies), none, none + self._asked[agent]

    def _one(self, agent: str, row: Any, mask: Any, sample: bool) -> Any:
        if agent not in self.agents:
            raise UserError(f"observation of unknown agent {agent!r}: agents are {', '.join(self.agents)}")
        i = self.agents.index(agent)
        name, part = next((n, p) for n, p in self.plan.items() if p.lo <= i < p.hi)
        try:
            given = np.asarray(row, np.float32).reshape(-1)
        except (TypeError, ValueError) as error:
            raise UserError(f"observation of {agent} = {row!r}: {part.group.width} numbers are expected") from error
        if len(given) != part.group.width:
            raise UserError(f"observation of {agent} has {len(given)} columns: expected {part.group.width}")
        action = self._rows(name, given[None, None], None if mask is None else np.asarray(mask)[None], i, sample, agent)[0, 0]
        form = spaces.form(part.group.action)
        if form == "named":
            kinds = part.group.action.items()
            return {n: int(x) if isinstance(c, Discrete) else np.array([x], np.float32) for (n, c), x in zip(kinds, action)}
        return action.astype(np.float32) if form == "box" else int(action[0]) if form == "discrete" else action.astype(np.int64)
