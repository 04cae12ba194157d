"""Environments with tuples of agents as ParallelEnvs: PettingZoo's own tests, the time limit, and what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo.test import parallel_api_test

from marl.errors import UserError
from marl.external import from_factory
from marl.game import RUNNING, TERMINATED, TRUNCATED
from marl.tuples import TupleEnv, parallel_env

FORAGING = "lbforaging:Foraging-5x5-2p-1f-coop-v3"
WAREHOUSE = "rware:rware-tiny-2ag-v2"


class Counting(gymnasium.Env):
    """Two agents; the first is paid its action, the second the tick; over after `length` ticks."""

    def __init__(self, length: int = 3, observed: Any = None) -> None:
        self.length, self.seed = length, -1
        self.action_space = spaces.Tuple([spaces.Discrete(4), spaces.Discrete(2)])
        self.observation_space = observed or spaces.Tuple([spaces.Box(0.0, 9.0, (1,)), spaces.Box(0.0, 9.0, (2,))])

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t, self.seed = 0, seed
        return self._seen(), {}

    def _seen(self) -> Any:
        return np.float32([self.t]), np.float32([self.t, 9.0])

    def step(self, action: Any) -> Any:
        self.t += 1
        return self._seen(), [action[0], self.t], self.t >= self.length, False, {}


def test_agents_are_entries_of_the_tuples() -> None:
    env = TupleEnv(Counting, "counting")
    seen, _ = env.reset(seed=7)
    assert env.env.seed == 7
    assert (env.agents, seen["agent_1"].tolist()) == (["agent_0", "agent_1"], [0.0, 9.0])
    seen, rewards, over, cut, _ = env.step({"agent_1": 1, "agent_0": 3})
    assert (rewards, seen["agent_0"].tolist()) == ({"agent_0": 3.0, "agent_1": 1.0}, [1.0])
    assert not any([*over.values(), *cut.values()])
    assert env.action_space("agent_0").n == 4 and env.observation_space("agent_1").shape == (2,)


@pytest.mark.parametrize(("horizon", "ends"), [(None, (True, False)), (3, (False, True)), (5, (True, False))])
def test_a_time_limit_cuts(horizon: int | None, ends: tuple[bool, bool]) -> None:
    env = TupleEnv(Counting, "counting", horizon)
    env.reset()
    for _ in range(3):
        assert env.agents
        _, _, over, cut, _ = env.step({"agent_0": 0, "agent_1": 0})
    assert (over["agent_1"], cut["agent_0"]) == ends
    assert env.agents == []


@pytest.mark.parametrize("name", [FORAGING, WAREHOUSE])
def test_it_passes_pettingzoos_test(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parallel_api_test(parallel_env(name), num_cycles=20)
    assert "Passed" in capsys.readouterr().out


def test_copies_of_an_original_repeat_their_episodes() -> None:
    copies = from_factory("marl.tuples:parallel_env", 3, name=FORAGING, horizon=50, fresh=True)
    generator, status = np.random.default_rng(0), set()
    copies.reset(5)
    saved = copies.state_dict()
    first = []
    for _ in range(120):
        copies.step(generator.integers(0, 6, copies.action.shape))
        status |= set(copies.status.tolist())
        first.append(copies.obs.copy())
    assert status >= {RUNNING, TRUNCATED} and status <= {RUNNING, TERMINATED, TRUNCATED}
    copies.load_state_dict(saved)
    generator = np.random.default_rng(0)
    for expected in first:
        copies.step(generator.integers(0, 6, copies.action.shape))
        assert (copies.obs == expected).all()
    copies.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "lbforaging:Foraging-5x5-2p-1f-cop-v3"}, "Environment `Foraging-5x5-2p-1f-cop` doesn't exist"),
        ({"name": "CartPole-v1"}, "two tuples with an entry for each agent"),
        ({"name": FORAGING, "horizon": 0}, "horizon = 0 ticks"),
        ({"name": "nowhere:Env-v0"}, "nowhere"),
        ({}, "missing a required argument: 'name'"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        from_factory("marl.tuples:parallel_env", **given)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
