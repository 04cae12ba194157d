"""The known answers, simulated: each within its standard error of the textbook's figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.supply_chain import theory
from envs.supply_chain.answers import PRESETS
from marl import VectorGame
from tests.envs.test_supply import at, follow, item, run


def said(name: str, found: Any, error: Any, answer: float) -> None:
    print(f"{name}: simulated {found:.4f} +- {error:.4f}, known {answer:.4f}")


def agrees(name: str, values: Any, answer: float, spare: float = 0.0) -> None:
    """Values [copies] have the mean `answer` within four standard errors and what else is `spare`."""
    error = values.std() / len(values) ** 0.5
    said(name, values.mean(), error, answer)
    assert abs(values.mean() - answer) <= 4 * error + spare + 1e-9


@pytest.mark.parametrize(
    ("preset", "copies"), [("newsvendor", 40_000), ("newsvendor_poisson", 40_000), ("base_stock", 500), ("reorder", 1_000)]
)
def test_levels_of_one_node_cost_what_theory_says(preset: str, copies: int) -> None:
    game = envs.make("supply_chain", copies, preset=preset)
    known: Any = game.game.known(game.params)  # type: ignore[misc]
    agrees(preset, at(follow(game, "reorder" if preset == "reorder" else "base_stock"), "cost")[:, 0], known["cost"])


def test_clark_and_scarf() -> None:
    """Optimal levels cost 47.665; half a unit more or less on any stage costs more, by far more than the error."""
    game = envs.make("supply_chain", 800, preset="clark_scarf")
    best = at(follow(game, "base_stock"), "network_cost")[:, 0].copy()
    known: Any = game.game.known(game.params)  # type: ignore[misc]
    agrees("Clark and Scarf", best, known["network_cost"], spare=0.01)
    levels = np.array([6.484, 5.544, 10.692])
    for stage in range(3):
        for change in (-0.5, 0.5):
            moved = levels.copy()
            moved[stage] += change
            other = at(run(game, (moved / game.params.cover / 5)[:, None], 120), "network_cost")[:, 0]  # type: ignore[attr-defined]
            error = (other - best).std() / len(best) ** 0.5
            print(f"stage {stage} {change:+}: {other.mean():.3f} +- {error:.3f} above {best.mean():.3f}")
            assert 0.2 < other.mean() - best.mean() < 1.3


BEER = {"beer_uniform_2": (6.773, 0.005), "beer_uniform_8": (13.029, 0.006), "beer_normal": (13.370, 0.011), "beer_step": (1.80, 0.0)}
"""Cost a tick of the order-up-to levels of Oroojlooyjadid et al. 2022, from 80,000 games of a second program, and its error."""


@pytest.mark.parametrize("preset", BEER)
def test_beer_games(preset: str) -> None:
    game = envs.make("supply_chain", 1 if preset == "beer_step" else 4_000, preset=preset)
    cost = at(follow(game, "base_stock"), "network_cost")[:, 0]
    known, error = BEER[preset]
    agrees(preset, cost, known, spare=4 * error)


@pytest.mark.parametrize(("preset", "lead"), [("lost_sales_1", 1), ("lost_sales_2", 2)])
def test_lost_sales_policy_of_the_programme(preset: str, lead: int) -> None:
    """The orders of the dynamic programme, looked up by stock and pipeline, cost its optimum."""
    game = envs.make("supply_chain", 1_000, preset=preset, action="quantity")
    cost, orders = theory.lost_sales(1, 4, 5, lead)
    game.reset(0)
    slots: int = game.params.slots  # type: ignore[attr-defined]
    for t in range(120):
        due = [game.world.pipe[:, 0, 0, (t + i) % slots] for i in range(lead)]
        state = (np.minimum(item(game, "stock")[:, 0, 0] + due[0], orders.shape[0] - 1), *due[1:])
        game.step((orders[state] / 5)[:, None, None])
    agrees(preset, at(game, "cost")[:, 0], cost)


@pytest.mark.parametrize(
    ("cover", "window", "correlation"), [(1, 5, 0.0), (2, 5, 0.0), (3, 5, 0.0), (3, 10, 0.0), (3, 10, 0.5), (5, 20, 0.8)]
)
def test_bullwhip_of_moving_averages(cover: int, window: int, correlation: float) -> None:
    settings = {**PRESETS["bullwhip"], "lead": str(cover - 1), "window": window, "persistence": correlation}
    game = follow(envs.make("supply_chain", 100, **settings), "moving_average")
    answer = theory.bullwhip(cover, window, correlation)
    agrees(f"bullwhip {(cover, window, correlation)}", at(game, "bullwhip")[:, 0], answer, spare=0.01)


def test_no_bullwhip_where_the_law_of_demand_is_known() -> None:
    """Orders after demand are the demand itself; orders before it are the demand of the tick before."""
    for timing, width in (("after", 1e-9), ("before", 5e-3)):
        game = follow(envs.make("supply_chain", 20, preset="bullwhip", timing=timing), "base_stock")
        assert at(game, "bullwhip") == pytest.approx(1.0, abs=width)


SHARED: dict[str, Any] = {
    **PRESETS["bullwhip"], "n_agents": 4, "topology": "serial", "timing": "after", "lead": "2", "initial": "400", "window": 8,
}  # fmt: skip


def test_shared_forecasts_dampen_the_bullwhip() -> None:
    """Four stages, moving averages: of customers' demand, all see the same, orders of stage k have 1 + 2 (sum of covers)^2/p^2 of demand's
    variance (no correlation of the average's change with the next demand); of incoming orders, it multiplies from stage to stage."""
    ratios = {}
    for shared in (True, False):
        game = follow(envs.make("supply_chain", 20, **{**SHARED, "share_forecasts": shared, "horizon": 1_000}), "moving_average")
        ratios[shared] = np.cumprod(at(game, "bullwhip").mean(0))
    exact = [1 + 2 * (2 * k / 8) ** 2 for k in range(1, 5)]
    print("bullwhip over customers' demand, shared", ratios[True], "exact", exact, "alone", ratios[False])
    assert ratios[True] == pytest.approx(exact, rel=0.03)
    assert (
        ratios[False][0] == pytest.approx(exact[0], rel=0.03)
        and (ratios[False][1:] > 1.01 * ratios[True][1:]).all()
        and ratios[False][3] > 1.2 * ratios[True][3]
    )


def test_competing_retailers_lose_by_leaving_the_equilibrium() -> None:
    """The numerical equilibrium of rationing: orders a fifth more or less of one retailer cost that one more, on the same draws."""
    game = envs.make("supply_chain", 40_000, preset="rationing")
    known: Any = game.game.known(game.params)  # type: ignore[misc]
    order = known["orders"] / 10
    best = at(run(game, order, 1), "cost")[:, 0].copy()
    assert known["orders"] > known["newsvendor"]
    for factor in (0.8, 1.25):
        action = np.full((3, 1), order)
        action[0] *= factor
        other = at(run(game, action, 1), "cost")[:, 0]
        assert (other - best).mean() > 4 * (other - best).std() / 200
    agrees("rationing, cost", best, cost_at(game, known["orders"]))


def cost_at(game: VectorGame, order: float) -> float:
    """Expected cost of a retailer where all order the same."""
    p: Any = game.params
    total = p.outside_mean / p.parts
    return float(theory.Rationing(3, 10, 2, 1, 4, p.supply_low * total, p.supply_high * total).cost(np.array([order]), 2 * order)[0])
