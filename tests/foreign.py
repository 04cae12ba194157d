"""Foreign environments: PettingZoo ParallelEnvs as others write them, with what may go wrong in them on demand."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Walk(ParallelEnv):
    """Two walkers on a line and a judge. A walker that reaches `length` leaves with reward 10; the judge scores where they stand.

    Walkers choose a step of -1, 0 or 1 by Discrete(3, start=-1), and may not step below 0 (a mask in infos); the judge's action
    is a Dict of a Box and a MultiDiscrete, its observation a dict with an action mask. Ends after `horizon` steps, truncated.
    """

    metadata = {"name": "walk_v0"}  # noqa: RUF012

    def __init__(self, horizon: int = 6, length: int = 3, fault: str = "", at: int = 3) -> None:
        self.possible_agents = ["walker_0", "judge_0", "walker_1"]
        self.agents: list[str] = []
        self.horizon, self.length, self.fault, self.at = horizon, length, fault, at
        self.calls: list[dict[str, Any]] = []
        self.verdicts, self.closed = [1, 1, 1, 1], False
        self._walker = spaces.Box(np.float32([[0.0, 0.0]]), np.float32([[length, 1.0]]))
        self._judge = spaces.Dict({"observation": spaces.MultiDiscrete([9, 9]), "action_mask": spaces.MultiBinary(4)})
        self._moves = spaces.Discrete(3, start=-1)
        self._verdict = spaces.Dict({"weight": spaces.Box(-1.0, 1.0, (1,)), "order": spaces.MultiDiscrete([2, 2])})

    def observation_space(self, agent: str) -> Any:
        return self._judge if agent == "judge_0" else self._walker

    def action_space(self, agent: str) -> Any:
        return self._verdict if agent == "judge_0" else self._moves

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.fault == "reset":
            raise RuntimeError("the line is closed")
        self.random = np.random.default_rng(None if self.fault == "chance" else seed)
        self.agents, self.t = self.possible_agents[:], 0
        self.place = {"walker_0": 0, "walker_1": 0}
        self.luck = np.float32(self.random.random())
        return self._look(), self._infos()

    def _look(self) -> dict[str, Any]:
        seen: dict[str, Any] = {a: np.float32([[self.place[a], self.luck]]) for a in self.agents if a != "judge_0"}
        if self.fault == "nan" and self.t == self.at:
            seen["walker_0"][0, 1] = np.nan
        order = np.array(list(self.place.values()))
        return seen | {"judge_0": {"observation": order, "action_mask": np.int8(self.verdicts)}}

    def _infos(self) -> dict[str, Any]:
        legal = {a: np.int8([self.place[a] > 0, 1, 1]) for a in self.agents if a != "judge_0"}
        return {a: {"action_mask": mask} for a, mask in legal.items()} | {"judge_0": {}}

    def step(self, actions: dict[str, Any]) -> Any:
        assert set(actions) == set(self.agents)
        assert all(self.action_space(a).contains(x) for a, x in actions.items())
        self.calls.append(actions)
        self.t += 1
        if self.fault == "raise" and self.t == self.at:
            raise RuntimeError("a walker fell\nand cried")
        for agent in self.agents:
            if agent != "judge_0":
                self.place[agent] += int(actions[agent])
                assert self.place[agent] >= 0
        self.luck = np.float32(self.random.random())
        home = {a: a != "judge_0" and self.place[a] >= self.length for a in self.agents}
        over = self.t >= self.horizon
        rewards = {a: 10.0 if done else 1.0 for a, done in home.items()}
        observations, infos = self._look(), self._infos()
        truncated = {a: over and not done for a, done in home.items()}
        if self.fault == "missing" and self.t == self.at:
            del observations["walker_0"]
        self.agents = [] if over else [a for a in self.agents if not home[a]]
        return observations, rewards, home, truncated, infos

    def close(self) -> None:
        self.closed = True


class Echo:
    """An asynchronous environment of one agent that sees the number of its step; a step may hang, or raise once."""

    def __init__(
        self, horizon: int = 4, hang_at: int = 0, fail_at: int = 0, dead_resets: int = 0, counter: list[int] | None = None
    ) -> None:
        self.possible_agents, self.agents = ["caller_0"], []
        self.horizon, self.hang_at, self.fail_at, self.dead_resets = horizon, hang_at, fail_at, dead_resets
        self.running = counter if counter is not None else [0, 0]

    def observation_space(self, agent: str) -> Any:
        return spaces.Box(0.0, 100.0, (1,))

    def action_space(self, agent: str) -> Any:
        return spaces.Box(-1.0, 1.0, (2,))

    async def reset(self, seed: int | None = None, options: Any = None) -> Any:
        await asyncio.sleep(0)
        if self.dead_resets:
            self.dead_resets -= 1
            raise ConnectionError("no line")
        self.agents, self.t = self.possible_agents[:], 0
        return {"caller_0": np.float32([0.0])}, {"caller_0": {}}

    async def step(self, actions: dict[str, Any]) -> Any:
        self.running[0] += 1
        self.running[1] = max(self.running)
        await asyncio.sleep(0.01)
        self.running[0] -= 1
        self.t += 1
        if self.t == self.hang_at:
            await asyncio.sleep(60)
        if self.t == self.fail_at:
            raise ConnectionError("line cut")
        over = self.t >= self.horizon
        self.agents = [] if over else self.agents
        reward = float(actions["caller_0"].sum())
        return {"caller_0": np.float32([self.t])}, {"caller_0": reward}, {"caller_0": over}, {"caller_0": False}, {"caller_0": {}}

    async def close(self) -> None:
        self.running[0] = -1


def walk(**arguments: Any) -> Walk:
    """A factory, as a command names it."""
    return Walk(**arguments)


NUMBER = 3


class Shifts(ParallelEnv):
    """Two workers, paid 1 a tick until each one's own end: `ends` of a_0 and b_0 are (ticks, whether terminated; else truncated).

    With `clock`, a worker sees the share of its shift that is over; without, a constant. The last end is that of the episode.
    """

    metadata = {"name": "shifts_v0"}  # noqa: RUF012

    def __init__(self, ends: tuple[tuple[int, bool], tuple[int, bool]], clock: tuple[bool, bool] = (True, True)) -> None:
        self.possible_agents = ["a_0", "b_0"]
        self.agents: list[str] = []
        self.ends, self.clock = dict(zip(self.possible_agents, ends)), dict(zip(self.possible_agents, clock))
        self._seen, self._done = spaces.Box(0.0, 1.0, (2,)), spaces.Discrete(2)

    def observation_space(self, agent: str) -> Any:
        return self._seen

    def action_space(self, agent: str) -> Any:
        return self._done

    def _look(self) -> dict[str, Any]:
        return {a: np.float32([self.t / self.ends[a][0] if self.clock[a] else 0.5, 1.0]) for a in self.agents}

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.agents, self.t = self.possible_agents[:], 0
        return self._look(), {a: {} for a in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        assert set(actions) == set(self.agents)
        self.t += 1
        seen, here = self._look(), self.agents
        over = {a: self.t == self.ends[a][0] for a in here}
        terminated = {a: over[a] and self.ends[a][1] for a in here}
        self.agents = [a for a in here if not over[a]]
        truncated = {a: over[a] and not terminated[a] for a in here}
        return seen, dict.fromkeys(here, 1.0), terminated, truncated, {a: {} for a in here}


class Lanes(ParallelEnv):
    """Two drivers for `horizon` ticks: the last of three lanes pays 1, the others nothing. What its subclasses change goes wrong."""

    metadata = {"name": "lanes_v0"}  # noqa: RUF012
    horizon = 4

    def __init__(self) -> None:
        self.possible_agents, self.agents = ["driver_0", "driver_1"], []
        self._seen = {a: self.sight(a) for a in self.possible_agents}
        self._acts = {a: self.deed(a) for a in self.possible_agents}

    def sight(self, agent: str) -> Any:
        return spaces.Box(0.0, 1.0, (3,))

    def deed(self, agent: str) -> Any:
        return spaces.Discrete(3)

    def observation_space(self, agent: str) -> Any:
        return self._seen[agent]

    def action_space(self, agent: str) -> Any:
        return self._acts[agent]

    def look(self, agent: str) -> Any:
        return np.float32([self.t / self.horizon, 0, 1])

    def told(self, agent: str) -> Any:
        return {}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.t = self.possible_agents[:], 0
        return {a: self.look(a) for a in self.agents}, {a: self.told(a) for a in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        self.t += 1
        here, over = self.agents, self.t >= self.horizon
        self.agents = [] if over else here
        paid, infos = {a: float(actions[a] == 2) for a in here}, {a: self.told(a) for a in here}
        return {a: self.look(a) for a in here}, paid, dict.fromkeys(here, False), dict.fromkeys(here, over), infos


class Closed(Lanes):
    """The last lane is closed: a mask beside the observation says so, under the key `mask`, beside what else it sees, `parts`."""

    mask, parts = "action_mask", ("observation",)

    def sight(self, agent: str) -> Any:
        return spaces.Dict({part: super(Closed, self).sight(agent) for part in self.parts} | {self.mask: spaces.MultiBinary(3)})

    def look(self, agent: str) -> Any:
        return {part: super(Closed, self).look(agent) for part in self.parts} | {self.mask: np.int8([1, 1, 0])}


class Available(Lanes):
    """The last lane is closed, as infos say in the words of Samvelyan et al. 2019 (SMAC)."""

    def told(self, agent: str) -> Any:
        return {"avail_actions": [1, 1, 0], "speed": 3.0}


class Endless(Lanes):
    """Nobody ever arrives."""

    def step(self, actions: dict[str, Any]) -> Any:
        seen, paid, over, cut, infos = super().step(actions)
        self.agents = self.possible_agents[:]
        return seen, paid, over, dict.fromkeys(cut, False), infos
