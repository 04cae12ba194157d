"""The compiled cluster against its plain-Python twin on the same draws, step for step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

import envs
from envs.resource_allocation.params import MECHANISMS, PLACEMENTS, ClusterParams
from tests.envs.addressed import draws_of
from tests.envs.cluster_oracle import Cluster

CONFIGURATIONS = 120
LAYOUTS: list[dict[str, str]] = [
    {"nodes": "1 4", "demand": "1", "work": "3", "value": "1"},
    {"nodes": "1 9 18", "demand": "1 4 / 3 1", "work": "4 2", "value": "1 1"},
    {"nodes": "2 4 8 / 1 16 4", "demand": "1 1 / 2 4 / 4 2", "work": "1 5 2.5", "value": "1 2.5 3"},
    {"nodes": "1 4 0 2 / 2 2 2 2", "demand": "1 0 0 / 0 1 1 / 2 0 1", "work": "2 3 6", "value": "0 2 1"},
]


def configuration(number: int) -> dict[str, Any]:
    """A random setting: mechanism, placement, layout, arrivals, deadlines, outages, seasons and sizes."""
    g = np.random.default_rng(number)
    chosen: dict[str, Any] = {
        "n_agents": int(g.integers(1, 6)), "horizon": int(g.integers(1, 25)), "mechanism": MECHANISMS[number % len(MECHANISMS)],
        "placement": str(g.choice(PLACEMENTS)), "load": float(g.choice([0.4, 0.9, 1.5])), "queue_limit": int(g.choice([1, 3, 20])),
        "memory": float(g.choice([1.0, 5.0])), "purse": float(g.choice([0.5, 3.0])), "income": float(g.choice([0.0, 0.2])),
        "carbon_price": float(g.choice([0.0, 0.5])), "carbon": 0.3, "burst_length": 4.0, "quiet_length": 8.0,
        "period": int(g.choice([2, 7])),
    }  # fmt: skip
    if number % 7 == 3:
        return chosen | LAYOUTS[0] | {"arrivals": "events", "load": 0.8, "work": "1"}
    layout = LAYOUTS[int(g.integers(len(LAYOUTS)))]
    chosen |= layout | {
        "slack": float(g.choice([0.0, 1.0, 2.5])),
        "late": 0.3,
        "outage": float(g.choice([0.0, 0.15])),
        "repair": float(g.choice([1.0, 4.0])),
    }
    if number % 7 == 5:
        return chosen | {
            "arrivals": "trace",
            "split": str(g.choice(["train", "test"])),
            "tokens": 80.0,
            "burst": float(g.choice([1.0, 2.7])),
            "skew": float(g.choice([0.0, 1.3])),
        }
    if g.random() < 0.5:
        chosen |= {"burst": 2.0, "common": bool(g.random() < 0.5)}
    return chosen | {
        "service": str(g.choice(["fixed", "geometric"])), "amplitude": float(g.choice([0.0, 1.0])), "affinity": float(g.choice([0.0, 0.6])),
    }  # fmt: skip


def actions_for(g: np.random.Generator, game: Any) -> Any:
    """Requests, bids and holds, often at their ends; weights of the arbiter. What is below a range is raised into it."""
    action = np.where(g.random(game.action.shape) < 0.4, g.choice([0.0, 0.5, 1.0], game.action.shape), g.random(game.action.shape))
    for view in game.groups.values():
        low = [column.low for column in view.group.action.values()]
        view.group.cut_action(action)[:] = np.maximum(view.group.cut_action(action), low)
    for view in game.groups.values():
        action[:, view.group.lo : view.group.hi, view.group.action_width :] = 0.0
    if g.random() < 0.5:
        action[:, : game.params.n_agents, : game.params.resources] = 1.0
    return action


@pytest.mark.parametrize("block", range(4))
def test_equals_the_twin(block: int) -> None:
    for number in range(block * CONFIGURATIONS // 4, (block + 1) * CONFIGURATIONS // 4):
        compare(number)


def compare(number: int) -> None:
    game = envs.make("cluster", 1, **configuration(number))
    g = np.random.default_rng(number + 10_000)
    game.reset(number)
    at = {name: i for i, name in enumerate(game.metric_names)}
    for episode in range(2):
        twin = Cluster(game.params, draws_of(int(game.world.key[0]), episode))  # type: ignore[arg-type]
        same(game, game.obs, twin.reset()[0], number)
        for _ in range(game.params.horizon):  # type: ignore[attr-defined]
            action = actions_for(g, game)
            game.step(action)
            seen, reward, over, _, _ = twin.step(dict(zip(twin.possible_agents, action[0])))
            same(game, game.final_obs, seen, number)
            np.testing.assert_allclose(game.components[0], twin.components, rtol=1e-12, atol=1e-12, err_msg=str((number, game.params)))
            np.testing.assert_allclose(game.reward[0], list(reward.values()), rtol=1e-6, atol=1e-6)
            assert bool(game.status[0]) == all(over.values())
            assert not game.residual.any(), (number, game.residual)
        n, ticks = twin.n, game.params.horizon  # type: ignore[attr-defined]
        np.testing.assert_allclose(game.metrics[0, :n, at["throughput"]] * ticks, twin.done, rtol=1e-9)
        np.testing.assert_allclose(game.metrics[0, :n, at["queue"]] * ticks, twin.queue_sum, rtol=1e-9)
        check_slowdowns(game.metrics[0, 0], at, twin.slowdowns)


def check_slowdowns(row: Any, at: dict[str, int], slowdowns: list[float]) -> None:
    """Percentiles of the histogram are within a bucket's width, 9 %, of the sorted slowdowns'."""
    for name, share in (("slowdown_p50", 0.5), ("slowdown_p95", 0.95), ("slowdown_p99", 0.99)):
        if not slowdowns:
            assert row[at[name]] == 0.0
            continue
        exact = sorted(slowdowns)[max(0, int(np.ceil(share * len(slowdowns) - 1e-9)) - 1)]
        assert exact / 2 ** (1 / 8) - 1e-9 <= row[at[name]] <= exact * 2 ** (1 / 8) + 1e-9


def same(game: Any, obs: Any, seen: dict[str, Any], number: int) -> None:
    for row, (agent, expected) in zip(obs[0], seen.items(), strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-5, atol=1e-6, err_msg=f"{number} {agent} {game.params}")
        assert not row[len(expected) :].any()


def test_the_future_does_not_reach_back() -> None:
    """Other draws from tick 3 on change nothing that is seen or paid before, and do change what comes after."""
    game = envs.make("cluster", 1, n_agents=3, horizon=12, load=1.5, outage=0.1)
    game.reset(5)
    mine, other = draws_of(int(game.world.key[0])), draws_of(99)
    twin = Cluster(game.params, lambda t, purpose, shape: (mine if t < 3 else other)(t, purpose, shape))  # type: ignore[arg-type]
    twin.reset()
    agree = []
    for _ in range(12):
        game.step(np.full(game.action.shape, 0.2))
        twin.step(dict.fromkeys(twin.possible_agents, np.full(4, 0.2)))
        agree.append(np.allclose(game.components[0], twin.components))
    assert all(agree[:3]) and not all(agree[3:])


def test_twin_is_a_pettingzoo_environment() -> None:
    parallel_api_test(Cluster(ClusterParams(n_agents=3, horizon=4, mechanism="arbiter")), num_cycles=20)
