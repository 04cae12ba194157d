"""Lanes for Stable-Baselines3, whose vector environments are older than Gymnasium's: `PPO("MlpPolicy", stable_baselines(lanes))`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from marl.errors import UserError
from marl.lanes import LaneEnv


def stable_baselines(lanes: LaneEnv) -> Any:
    """The lanes as a `stable_baselines3.common.vec_env.VecEnv`. Raises UserError where that library is not installed.

    Infos have "terminal_observation", "TimeLimit.truncated" and the metrics of an episode at its end; `seed(s)` is that of the next
    reset. Actions that are a Dict are not served there: make such lanes with `flatten=True`.
    """
    try:
        base = importlib.import_module("stable_baselines3.common.vec_env").VecEnv
    except ModuleNotFoundError as error:
        raise UserError("stable_baselines3 is not installed: pip install stable-baselines3") from error
    served = type("Lanes", (_Served, base), {})(lanes)
    base.__init__(served, lanes.num_envs, lanes.single_observation_space, lanes.single_action_space)
    return served


class _Served:
    """What a VecEnv asks of its environments, of lanes."""

    num_envs: int
    _seeds: list[int | None]
    _reset_seeds: Callable[[], None]
    _get_indices: Callable[[Any], Any]

    def __init__(self, lanes: LaneEnv) -> None:
        self.lanes = lanes

    def reset(self) -> Any:
        """First observations [N, O]."""
        obs, _ = self.lanes.reset(seed=self._seeds[0])
        self._reset_seeds()
        return obs

    def step_async(self, actions: Any) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """(observations, rewards, ends, infos by lane)."""
        obs, rewards, terminated, truncated, told = self.lanes.step(self._actions)
        over = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for lane in over.nonzero()[0]:
            metrics = {key: value[lane] for key, value in told["final_info"].items() if not key.startswith("_")}
            infos[lane] = {"terminal_observation": told["final_obs"][lane], "TimeLimit.truncated": bool(truncated[lane]), **metrics}
        return obs, rewards.astype("float32"), over, infos

    def close(self) -> None:
        """Release the lanes."""
        self.lanes.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The lanes' attribute, once for each of them."""
        return [getattr(self.lanes, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of all lanes."""
        setattr(self.lanes, attr_name, value)

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **named: Any) -> list[Any]:
        """Call a method of the lanes once; its answer for each of them."""
        answer = getattr(self.lanes, method_name)(*arguments, **named)
        return [answer for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No lane is."""
        return [False for _ in self._get_indices(indices)]
