"""A learner that knows only PettingZoo: PPO of Stable-Baselines3 on a view, through SuperSuit. Runs in an environment of its own."""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import envs

warnings.simplefilter("ignore")  # both libraries warn of their own futures


def vectorised(copies: int, seed: int, preset: str) -> Any:
    """`copies` views side by side as Stable-Baselines3 wants them, every agent a lane of its own."""
    import supersuit

    view = envs.parallel_env("auction", preset=preset)
    lanes = supersuit.concat_vec_envs_v1(supersuit.pettingzoo_env_to_vec_env_v1(view), copies, num_cpus=1, base_class="stable_baselines3")
    lanes.venv.reset(seed=seed)
    return lanes


def play(model: Any, preset: str, steps: int = 100) -> dict[str, float]:
    """Mean bid, as a multiple of the value, and mean reward of the deterministic policy."""
    lanes = vectorised(1, 7, preset)
    obs, reward, bid = lanes.reset(), 0.0, 0.0
    for _ in range(steps):
        action, _ = model.predict(obs, deterministic=True)
        obs, rewards, _, _ = lanes.step(action)
        reward, bid = reward + float(rewards.mean()) / steps, bid + float(action.mean()) / steps
    return {"reward": reward, "bid": bid}


def main(preset: str, steps: int) -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import set_random_seed

    set_random_seed(0)
    model = PPO("MlpPolicy", vectorised(4, 0, preset), n_steps=64, batch_size=128, gamma=0.0, learning_rate=3e-3)
    before = play(model, preset)
    model.learn(steps)
    losses = {key: float(value) for key, value in model.logger.name_to_value.items() if key.startswith("train/") and "loss" in key}
    print(json.dumps({"before": before, "after": play(model, preset), "losses": losses}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
