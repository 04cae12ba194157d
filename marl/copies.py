"""What every batch of copies shows, whoever steps it: compiled games (`marl.vector`) and foreign environments (`marl.external`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marl import room
from marl.errors import UserError
from marl.game import B1, F4, F8, ActionTable, Column, Component, Discrete, Role, Table, bounds
from marl.rng import Address

SHOWN = (
    "obs", "final_obs", "reward", "components", "cost", "status", "alive", "action_mask", "final_mask", "metrics",
    "residual", "state", "final_state",
)  # fmt: skip
"""Arrays of the last step that a fork and a checkpoint keep beside the world."""


@dataclass(frozen=True)
class Group:
    """A run of agents lo .. hi - 1 with the same columns. `cut` gives true-width views of the padded arrays."""

    name: str
    lo: int
    hi: int
    observation: Table
    action: ActionTable

    @property
    def n(self) -> int:
        """Agents in the group."""
        return self.hi - self.lo

    @property
    def width(self) -> int:
        """O, observation columns."""
        return len(self.observation)

    @property
    def action_width(self) -> int:
        """U, action columns."""
        return len(self.action)

    @property
    def mask_width(self) -> int:
        """M, columns of the action mask."""
        return sum(c.k for c in self.action.values() if isinstance(c, Discrete))

    def cut(self, padded: F4) -> F4:
        """The group's observations [B, n, O] in obs [B, A, widest O]: a view."""
        return padded[:, self.lo : self.hi, : self.width]

    def cut_action(self, padded: Any) -> Any:
        """The group's actions [B, n, U] in action [B, A, widest U]: a view."""
        return padded[:, self.lo : self.hi, : self.action_width]

    def cut_mask(self, padded: B1) -> B1:
        """The group's mask [B, n, M] in action_mask [B, A, widest M]: a view."""
        return padded[:, self.lo : self.hi, : self.mask_width]


class GroupView:
    """Arrays of one group of one batch of copies, at true width."""

    def __init__(self, group: Group, copies: Copies) -> None:
        self.group, self._copies = group, copies

    @property
    def obs(self) -> F4:
        return self.group.cut(self._copies.obs)

    @property
    def final_obs(self) -> F4:
        return self.group.cut(self._copies.final_obs)

    @property
    def reward(self) -> F4:
        return self._copies.reward[:, self.group.lo : self.group.hi]

    @property
    def alive(self) -> B1:
        return self._copies.alive[:, self.group.lo : self.group.hi]

    @property
    def action_mask(self) -> B1:
        return self.group.cut_mask(self._copies.action_mask)


