"""Known answers of trading by simulation of the compiled games: quotes, schedules, races to the exit, informed trade."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.trading import theory
from marl import UserError, VectorGame
from marl.trial import played

ERRORS = 4.0
"""Standard errors of a mean that a simulation may be off."""


def act(game: VectorGame, baseline: str) -> None:
    """Write a baseline's actions of all roles into `game.action`."""
    generator = np.random.default_rng(0)
    for view in game.groups.values():
        rows = np.ascontiguousarray(view.obs).reshape(-1, view.group.width)
        chosen = game.game.baselines[baseline](game.params, rows, generator)
        view.group.cut_action(game.action)[:] = chosen.reshape(game.n_envs, view.group.n, -1)


def episode(name: str, copies: int, baseline: str, seed: int = 0, **settings: Any) -> tuple[VectorGame, Any]:
    """(game at the end of everybody's first episode, returns [B, A]); the ledger holds on every step."""
    game = envs.make(name, copies, **settings)
    game.reset(seed)
    total = np.zeros(game.reward.shape)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        act(game, baseline)
        game.tick()
        total += game.reward
        assert not game.residual.any()
    assert (game.status != 0).all()
    return game, total


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def check_mean(values: Any, expected: float, beside: float = 0.0) -> None:
    """The mean is the expected one but for its standard error, and that of the figure itself."""
    error = np.hypot(np.std(values) / len(values) ** 0.5, beside)
    assert abs(np.mean(values) - expected) < ERRORS * error + 1e-12, (np.mean(values), expected, error)


def quoted(aversion: float, strategy: str, runs: int = 20_000) -> tuple[float, float, float]:
    """Mean and deviation of the profit, deviation of the last inventory: the same market again, in NumPy's arrays and draws."""
    g = np.random.default_rng(0)
    q, cash, mid = np.zeros(runs), np.zeros(runs), np.full(runs, 100.0)
    for left in 1 - np.arange(200) / 200:
        half = theory.total_spread(aversion, 2.0, 1.5, left) / 2
        centre = theory.reservation_price(0.0, 1.0, aversion, 2.0, left) * q if strategy == "inventory" else 0.0 * q
        sides = centre - half, centre + half
        bought, sold = (g.random(runs) < 0.7 * np.exp(-1.5 * depth) for depth in (-sides[0], sides[1]))
        cash += sold * (mid + sides[1]) - bought * (mid + sides[0])
        q += bought * 1.0 - sold
        mid += 2.0 * 200**-0.5 * g.choice([-1.0, 1.0], runs)
    return float((cash + q * mid).mean()), float((cash + q * mid).std()), float(q.std())


ANYWHERE: dict[str, Any] = {"deepest": 30.0, "beyond": 30.0}
"""Quotes as the formulas say, however far from the mid or beyond it."""
SIMULATED = {
    (0.1, "inventory"): (64.84, 6.49, 2.92), (0.1, "symmetric"): (67.95, 13.35, 8.39), (0.01, "inventory"): (68.38, 8.86, 5.19),
    (0.01, "symmetric"): (68.63, 13.70, 8.72), (0.5, "inventory"): None, (0.5, "symmetric"): (58.39, 11.50, 7.10),
}  # fmt: skip
"""(aversion, strategy) -> mean and deviation of the profit, deviation of the last inventory, of 20,000 recorded runs of another program."""


@pytest.mark.parametrize(("aversion", "strategy"), SIMULATED)
def test_makers_of_avellaneda_and_stoikov(aversion: float, strategy: str) -> None:
    game, _ = episode("quoting", 20_000, strategy, running=aversion * 2.0, **ANYWHERE)
    assert game.params.aversion == pytest.approx(aversion)  # type: ignore[attr-defined]
    profit, q = at(game, "profit")[:, 0], at(game, "inventory")[:, 0]
    for mean, sd, sd_q in filter(None, (SIMULATED[aversion, strategy], quoted(aversion, strategy))):
        check_mean(profit, mean, beside=sd / 20_000**0.5)
        assert profit.std() == pytest.approx(sd, rel=0.03) and q.std() == pytest.approx(sd_q, rel=0.03)
    if (aversion, strategy) == (0.1, "inventory"):
        assert at(game, "spread").mean() == pytest.approx(1.4918, abs=1e-3) == game.game.known(game.params)["inventory_spread"]  # type: ignore[misc]


