"""One copy of a game as a PettingZoo ParallelEnv: the view for learners that know nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pettingzoo import ParallelEnv

from marl import spaces
from marl.copies import Group
from marl.errors import UserError
from marl.game import F4, TERMINATED, TRUNCATED, Discrete, Game
from marl.vector import VectorGame

RENDER_MODES = ("rgb_array", "ansi", "human")


class Seats:
    """The agents of one group that act: how their actions are read into the rows of action [A, U]."""

    def __init__(self, group: Group, agents: tuple[str, ...], action: npt.NDArray[Any], flatten: bool) -> None:
        self.group, self.form = group, spaces.form(group.action, flatten)
        self.names = list(agents[group.lo : group.hi])
        self.rows: list[int] = list(range(group.lo, group.hi))
        self.low, self.high = spaces.narrow(group.action)
        largest = np.finfo(np.float32).max
        self._low, self._high = np.maximum(self.low, -largest), np.minimum(self.high, largest)
        self._whole = self.form in ("discrete", "choices")
        self._choice = np.array([isinstance(c, Discrete) for c in group.action.values()])
        self._block: npt.NDArray[Any] = action[group.lo : group.hi, : group.action_width]
        self._target: npt.NDArray[Any] | None = self._block[:, 0] if self.form == "discrete" else self._block
        self._shape = self._target.shape

    def keep(self, alive: npt.NDArray[np.bool_]) -> None:
        """Leave only the agents for which alive [A] holds."""
        kept = [(n, r) for n, r in zip(self.names, self.rows) if alive[r]]
        self.names, self.rows = [n for n, _ in kept], [r for _, r in kept]
        self._target = None
        self._shape = (len(kept),) if self.form == "discrete" else (len(kept), self.group.action_width)

    def read(self, actions: Mapping[str, Any]) -> bool:
        """Write the agents' actions into their rows; False where one is missing or outside its space."""
        try:
            if self.form == "named":
                given = np.array([[_number(actions[n][c]) for c in self.group.action] for n in self.names]).reshape(self._shape)
            else:
                given = np.array([actions[n] for n in self.names])
        except (KeyError, TypeError, ValueError, IndexError):
            return False
        if given.shape != self._shape or given.dtype.kind not in "fiub":
            return bool(self.names == [])
        if not ((given >= self._low) & (given <= self._high)).all():
            return False
        if given.dtype.kind == "f" and self._whole and not (given == np.floor(given)).all():
            return False
        if self.form == "named" and not (given[:, self._choice] == np.floor(given[:, self._choice])).all():
            return False
        if self._target is not None:
            self._target[...] = given
        else:
            self._block[[r - self.group.lo for r in self.rows]] = given.reshape(-1, self.group.action_width)
        return True

    def fault(self, agent: str, given: Any) -> str | None:
        """What is wrong with one agent's action, None where nothing is."""
        names = list(self.group.action)
        if self.form == "named":
            if not isinstance(given, Mapping):
                return f"action of {agent} = {given!r}: a dict is expected, with the columns {', '.join(names)}"
            wrong = sorted(set(given) ^ set(names))
            if wrong:
                return f"action of {agent}, column {wrong[0]!r}: {'missing' if wrong[0] in names else 'unknown'}, legal are {', '.join(names)}"
            values = [(n, np.asarray(given[n])) for n in names]
        else:
            whole, shape = np.asarray(given, None), self._shape[1:]
            if whole.shape != shape or whole.dtype == object:
                return f"action of {agent} = {given!r} has shape {whole.shape}: expected {shape} for {', '.join(names)}"
            values = list(zip(names, whole.reshape(-1)))
        return next((text for u, (n, v) in enumerate(values) if (text := self._column_fault(agent, u, n, np.asarray(v)))), None)

    def _column_fault(self, agent: str, u: int, name: str, value: npt.NDArray[Any]) -> str | None:
        column, where = self.group.action[name], f"action of {agent}, column {name!r}"
        unit = f" {column.unit}" if not isinstance(column, Discrete) and column.unit else ""
        choice = isinstance(column, Discrete) and self.form != "box"
        legal = f"legal are whole numbers 0 to {column.high:g}" if choice else f"legal range is [{self.low[u]:g}, {self.high[u]:g}]"
        if value.size != 1 or value.dtype.kind not in "fiub":
            return f"{where} = {value.tolist()!r}: one number is expected, {legal}"
        number = value.reshape(-1)[0]
        if not self._low[u] <= number <= self._high[u] or (choice and number != np.floor(number)):
            return f"{where} = {float(number):g}{unit}: {legal}"
        return None


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


