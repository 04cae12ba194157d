"""One copy of a game as a PettingZoo ParallelEnv: the view for learners that know nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from pettingzoo import ParallelEnv

from marl import masks, picture, spaces
from marl.errors import UserError
from marl.game import F4, TERMINATED, TRUNCATED, Game
from marl.picture import Card, Gauge
from marl.seats import Seats
from marl.vector import VectorGame

RENDER_MODES = ("rgb_array", "ansi", "human")


class ParallelGame(ParallelEnv):
    """One copy of `game` as a PettingZoo ParallelEnv, agents named by role (`advertiser_0`).

    Observations are Boxes of the role's true width; actions see `marl.spaces.action_space`, and `flatten=True` makes
    them all Boxes (choices are then rounded). `params` are the game's parameters, `preset` and `weights`.
    infos[agent] holds "reward/<component>" and "cost/<column>" of the step, "metric/<name>" at the end of an episode, and,
    where the game masks choices, those of the observation beside it: of a Discrete or MultiDiscrete action "action_mask", in the form
    that the space samples with; of a Dict or flattened one, for which others know no mask, "action_mask/<column>" of every choice
    (`sampling_mask` is the form that a Dict samples with), in infos that then have all their keys in every tick, 0 where there is
    nothing to tell: torchrl takes those of the first reset for all. A masked choice that is taken all the same counts as the lowest
    legal one. The observation that an episode ends with is its true last one; `reset()` without a seed starts the next episode of the
    same run of seeds. A step after the end answers five empty dicts. `np_random` is for whoever wraps the view: the game draws by address.
    """

    def __init__(self, game: Game, render_mode: str | None = None, flatten: bool = False, **params: Any) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UserError(f"render_mode = {render_mode!r}: legal are {', '.join(RENDER_MODES)} and None")
        self.render_mode, self.flatten = render_mode, flatten
        self.copies = copies = VectorGame(game, 1, **params)
        self.game = game = copies.game
        self.metadata = {"name": f"{game.name}_v{game.version}", "render_modes": list(RENDER_MODES), "render_fps": 4}
        self.metadata["is_parallelizable"] = True
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
        self._parts, self._cut = np.zeros((copies.n_agents, len(self._extra))), len(copies.component_names)
        self._metric = [f"metric/{name}" for name in copies.metric_names]
        self._blank = dict.fromkeys([*self._extra, *self._metric], 0.0)
        self._masked = game.mask is not None
        self._plain = len(self._groups) == 1 and not self._masked and game.living is None
        self._seeded = self._over = False
        self._np_random: np.random.Generator | None = None
        self.np_random_seed: int | None = None
        self.tick = 0
        self._fill_seats()

    def _fill_seats(self) -> None:
        self._seats = [Seats(g, self.copies.agents, self.copies.action[0], self.flatten) for g in self._groups]
        self._everyone = True

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle and a deep copy keep: the arguments, where the episode stands, and the copies' arrays."""
        shown = {name: getattr(self, name) for name in ("agents", "tick", "_seeded", "_over", "_np_random", "np_random_seed")}
        arguments = {"render_mode": self.render_mode, "flatten": self.flatten, "params": self.params, "weights": self.copies.weights}
        return {"game": self.game, "arguments": arguments, "shown": shown, "arrays": self.copies.state_dict() if self._seeded else None}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        ParallelGame.__init__(self, kept["game"], **kept["arguments"])
        self.__dict__.update(kept["shown"])
        if kept["arrays"] is not None:
            self.copies.load_state_dict(kept["arrays"])
        if self.agents and len(self.agents) < len(self.possible_agents):
            self._take_seats()

    def observation_space(self, agent: str) -> Any:
        """Box (O,) of the agent's role."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """The agent's action space."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, F4], dict[str, dict[str, Any]]]:
        """Start an episode: of a new run of seeds where `seed` is given, else the next one. Returns (observations, infos)."""
        if seed is not None or not self._seeded:
            self._seed(seed)
            self._seeded = True
        elif not self._over:
            self.copies.next_episode()
        self._over, self.tick = False, 0
        self.agents = self.possible_agents[:]
        if not self._everyone:
            self._fill_seats()
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
        if len(actions) != len(acted) or not acted:
            if self._over and not actions:
                return {}, {}, {}, {}, {}
            raise UserError(self._fault(actions))
        for seats in self._seats:
            if not seats.read(actions):
                raise UserError(self._fault(actions))
        copies.tick()
        self.tick += 1
        status = copies.status.item(0)
        observations = self._observations(copies.final_obs[0])
        if self._everyone:
            rewards = dict(zip(acted, copies.reward[0].tolist()))
            infos = self._named_parts(slice(None))
        else:
            rows = [r for seats in self._seats for r in seats.rows]
            rewards = dict(zip(acted, copies.reward[0, rows].tolist()))
            infos = self._named_parts(rows)
        terminated, truncated = dict.fromkeys(acted, status == TERMINATED), dict.fromkeys(acted, status == TRUNCATED)
        if self._masked:
            self._add_masks(infos, copies.final_mask[0])
        if status:
            self._end(infos)
        elif not self._plain and self.game.living is not None:
            self._leave(terminated)
        return observations, rewards, terminated, truncated, infos

    def _seed(self, seed: int | None) -> None:
        """Begin a run of seeds: the given one, or one that is drawn."""
        if seed is not None:
            self.copies.reset(seed)
        self._np_random, self.np_random_seed = seeding.np_random(None if seed is None else int(seed))
        if seed is None:
            self.copies.reset(int(self._np_random.integers(1 << 31)))

    @property
    def np_random(self) -> np.random.Generator:
        """A generator for wrappers, from the seed of the last reset that had one."""
        if self._np_random is None:
            self._np_random, self.np_random_seed = seeding.np_random()
        return self._np_random

    @np_random.setter
    def np_random(self, generator: np.random.Generator) -> None:
        self._np_random, self.np_random_seed = generator, None

    def _named_parts(self, rows: Any) -> dict[str, dict[str, Any]]:
        """Components and costs of the agents that act, who stand in `rows`, by name."""
        parts, cut = self._parts, self._cut
        parts[:, :cut] = self.copies.components[0]
        parts[:, cut:] = self.copies.cost[0]
        return dict(zip(self.agents, map(dict, map(zip, repeat(self._extra), parts[rows].tolist()))))

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
                    told = spaces.told_mask(group.action, padded[row, : group.mask_width], self.flatten)
                    infos[name] = infos[name] | told if masks.STANDARD in told else {**self._blank, **infos[name], **told}

    def sampling_mask(self, agent: str) -> Any:
        """What `action_space(agent).sample(mask)` takes for the present tick; None where nothing is masked or it takes none."""
        group = self._role_of[agent]
        if not self._masked or not group.mask_width or self.flatten:
            return None
        row = self.copies.action_mask[0, self.copies.agents.index(agent), : group.mask_width]
        return spaces.sampling_mask(group.action, row)

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
        terminated.update((n, True) for s in self._seats for n, r in zip(s.names, s.rows) if not alive[r])
        self._take_seats()

    def _take_seats(self) -> None:
        """Keep the seats of those alone who are alive."""
        for seats in self._seats:
            seats.keep(self.copies.alive[0])
        self.agents, self._everyone = [n for seats in self._seats for n in seats.names], False

    def _fault(self, actions: Mapping[str, Any]) -> str:
        """Why a step is refused."""
        if not self.agents:
            return f"step of {self.game.name} {'after the end of an episode' if self._seeded else 'before reset'}: call reset() first"
        if not isinstance(actions, Mapping):
            return f"actions of {self.game.name} = {actions!r}: a dict from agent to action is expected"
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
        """The global state [S], of the episode's last tick where it is over. Raises UserError before the first reset."""
        if not self._seeded:
            raise UserError(f"state of {self.game.name} before reset: call reset() first")
        return (self.copies.final_state if self._over else self.copies.state)[0].copy()

    def render(self) -> Any:
        """The present tick as a picture [H, W, 3] u8 ("rgb_array"), as text ("ansi"), printed ("human"), or None."""
        if self.render_mode is None:
            return None
        if not self._seeded:
            raise UserError(f"render of {self.game.name} before reset: call reset() first")
        ends = {TERMINATED: "   terminated", TRUNCATED: "   truncated"}
        end = ends[self.copies.status.item(0)] if self._over else ""
        episode = int(self.copies.world.episode[0]) - self._over
        title, subtitle = self.game.name, f"episode {episode}   tick {self.tick}{end}"
        if self.render_mode == "rgb_array":
            return picture.draw(title, subtitle, self._cards())
        text = picture.write(title, subtitle, self._cards())
        return text if self.render_mode == "ansi" else print(text)

    def _cards(self) -> list[Card]:
        copies = self.copies
        obs = (copies.final_obs if self._over else copies.obs)[0]
        acting = set(self.possible_agents if self._over and self._everyone else [n for s in self._seats for n in s.names])
        cards = []
        for row, (name, group) in enumerate(self._role_of.items()):
            seen = [Gauge(n, float(v), c) for (n, c), v in zip(group.observation.items(), obs[row])]
            did = copies.action[0, row] if self.tick else repeat(math.nan)
            done = [Gauge(n, float(v), c) for (n, c), v in zip(group.action.items(), did)]
            cards.append(Card(name, seen, done, copies.reward.item(0, row) if self.tick else 0.0, name in acting))
        return cards

    def close(self) -> None:
        """Nothing is held open."""