@pytest.mark.parametrize("strategy", ["inventory", "cartea_jaimungal"])
def test_the_range_of_quotes_costs_no_strategy_anything(strategy: str) -> None:
    """What the range cuts off are quotes that are hardly ever met, and those that all meet anyway: returns on the same draws."""
    (_, cut), (_, free) = (episode("quoting", 2_000, strategy, **settings) for settings in (dict[str, Any](), ANYWHERE))
    assert cut.mean() == pytest.approx(free.mean(), rel=1e-3) and cut.mean() > 64


def test_the_farthest_quotes_are_met_the_least() -> None:
    """By both sides A T exp(-k x) in the mean, at 3 times the half-spread of the inventory strategy at the beginning, .845 $."""
    game, _ = episode("quoting", 4_000, "idle")
    depth = 3 * game.params.half_spread  # type: ignore[attr-defined]
    assert depth == pytest.approx(3 * (np.log(1 + 0.1 / 1.5) / 0.1 + 0.1 * 4 / 2)) and (game.action == pytest.approx(depth))
    check_mean(at(game, "fills")[:, 0], 2 * 140 * np.exp(-1.5 * depth))


def test_the_maker_of_cartea_and_jaimungal() -> None:
    """From q = 0 the optimal depths earn h(0, 0) in the mean; the neutral ones and the inventory strategy earn less on the same draws."""
    settings = {"preset": "cartea_jaimungal", "horizon": 2_000}
    game, best = episode("quoting", 3_000, "cartea_jaimungal", **settings)
    assert (at(game, "utility") == pytest.approx(best)) and (np.abs(at(game, "inventory")) <= 8).all()
    check_mean(best[:, 0], game.game.known(game.params)["optimal_utility"])  # type: ignore[misc]
    for other in ("neutral", "inventory"):
        _, less = episode("quoting", 3_000, other, **settings)
        gap = (best - less)[:, 0]
        assert gap.mean() > 3 * gap.std() / len(gap) ** 0.5, other


@pytest.mark.parametrize(
    ("strategy", "mean", "sd"), [("almgren_chriss", 911_227, 603_431), ("twap", 662_500, 1_040_673), ("all_at_once", 2_562_500, 0)]
)
def test_the_sale_of_almgren_and_chriss(strategy: str, mean: float, sd: float) -> None:
    game, total = episode("liquidation", 20_000, strategy)
    cost = at(game, "shortfall")[:, 0]
    check_mean(cost, mean, beside=25)  # prices are whole millionths of a dollar
    assert cost.std() == pytest.approx(sd, rel=0.02, abs=1)
    if strategy == "almgren_chriss":
        unit = game.params.scale  # type: ignore[attr-defined]
        assert -total.mean() * unit == pytest.approx(1.27536e6, abs=4 * sd / 20_000**0.5)
        assert game.game.known(game.params)["utility"] * unit == pytest.approx(1.27536e6, abs=5)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("preset", "nash", "first", "last"),
    [("one_seller", 1.0, 1.0, 1.0), ("two_sellers", 1.0184, 0.5092, 0.5092), ("ten_sellers", 1.1069, 0.11069, 0.11069),
     ("predator", 1.0184, 1.0874, -0.0691), ("four_predators", None, 1.1396, None)],
)  # fmt: skip
def test_races_to_the_exit(preset: str, nash: float | None, first: float, last: float | None) -> None:
    """At 200 ticks the costs are those of continuous time; selling evenly together costs exactly 1."""
    strategy = "twap" if preset == "one_seller" else "nash"
    game, _ = episode("liquidation", 64, strategy, preset=preset, horizon=200, sigma=1e-6, fastest=10.0, reverse=10.0)
    cost = at(game, "cost").mean(0)
    assert nash is None or cost.sum() == pytest.approx(nash, abs=2e-3)
    assert cost[0] == pytest.approx(first, abs=2e-3)
    assert last is None or cost[-1] == pytest.approx(last, abs=2e-3)
    known = game.game.known(game.params)  # type: ignore[misc]
    assert cost[0] == pytest.approx(known["cost_0" if "predator" in preset else "cost"], rel=1e-3, abs=1e-5)
    assert "predator" not in preset or cost[-1] == pytest.approx(known[f"cost_{game.n_agents - 1}"], rel=1e-3, abs=1e-5)
    together, _ = episode("liquidation", 8, "twap", preset=preset, sigma=1e-6)
    assert at(together, "total_cost") == pytest.approx(np.ones((8, game.n_agents)), abs=1e-4)


