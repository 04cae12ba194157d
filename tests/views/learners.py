"""Learners that know nothing of us train on the first-price auction's view, as it is: each in an environment that has its library.

python -m tests.views.learners stable_baselines 2000
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import envs

warnings.simplefilter("ignore")  # the libraries warn of their own futures


def make() -> Any:
    """The view that all of them train on: two bidders with one continuous column each."""
    return envs.parallel_env("auction", preset="first_price_two")


def stable_baselines(steps: int) -> dict[str, Any]:
    """PPO of Stable-Baselines3 through SuperSuit, every agent a lane."""
    import supersuit
    from stable_baselines3 import PPO

    lanes = supersuit.concat_vec_envs_v1(supersuit.pettingzoo_env_to_vec_env_v1(make()), 2, num_cpus=1, base_class="stable_baselines3")
    model = PPO("MlpPolicy", lanes, n_steps=64, batch_size=64)
    model.learn(steps)
    return {"steps": model.num_timesteps, "loss": float(model.logger.name_to_value["train/value_loss"])}


def lanes(steps: int) -> dict[str, Any]:
    """PPO of Stable-Baselines3 on our own lanes: one bidder of 16 copies, the other at the equilibrium of half its value."""
    from stable_baselines3 import PPO

    from marl.stable import stable_baselines as served

    model = PPO("MlpPolicy", served(envs.vector_env("auction", 16, preset="first_price_two")), n_steps=32, batch_size=128, seed=3)
    model.learn(steps)
    return {"steps": model.num_timesteps, "loss": float(model.logger.name_to_value["train/value_loss"])}


def rllib(steps: int) -> dict[str, Any]:
    """PPO of RLlib's new stack, both bidders one policy."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
    from ray.tune.registry import register_env

    register_env("auction", lambda _: ParallelPettingZooEnv(make()))
    config = (
        PPOConfig()
        .environment("auction")
        .env_runners(num_env_runners=0)
        .multi_agent(policies={"bidder"}, policy_mapping_fn=lambda agent, *_, **__: "bidder")
        .training(train_batch_size_per_learner=steps // 2, minibatch_size=128, num_epochs=1)
    )
    learner = config.build_algo()
    for _ in range(2):
        found = learner.train()
    loss = found["learners"]["bidder"]["total_loss"]
    done = found["env_runners"]["num_env_steps_sampled_lifetime"]
    learner.stop()
    return {"steps": int(done), "loss": float(loss)}


def agilerl(steps: int) -> dict[str, Any]:
    """MATD3 of AgileRL on its own vector environment, whose Boxes of one column come as plain numbers."""
    from agilerl.algorithms import MATD3
    from agilerl.components.replay_buffer import ReplayBuffer
    from agilerl.training.train_multi_agent_off_policy import train_multi_agent_off_policy
    from agilerl.vector.pz_async_vec_env import AsyncPettingZooVecEnv

    view, lanes = make(), AsyncPettingZooVecEnv([make] * 2)
    agents = view.possible_agents
    spaces = [view.observation_space(a) for a in agents], [view.action_space(a) for a in agents]
    population = [MATD3(*spaces, agent_ids=agents, vect_noise_dim=2, batch_size=32, learn_step=50)]
    trained, fitness = train_multi_agent_off_policy(
        lanes, "auction", "MATD3", population, ReplayBuffer(10_000), max_steps=steps, evo_steps=steps // 2, eval_steps=20, verbose=False
    )
    lanes.close()
    return {"steps": _count(trained[0].steps), "loss": float(_last(fitness))}


def _count(steps: Any) -> int:
    return int(steps[-1] if isinstance(steps, list) else steps)


def _last(values: Any) -> Any:
    """The last number of lists in lists."""
    return _last(values[-1]) if isinstance(values, list | tuple) else values


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](int(sys.argv[2]))))