class Copies(ABC):
    """B copies of a game stepped together. Every step overwrites the arrays; whoever keeps a row copies it.

    obs [B, A, O] f32, zero beyond a role's width: what agents see now, after an auto-reset where an episode ended.
    final_obs [B, A, O]: what the last step led to, before the auto-reset; final_state and final_mask likewise.
    reward [B, A] f32 = components [B, A, R] f64 weighted; cost [B, A, C] f64.
    status [B] i8: RUNNING, TERMINATED or TRUNCATED. alive [B, A]: who acts in the next step.
    own_ends: (terminated [B, A], truncated [B, A]) of agents whose last step the latest one was, never both; None where all agents
    of a copy end as `status` says and who leaves before is terminated.
    action_mask [B, A, M]: legal choices of the Discrete columns. state [B, S] f32: the global state.
    metrics [B, A, K] f64: of the episode that ended last. residual [B, Q] f64: the audit, each 0.
    """

    name: str
    n_envs: int
    metric_names: tuple[str, ...]
    roles: tuple[Role, ...]
    own_ends: tuple[B1, B1] | None = None
    masked: bool = False
    """Whether the game masks choices: `action_mask` is then worth showing to a policy."""
    _begun = False

    def _allocate(
        self,
        roles: Sequence[Role],
        n_envs: int,
        *,
        components: Mapping[str, Component],
        cost: Sequence[str] = (),
        metrics: Sequence[str] = (),
        residuals: int = 0,
        state_columns: int = 0,
    ) -> None:
        if not isinstance(n_envs, int | np.integer) or n_envs < 1:
            raise UserError(f"n_envs = {n_envs!r}: legal are whole numbers from 1")
        self.roles, self.n_envs = tuple(roles), int(n_envs)
        self.component_names, self.cost_names, self.metric_names = tuple(components), tuple(cost), tuple(metrics)
        self.groups: dict[str, GroupView] = {}
        self.agents: tuple[str, ...] = ()
        low = 0
        for role in self.roles:
            self.groups[role.name] = GroupView(Group(role.name, low, low + role.count, role.observation, role.action), self)
            self.agents += tuple(f"{role.name}_{i}" for i in range(role.count))
            low += role.count
        if low < 1:
            raise UserError(f"{self.name} has no agents: at least one is needed")
        self.n_agents = low
        b, groups = n_envs, [view.group for view in self.groups.values()]
        width, acts, masks = (max(getattr(g, a) for g in groups) for a in ("width", "action_width", "mask_width"))
        each = 8 * acts + 8 * width + 8 * (len(components) + len(self.cost_names) + len(self.metric_names)) + 2 * masks + 5
        self._check_room(b * (low * each + 8 * (state_columns + residuals)))
        self.action: F8 = np.zeros((b, low, acts))
        self.obs: F4 = np.zeros((b, low, width), np.float32)
        self.final_obs = self.obs.copy()
        self.reward: F4 = np.zeros((b, low), np.float32)
        self.components: F8 = np.zeros((b, low, len(components)))
        self.cost: F8 = np.zeros((b, low, len(self.cost_names)))
        self.status = np.zeros(b, np.int8)
        self.alive: B1 = np.ones((b, low), np.bool_)
        self.action_mask: B1 = np.ones((b, low, masks), np.bool_)
        self.final_mask = self.action_mask.copy()
        self.metrics: F8 = np.zeros((b, low, len(self.metric_names)))
        self.residual: F8 = np.zeros((b, residuals))
        self._share_state(groups, state_columns)

    def _check_room(self, needed: int) -> None:
        """Raise UserError where arrays of all copies do not fit what memory is left."""
        fit = "lower n_envs, or evaluation.episodes where these are an evaluation's (each has a copy of its own)"
        room.check(needed, f"{self.name} in {self.n_envs:,} copies of {self.n_agents} agents", fit)

    def _share_state(self, groups: Sequence[Group], columns: int) -> None:
        """The global state: its own array, else all observations in a row (a view where all agents have one width)."""
        self._state_parts: list[Group] = []
        if columns == 0 and len({g.width for g in groups}) == 1:
            self.state: F4 = self.obs.reshape(self.n_envs, -1)
            self.final_state: F4 = self.final_obs.reshape(self.n_envs, -1)
            return
        if columns == 0:
            self._state_parts, columns = list(groups), sum(g.n * g.width for g in groups)
        self.state = np.zeros((self.n_envs, columns), np.float32)
        self.final_state = self.state.copy()

    def _chosen(self, copies: Sequence[int] | npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """Numbers of copies [N], of all where none are named. Raises UserError for a number that is no copy's."""
        if copies is None:
            return np.arange(self.n_envs)
        given = np.asarray(copies)
        wrong = (
            given.ravel()
            if given.ndim != 1 or (given.size and given.dtype.kind not in "iu")
            else given[(given < 0) | (given >= self.n_envs)]
        )
        if wrong.size:
            raise UserError(f"copy {wrong[0]!s} of {self.name}: legal is a list of whole numbers in [0, {self.n_envs - 1}]")
        return given.astype(np.int64)

    def _gather_state(self) -> None:
        low = 0
        for group in self._state_parts:
            high = low + group.n * group.width
            self.state[:, low:high] = group.cut(self.obs).reshape(self.n_envs, -1)
            self.final_state[:, low:high] = group.cut(self.final_obs).reshape(self.n_envs, -1)
            low = high

    def _check(self, action: Any) -> None:
        """Refuse a step before reset, and an action that is not [B, A, U] numbers. Cheap where nothing is wrong."""
        if not self._begun:
            raise UserError(f"step of {self.name} before reset: call reset(seed) first")
        try:
            given = np.asarray(action)
        except ValueError as error:
            raise UserError(
                f"action of {self.name}: an array of shape {self.action.shape} is expected, its rows differ in length"
            ) from error
        if given.shape != self.action.shape or given.dtype.kind not in "fiub" or np.isnan(given).any():
            self._refuse(given)

    def _refuse(self, action: npt.NDArray[Any]) -> None:
        """Raise what is wrong with an action that is not a [B, A, U] array of numbers."""
        if action.shape != self.action.shape:
            raise UserError(f"action of {self.name} has shape {action.shape}: expected [n_envs, agents, columns] = {self.action.shape}")
        if action.dtype.kind not in "fiub":
            raise UserError(f"action of {self.name} has dtype {action.dtype}: numbers are expected")
        bad = np.argwhere(np.isnan(action))
        if len(bad):
            copy, agent, column = (int(i) for i in bad[0])
            group = next(v.group for v in self.groups.values() if v.group.lo <= agent < v.group.hi)
            label = list(group.action)[column] if column < group.action_width else f"padding {column}"
            raise UserError(f"action of {self.agents[agent]} in copy {copy}, column {label!r}, is NaN: a number is expected")

    def _load(self, arrays: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
        """Write the saved arrays over those of the same name; a missing one or another shape is refused."""
        for name, values in arrays.items():
            if name not in saved or saved[name].shape != values.shape:
                found = "nothing" if name not in saved else f"shape {saved[name].shape}"
                raise UserError(f"saved state of {self.name}, array {name!r}: {found}, expected shape {values.shape}")
            values[:] = saved[name]

    @abstractmethod
    def reset(self, seed: int, first: int = 0) -> F4:
        """Start episode 0 of copies first .. first + B - 1 of a run with this seed; returns obs."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """Key, episode and tick [B] of the copies, from which whoever plays them may draw (`marl.rng.uniforms`)."""

    @abstractmethod
    def step(self, action: Any) -> None:
        """One tick of all copies, action [B, A, U] in the units of the action table; clipped into it, NaN refused."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as arrays."""

    @abstractmethod
    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""

    def close(self) -> None:
        """Release what the copies hold."""


def checked(seed: int) -> int:
    """The seed of a reset. Raises UserError for one below 0, as Gymnasium and PettingZoo do; `marl.rng` refuses what is no number."""
    if isinstance(seed, int | np.integer) and seed < 0:
        raise UserError(f"seed = {seed}: legal are whole numbers from 0")
    return seed


def action_bounds(groups: Sequence[Group], columns: int) -> tuple[F8, F8, B1]:
    """(low, high, whole), each [A, widest U]; padding columns are legal at 0 alone."""
    agents = sum(g.n for g in groups)
    low, high, whole = np.zeros((agents, columns)), np.zeros((agents, columns)), np.zeros((agents, columns), np.bool_)
    for g in groups:
        low[g.lo : g.hi, : g.action_width], high[g.lo : g.hi, : g.action_width] = bounds(g.action)
        whole[g.lo : g.hi, : g.action_width] = [not isinstance(c, Column) for c in g.action.values()]
    return low, high, whole