class ParallelGame(ParallelEnv):  # type: ignore[misc]
    """One copy of `game` as a PettingZoo ParallelEnv, agents named by role (`advertiser_0`).

    Observations are Boxes of the role's true width; actions see `marl.spaces.action_space`, and `flatten=True` makes
    them all Boxes (choices are then rounded). `params` are the game's parameters, `preset` and `weights`.
    infos[agent] holds "reward/<component>" and "cost/<column>" of the step, "metric/<name>" at the end of an episode, and,
    where the game masks choices, "action_mask" of the observation beside it in the form that the action space samples
    with. A masked choice that is taken all the same counts as the lowest legal one. The observation that an episode ends
    with is its true last one; `reset()` without a seed starts the next episode of the same run of seeds.
    """

    def __init__(self, game: Game, render_mode: str | None = None, flatten: bool = False, **params: Any) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UserError(f"render_mode = {render_mode!r}: legal are {', '.join(RENDER_MODES)} and None")
        self.game, self.render_mode, self.flatten = game, render_mode, flatten
        self.metadata = {"name": f"{game.name}_v{game.version}", "render_modes": list(RENDER_MODES), "render_fps": 4}
        self.copies = copies = VectorGame(game, 1, **params)
        self.params = copies.params
        self.possible_agents: list[str] = list(copies.agents)
        self.agents: list[str] = []
        self._groups = [view.group for view in copies.groups.values()]
        role_of = {agent: g for g in self._groups for agent in copies.agents[g.lo : g.hi]}
        self._role_of = role_of
        self.observation_spaces = {a: spaces.box(g.observation) for a, g in role_of.items()}
        self.action_spaces = {a: spaces.action_space(g.action, flatten) for a, g in role_of.items()}
        tables = [game.state_table] if game.state_table else [g.observation for g in self._groups for _ in range(g.n)]
        self.state_space = spaces.box(*tables)
        self._extra = [*(f"reward/{c}" for c in copies.component_names), *(f"cost/{c}" for c in copies.cost_names)]
        self._metric = [f"metric/{name}" for name in copies.metric_names]
        self._masked = game.mask is not None
        self._plain = len(self._groups) == 1 and not self._masked and game.living is None
        self._seeded = self._over = self._fresh = False
        self.tick = 0
        self._seats: list[Seats] = []

    def observation_space(self, agent: str) -> Any:
        """Box (O,) of the agent's role."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """The agent's action space."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, F4], dict[str, dict[str, Any]]]:
        """Start an episode: of a new run of seeds where `seed` is given, else the next one. Returns (observations, infos)."""
        if seed is not None or not self._seeded:
            self.copies.reset(secrets.randbits(31) if seed is None else int(seed))
            self._seeded = True
        elif not self._over:
            self.copies.next_episode()
        self._over, self.tick = False, 0
        self.agents = self.possible_agents[:]
        self._seats = [Seats(g, self.copies.agents, self.copies.action[0], self.flatten) for g in self._groups]
        self._everyone = True
        infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._add_masks(infos, self.copies.action_mask[0])
        return self._observations(self.copies.obs[0]), infos

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, F4], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """One tick with an action of every agent in `agents`; what is outside its space is refused by name.

        Returns (observations, rewards, terminations, truncations, infos) of the agents that acted.
        """
        copies, acted = self.copies, self.agents
        if len(actions) != len(acted) or not acted or not all(seats.read(actions) for seats in self._seats):
            raise UserError(self._fault(actions))
        copies.tick()
        self.tick += 1
        status = copies.status.item(0)
        observations = self._observations(copies.final_obs[0])
        if self._everyone:
            rewards = dict(zip(acted, copies.reward[0].tolist()))
            infos = dict(zip(acted, [dict(zip(self._extra, row)) for row in self._parts(slice(None))]))
        else:
            rows = [r for seats in self._seats for r in seats.rows]
            rewards = dict(zip(acted, copies.reward[0, rows].tolist()))
            infos = dict(zip(acted, [dict(zip(self._extra, row)) for row in self._parts(rows)]))
        terminated, truncated = dict.fromkeys(acted, status == TERMINATED), dict.fromkeys(acted, status == TRUNCATED)
        if self._masked:
            self._add_masks(infos, copies.final_mask[0])
        if status:
            self._end(infos)
        elif not self._plain and self.game.living is not None:
            self._leave(terminated)
        return observations, rewards, terminated, truncated, infos

    def _parts(self, rows: Any) -> list[list[float]]:
        parts = self.copies.components[0, rows].tolist()
        if self.copies.cost_names:
            return [part + cost for part, cost in zip(parts, self.copies.cost[0, rows].tolist())]
        return parts

    def _observations(self, padded: F4) -> dict[str, F4]:
        """Rows of padded [A, O] at true width, copied: whoever gets them may keep them."""
        if self._plain:
            return dict(zip(self.agents, padded.copy()))
        return {n: row for s in self._seats for n, row in zip(s.names, padded[s.rows, : s.group.width])}

    def _add_masks(self, infos: dict[str, dict[str, Any]], padded: npt.NDArray[np.bool_]) -> None:
        if not self._masked:
            return
        for seats in self._seats:
            group = seats.group
            for name, row in zip(seats.names, seats.rows):
                if group.mask_width:
                    infos[name]["action_mask"] = spaces.sampling_mask(group.action, padded[row, : group.mask_width], self.flatten)

    def _end(self, infos: dict[str, dict[str, Any]]) -> None:
        metrics = self.copies.metrics[0].tolist()
        for seats in self._seats:
            for name, row in zip(seats.names, seats.rows):
                infos[name].update(zip(self._metric, metrics[row]))
        self.agents, self._over = [], True

    def _leave(self, terminated: dict[str, bool]) -> None:
        """Agents that left get terminated with this step's reward, and are asked no more."""
        alive = self.copies.alive[0]
        if alive.all():
            return
        for seats in self._seats:
            terminated.update((n, True) for n, r in zip(seats.names, seats.rows) if not alive[r])
            seats.keep(alive)
        self.agents, self._everyone = [n for seats in self._seats for n in seats.names], False

    def _fault(self, actions: Mapping[str, Any]) -> str:
        """Why a step is refused."""
        if not self.agents:
            return f"step of {self.game.name} {'after the end of an episode' if self._seeded else 'before reset'}: call reset() first"
        for agent in actions:
            if agent not in self.agents:
                known = "left the episode" if agent in self._role_of else "no such agent"
                return f"action of {agent!r}: {known}, acting are {', '.join(self.agents)}"
        for seats in self._seats:
            for agent in seats.names:
                if agent not in actions:
                    return f"action of {agent} is missing: every agent in `agents` acts in every step"
                if (text := seats.fault(agent, actions[agent])) is not None:
                    return text
        return f"actions of {self.game.name}: numbers of one kind are expected"

    def state(self) -> F4:
        """The global state [S], of the episode's last tick where it is over."""
        return (self.copies.final_state if self._over else self.copies.state)[0].copy()

    def render(self) -> Any:
        """The present tick as a picture [H, W, 3] u8 ("rgb_array"), as text ("ansi") or printed ("human")."""
        return None

    def close(self) -> None:
        """Nothing is held open."""
