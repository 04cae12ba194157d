"""Gymnasium environments of several agents, whose spaces, observations and rewards are tuples, as PettingZoo ParallelEnvs.

marl train env=pettingzoo env.factory=marl.tuples:parallel_env env.kwargs.name=lbforaging:Foraging-8x8-2p-2f-coop-v3 env.kwargs.horizon=50

`module:Name-v0` imports the module that registers the name first. Level-based foraging and RWARE are made so. lbforaging's
reset keeps agents off the cells where they stood at the end of the last episode, so that a seed alone does not give the episode:
with `env.kwargs.fresh=true` it does, and a resumed run is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
from gymnasium import spaces
from pettingzoo import ParallelEnv

from marl.errors import UserError


class TupleEnv(ParallelEnv[str, Any, Any]):
    """Agents `agent_0` to `agent_{n-1}` of the environment that `make()` gives, in the order of its tuples; they all end together.

    With `horizon`, an episode that ends in the tick of that number is cut there and not over: such environments tell a time limit
    as the end of the game. (One that is over in this very tick, too, counts as cut.) With `fresh`, every reset makes a new one.
    """

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]], name: str, horizon: int | None = None, fresh: bool = False) -> None:
        env = make()
        seen, acts = env.observation_space, env.action_space
        if not (isinstance(seen, spaces.Tuple) and isinstance(acts, spaces.Tuple) and len(seen) == len(acts)):
            raise UserError(f"{name} has spaces {seen} and {acts}: two tuples with an entry for each agent are expected")
        self.metadata = {"name": name}
        self.env, self.horizon, self._seen, self._acts = env, horizon, seen, acts
        self._make, self._fresh, self._used = make, fresh, False
        self.possible_agents = [f"agent_{i}" for i in range(len(acts))]
        self.agents: list[str] = []
        self._t = 0

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """The agent's entry of the tuple."""
        return self._seen[self.possible_agents.index(agent)]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """The agent's entry of the tuple."""
        return self._acts[self.possible_agents.index(agent)]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Observations and infos by agent."""
        if self._fresh and self._used:
            self.env.close()
            self.env = self._make()
        self._used = True
        observations, _ = self.env.reset(seed=seed, options=options)
        self.agents, self._t = self.possible_agents[:], 0
        return self._by_agent(observations), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """Observations, rewards, terminations, truncations and infos by agent."""
        agents = self.possible_agents
        observations, rewards, over, cut, _ = self.env.step(tuple(actions[agent] for agent in agents))
        self._t += 1
        if over and self._t == self.horizon:
            over, cut = False, True
        if over or cut:
            self.agents = []
        paid: Any = rewards
        return (
            self._by_agent(observations),
            {agent: float(reward) for agent, reward in zip(agents, paid, strict=True)},
            dict.fromkeys(agents, bool(over)),
            dict.fromkeys(agents, bool(cut)),
            {agent: {} for agent in agents},
        )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _by_agent(self, values: Any) -> dict[str, Any]:
        return dict(zip(self.possible_agents, values, strict=True))


def parallel_env(name: str, horizon: int | None = None, fresh: bool = False, **options: Any) -> TupleEnv:
    """The environment that `gymnasium.make(name, **options)` gives, for `env.factory`. Raises UserError where it is of another kind."""
    if horizon is not None and not (isinstance(horizon, int) and horizon >= 1):
        raise UserError(f"horizon = {horizon!r} ticks: legal are whole numbers from 1")
    return TupleEnv(partial(gymnasium.make, name, disable_env_checker=True, **options), name, horizon, fresh)