def test_no_trader_gains_alone() -> None:
    """On the same draws, no random change of one of two sellers' Nash schedules lowers its cost."""
    game = envs.make("liquidation", 256, preset="two_sellers", sigma=1e-6, fastest=10.0, reverse=10.0)
    game.reset(0)
    generator = np.random.default_rng(1)
    change = generator.normal(0, 0.2, (256, game.params.horizon))  # type: ignore[attr-defined]
    change -= change.mean(1, keepdims=True)
    change[0] = 0
    for t in range(game.params.horizon):  # type: ignore[attr-defined]
        act(game, "nash")
        game.action[:, 0, 0] += change[:, t]
        game.tick()
    cost = at(game, "cost")[:, 0]
    assert (cost[1:] > cost[0]).all()


@pytest.mark.parametrize(
    ("informed", "impact", "intensity", "profit"),
    [
        (1, 0.3333, 1.5, 3),
        (2, 0.3143, 1.0607, 1.4142),
        (5, 0.2485, 0.6708, 0.4472),
        (10, 0.1917, 0.4743, 0.1725),
        (100, 0.066, 0.15, 0.0059),
    ],
)
def test_auctions_of_kyle(informed: int, impact: float, intensity: float, profit: float) -> None:
    copies = 4_000
    game, _ = episode("kyle", copies, "equilibrium", n_agents=informed, reach=8.0)
    assert at(game, "intensity")[:, 0] == pytest.approx(np.full(copies, intensity), rel=1e-3)
    slopes = at(game, "impact")[:, 0]
    assert slopes.mean() == pytest.approx(impact, abs=max(1e-4, 0.003 * impact))
    check_mean(at(game, "profit")[:, 0], profit, beside=5e-5)
    check_mean(at(game, "maker_profit")[:, 0], 0.0)
    check_mean(at(game, "left")[:, 0], 1 / (informed + 1))


@pytest.mark.parametrize(("auctions", "left"), [(1, 0.5), (2, 0.346), (4, 0.2206), (20, 0.0612), (100, 0.0138)])
def test_auctions_of_one_insider(auctions: int, left: float) -> None:
    settings = {"auctions": auctions, "rounds": max(1, 40 // auctions), "value_sd": 1.0, "noise_sd": 1.0, "reach": 20.0}
    game, _ = episode("kyle", 10_000, "equilibrium", **settings)
    check_mean(at(game, "left")[:, 0], left, beside=5e-5)
    known = game.game.known(game.params)  # type: ignore[misc]
    check_mean(at(game, "profit")[:, 0], known["profit"])
    assert known["impact"] == pytest.approx(theory.kyle_periods(auctions, 1.0, 1.0).impact[0], rel=1e-6)


def test_a_learned_maker_is_paid_for_the_regression() -> None:
    """Of all constant lambdas the equilibrium's has the least squared error, given the informed's beta."""
    steps = np.linspace(0.3, 0.7, 9)
    game = envs.make("kyle", 9_000, preset="learned_maker", reach=8.0)
    game.reset(0)
    total = np.zeros(game.reward.shape)
    for _ in range(50):
        act(game, "equilibrium")
        game.action[:, 1, 0] = np.repeat(steps, 1_000)
        game.tick()
        total += game.reward
    assert steps[total[:, 1].reshape(9, 1_000).mean(1).argmax()] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["quoting", "liquidation", "kyle"])
@pytest.mark.parametrize("hostile", [False, True])
def test_nothing_is_made_or_lost(name: str, hostile: bool) -> None:
    game = envs.make(name, 32, n_agents=5)
    game.reset(3)
    for _ in played(game, 120, hostile):
        assert not game.residual.any()


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("liquidation", {"fastest": 0.5}, "LiquidationParams.fastest = 0.5 even splits: legal range is"),
        ("quoting", {"sigma": 0.0}, "QuotingParams.running = 0.2 with sigma = 0"),
        ("kyle", {"auctions": 2, "n_agents": 3}, "KyleParams.auctions = 2 with n_agents = 3"),
    ],
)
def test_refusals(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        envs.make(name, **given)
