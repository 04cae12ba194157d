"""The compiled supply chain against its plain-Python twin on the same draws, step for step, on random networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

import envs
from envs.supply_chain.params import ACTIONS, DEMANDS, FORECASTS, RATIONINGS, TIMINGS, TOPOLOGIES, UNITS, UNMET, SupplyChainParams
from tests.envs.addressed import draws_of
from tests.envs.supply_oracle import SupplyChain

CONFIGURATIONS = 100


def configuration(number: int) -> dict[str, Any]:
    """A random setting: network, leads, lags, demand, forecasts, rationing, limits, prices and sizes."""
    g = np.random.default_rng(number)

    def some(*values: Any) -> Any:
        return values[int(g.integers(len(values)))]

    topology, nodes = TOPOLOGIES[number % len(TOPOLOGIES)], int(g.integers(4, 9))
    chosen: dict[str, Any] = {
        "topology": topology, "n_agents": nodes, "products": some(1, 2, 3), "horizon": int(g.integers(1, 20)), "network": number,
        "timing": TIMINGS[int(g.integers(2))], "action": some(*ACTIONS), "unmet": some(*UNMET), "rationing": some(*RATIONINGS),
        "demand": DEMANDS[number % len(DEMANDS)], "forecast": FORECASTS[(number // 3) % len(FORECASTS)], "fan": some(2, 3),
        "lead": some("1", "1-3", "2"), "lag": some("0", "1", "0-2"), "lead_noise": some(0, 0, 2), "parts": some(1, 1, 100),
        "continuing": some(True, False), "cooperation": some(0.0, 0.3, 1.0), "share_forecasts": some(True, False),
        "window": 5, "window_short": some(1, 3, 5), "expedite": some(True, False), "choose_sources": some(True, False),
        "pricing": some(True, False), "price": some("0", "2.5"), "raw_price": some(0.0, 1.5), "revenue": some(0.0, 4.0),
        "capacity": some(0.0, 1.1), "volume": some(0.0, 2.5), "disruption": some(0.0, 0.15), "outage": some(1.0, 3.0),
        "fixed": some(0.0, 2.0), "transit": some(0.0, 1.0), "correlation": some(0.0, 0.4), "amplitude": some(0.0, 0.5),
        "period": some(2, 5), "regime": some(1.0, 2.0), "regime_length": 4.0, "calm_length": 6.0, "uneven": some(0.0, 0.3),
        "initial": some("auto", "3", "0"), "in_transit": some("auto", "2"), "split": some("train", "test"), "tiers": 2 + number % 2,
        "sources": 3 - number % 2,
        "assemble": some(False, False, True) and topology in ("generated", "links", "divergent"),
    }  # fmt: skip
    if g.random() < 0.4:
        chosen |= {"supply_low": 0.4, "supply_high": 1.3}
    if g.random() < 0.3:
        chosen |= {"closure_at": 3, "closure": 4, "step_at": 4, "step_to": 1.7}
    if topology == "links":
        chosen["links"] = "0 2 / 0 3 / 1 2 / 2 3"
    if topology == "parallel":
        chosen["lead"] = some("0", "1")
    if g.random() < 0.3:
        chosen["columns_for"] = chosen["products"] + 1
    if g.random() < 0.3:
        chosen["sizes"] = " ".join(["3", "1", "2"][: chosen["products"]])
    chosen["unit"] = some(*UNITS)
    return chosen


def actions_for(g: np.random.Generator, game: Any) -> Any:
    """Orders, weights, shares and prices, often at their ends."""
    columns = next(iter(game.groups.values())).group.action.values()
    low, high = (np.array([getattr(c, end) for c in columns]) for end in ("low", "high"))
    share = np.where(g.random(game.action.shape) < 0.3, g.choice([0.0, 0.5, 1.0], game.action.shape), g.random(game.action.shape))
    return low + (high - low) * share


@pytest.mark.parametrize("block", range(4))
def test_equals_the_twin(block: int) -> None:
    for number in range(block * CONFIGURATIONS // 4, (block + 1) * CONFIGURATIONS // 4):
        compare(number)


def compare(number: int) -> None:
    game = envs.make("supply_chain", 1, **configuration(number))
    g = np.random.default_rng(number + 10_000)
    game.reset(number)
    for episode in range(2):
        twin = SupplyChain(game.params, draws_of(int(game.world.key[0]), episode))  # type: ignore[arg-type]
        same(game, game.obs, twin.reset()[0], number)
        for _ in range(game.params.horizon):  # type: ignore[attr-defined]
            action = actions_for(g, game)
            game.step(action)
            seen, reward, over, cut, _ = twin.step(dict(zip(twin.possible_agents, action[0])))
            assert not game.residual.any(), (number, game.residual, game.params)
            np.testing.assert_allclose(game.components[0], twin.components, rtol=1e-9, atol=1e-9, err_msg=str((number, game.params)))
            same(game, game.final_obs, seen, number)
            np.testing.assert_allclose(game.reward[0], list(reward.values()), rtol=1e-5, atol=1e-5)
            assert game.status[0] == (1 if all(over.values()) else 2 if all(cut.values()) else 0)
        check_metrics(game, twin)


def check_metrics(game: Any, twin: SupplyChain) -> None:
    at = {name: game.metrics[0, :, i] for i, name in enumerate(game.metric_names)}
    costs, orders, came = (np.array(x) for x in zip(*twin.told))
    np.testing.assert_allclose(at["cost"], -costs.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(at["network_cost"], -costs.mean(0).sum(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(at["orders"], orders.mean(0) / twin.p.parts, rtol=1e-9)
    moves = came.var(0) > 1e-3 * twin.p.parts**2
    np.testing.assert_allclose(at["bullwhip"][moves], orders.var(0)[moves] / came.var(0)[moves], rtol=1e-6, atol=1e-9)


def same(game: Any, obs: Any, seen: dict[str, Any], number: int) -> None:
    names = list(next(iter(game.groups.values())).group.observation)
    for row, (agent, expected) in zip(obs[0], seen.items(), strict=True):
        off = np.abs(row - expected) > 1e-5 * np.abs(expected) + 2e-5
        assert not off.any(), (number, agent, [(names[i], row[i], expected[i]) for i in np.flatnonzero(off)], game.params)


def test_the_future_does_not_reach_back() -> None:
    """Other draws from tick 3 on change nothing that is seen or paid before, and do change what comes after."""
    game = envs.make("supply_chain", 1, horizon=12, disruption=0.1, lead_noise=1)
    game.reset(5)
    mine, other = draws_of(int(game.world.key[0])), draws_of(99)
    twin = SupplyChain(game.params, lambda t, purpose, shape: (mine if t < 3 else other)(t, purpose, shape))  # type: ignore[arg-type]
    twin.reset()
    agree = []
    for _ in range(12):
        game.step(np.full(game.action.shape, 0.1))
        twin.step(dict.fromkeys(twin.possible_agents, np.full(2, 0.1)))
        agree.append(np.allclose(game.components[0], twin.components))
    assert all(agree[:3]) and not all(agree[3:])


def test_twin_is_a_pettingzoo_environment() -> None:
    parallel_api_test(SupplyChain(SupplyChainParams(horizon=4)), num_cycles=20)
