"""What single rules of the supply chain do, on cases worked by hand, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.supply_chain import baselines, units
from envs.supply_chain.answers import PRESETS
from envs.supply_chain.layout import network
from envs.supply_chain.params import UNITS, SupplyChainParams
from envs.supply_chain.state import ALL, ITEM, LINK, NODE
from marl import UserError, VectorGame
from marl.trial import played

CHAIN: dict[str, Any] = {
    "topology": "serial", "n_agents": 2, "products": 1, "demand": "constant", "demand_mean": "10", "lead": "1", "lag": "0",
    "timing": "after", "action": "quantity", "unit": "means", "initial": "20", "in_transit": "10", "horizon": 30,
    "holding": "1", "penalty": "4",
}  # fmt: skip


def item(game: VectorGame, name: str) -> Any:
    """Parts of every node and product [B, N, P]."""
    return game.world.item[..., ITEM.index(name)]


def link(game: VectorGame, name: str) -> Any:
    return game.world.link[..., LINK.index(name)]


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def run(game: VectorGame, action: Any, ticks: int, seed: int = 0) -> VectorGame:
    """The same action of every copy; a number, or one for each node and column."""
    game.reset(seed)
    for _ in range(ticks):
        game.step(np.broadcast_to(action, game.action.shape))
        assert not game.residual.any()
    return game


def follow(game: VectorGame, baseline: str, ticks: int | None = None, seed: int = 0) -> VectorGame:
    """Everybody plays a baseline, to the end of the episode or for so many ticks."""
    game.reset(seed)
    generator, view = np.random.default_rng(0), game.groups["node"]
    for _ in range(ticks or game.params.horizon):  # type: ignore[attr-defined]
        rows = np.ascontiguousarray(view.obs).reshape(-1, view.group.width)
        game.action[:] = game.game.baselines[baseline](game.params, rows, generator).reshape(game.action.shape)
        game.tick()
        assert not game.residual.any()
    return game


def test_a_chain_in_balance_by_hand() -> None:
    """10 a tick ordered, shipped and sold: stocks stay, costs are holding alone."""
    game = run(envs.make("supply_chain", 1, **CHAIN), 1.0, 5)
    assert item(game, "stock")[0, :, 0].tolist() == [20, 20]
    assert game.components[0, :, 0].tolist() == [-20.0, -20.0] and not game.components[0, :, 1:].any()
    assert game.world.all[0, ALL.index("raw")] == game.world.all[0, ALL.index("sold")] == 10


def test_lags_and_leads_by_hand() -> None:
    """An order of node 0 at tick 0 with lag 2 and lead 3 is owed from tick 2 on and on hand at tick 5."""
    game = envs.make("supply_chain", 1, **{**CHAIN, "lag": "2", "lead": "3", "in_transit": "0", "initial": "50"})
    game.reset(0)
    shipped, stock = [], []
    for t in range(7):
        game.step(np.full(game.action.shape, 1.0 if t == 0 else 0.0))
        shipped.append(int(link(game, "sent")[0, 0, 0]))
        stock.append(int(item(game, "arrived")[0, 0, 0]))
    assert shipped == [0, 0, 10, 0, 0, 0, 0] and stock == [0, 0, 0, 0, 0, 10, 0]


def test_orders_before_demand_do_not_see_it_and_orders_after_do() -> None:
    for timing, expected in (("before", 10), ("after", 30)):
        game = envs.make("supply_chain", 1, **{**CHAIN, "timing": timing, "action": "delta", "step_at": 1, "step_to": 3.0})
        game.reset(0)
        game.step(np.zeros(game.action.shape))
        game.step(np.zeros(game.action.shape))
        assert item(game, "ordered")[0, 0, 0] == expected


def test_what_was_owed_goes_first_and_the_rest_in_proportion() -> None:
    """A supplier of two with 30 on hand: debts of 6 and 3 first, the 21 left for new orders of 20 and 40 as 7 to 14."""
    game = envs.make(
        "supply_chain", 1, topology="divergent", fan=2, n_agents=3, products=1, demand="constant", lead="1", timing="after",
        action="quantity", unit="means", initial="0 0 30", in_transit="0", reach=100.0, horizon=9,
    )  # fmt: skip
    game.reset(0)
    node = game.world
    node.link[0, :2, 0, LINK.index("owed")] = [6, 3]
    node.item[0, 2, 0, ITEM.index("owed")] = 9
    node.item[0, :2, 0, ITEM.index("coming")] += np.array([6, 3])
    game.step(np.array([20 / 8, 40 / 8, 0.0]).reshape(1, 3, 1))
    assert link(game, "sent")[0, :2, 0].tolist() == [6 + 7, 3 + 14] and not game.residual.any()


@pytest.mark.parametrize(("rule", "got"), [("proportional", [10, 20]), ("priority", [20, 10]), ("learned", [24, 6])])
def test_rationing(rule: str, got: list[int]) -> None:
    """30 for orders of 20 and 40: in proportion; the first buyer first; by weights 8 : 1 x orders, at most what is ordered."""
    game = envs.make(
        "supply_chain", 1, topology="divergent", fan=2, n_agents=3, products=1, demand="constant", lead="1", timing="after",
        action="quantity", unit="means", initial="0 0 30", in_transit="0", reach=100.0, rationing=rule, horizon=9,
    )  # fmt: skip
    game.reset(0)
    action = np.zeros(game.action.shape)
    action[0, :, 0] = [20 / 8, 40 / 8, 0]
    if rule == "learned":
        action[0, 2, 1:3] = [0.8, 0.1]
        got = [20, 10]  # 24 would exceed the order of 20
    game.step(action)
    assert link(game, "sent")[0, :2, 0].tolist() == got


def test_capacity_is_shared_by_products_and_room_scraps_what_is_over() -> None:
    game = envs.make(
        "supply_chain", 1, topology="parallel", n_agents=1, products=2, demand="constant", demand_mean="30 10", lead="1", initial="100",
        in_transit="0", capacity=0.5, volume=3.0, sizes="1 3", action="quantity", unit="means", timing="after", scrap_cost=2.0, horizon=9,
    )  # fmt: skip
    run(game, 0.0, 1)
    assert item(game, "shipped")[0, 0].tolist() == [15, 5]
    room = 3 * (30 + 3 * 10)
    used = item(game, "stock")[0, 0] @ np.array([1, 3])
    assert room - 3 < used <= room
    assert game.components[0, 0, 3] == -2.0 * item(game, "scrapped")[0, 0].sum() < 0


def test_expediting_comes_in_one_tick_and_costs() -> None:
    game = envs.make("supply_chain", 1, **{**CHAIN, "lead": "4", "in_transit": "0", "expedite": True, "expedite_cost": 3.0})
    game.reset(0)
    action = np.zeros(game.action.shape)
    action[0, 0] = [1.0, 0.5]
    game.step(action)
    assert game.world.pipe[0, 0, 0].tolist().count(5) == 2 and game.components[0, 0, 4] == -15.0
    game.step(np.zeros(game.action.shape))
    assert item(game, "arrived")[0, 0, 0] == 5


def test_prices_move_money_between_nodes() -> None:
    game = envs.make("supply_chain", 1, **{**CHAIN, "pricing": True, "price": "2", "raw_price": 0.5, "revenue": 4.0})
    action = np.ones(game.action.shape)
    action[0, 1, 1] = 1.5  # node 1 asks 3
    run(game, action, 3)
    assert game.components[0, :, 4].tolist() == [4 * 10 - 3 * 10, 3 * 10 - 0.5 * 10]
    assert game.obs[0, :, 10].tolist() == [3.0, 0.5]


def test_assembly_takes_one_of_each() -> None:
    """Node 0 makes kits of nodes 1 and 2, of which node 2 ships 4 alone: 4 kits, 6 components of node 1 wait."""
    game = envs.make(
        "supply_chain", 1, topology="assembly", fan=2, n_agents=3, products=1, demand="constant", demand_mean="10", lead="1",
        initial="0 10 4", in_transit="0", action="quantity", unit="means", timing="after", horizon=9,
    )  # fmt: skip
    game.reset(0)
    action = np.zeros(game.action.shape)
    action[0, 0] = 1.0
    game.step(action)
    game.step(np.zeros(game.action.shape))
    assert item(game, "made")[0, 0, 0] == 4 and link(game, "kit")[0, :2, 0].tolist() == [6, 0]
    assert network("assembly", 7, 2, 1, 1, 1, 0, "", True).weight.tolist() == [4, 2, 2, 1, 1, 1, 1]


def test_nothing_leaves_a_node_that_is_down_or_a_port_that_is_closed() -> None:
    game = envs.make("supply_chain", 8, **{**CHAIN, "disruption": 0.2, "outage": 3.0, "horizon": 200})
    game.reset(0)
    for _ in range(150):
        game.step(np.ones(game.action.shape))
        down = game.world.node[..., NODE.index("down")] > 0
        assert not item(game, "shipped")[..., 0][down].any()
    assert down.any()
    closed = envs.make("supply_chain", 1, **{**CHAIN, "closure_at": 2, "closure": 3})
    closed.reset(0)
    sent = []
    for _ in range(7):
        closed.step(np.ones(closed.action.shape))
        sent.append(int(link(closed, "sent")[0, 1, 0]))
    assert sent == [10, 10, 0, 0, 0, 40, 10]


def test_recovery_counts_from_the_outage_to_the_debt_before_it() -> None:
    game = envs.make("supply_chain", 64, **{**CHAIN, "disruption": 0.05, "outage": 4.0, "horizon": 300, "initial": "30"})
    run(game, 1.0, 300)
    assert 4.0 < at(game, "recovery").mean() < 30.0


def test_cooperation_blends_rewards_and_keeps_their_sum() -> None:
    alone, half, team = (follow(envs.make("supply_chain", 2, cooperation=w, horizon=50), "base_stock", 20) for w in (0.0, 0.4, 1.0))
    assert half.reward.sum(1) == pytest.approx(alone.reward.sum(1), rel=1e-4)
    assert half.reward == pytest.approx(0.6 * alone.reward + 0.4 * alone.reward.mean(1, keepdims=True), rel=1e-4)
    assert (np.ptp(team.reward, axis=1) < 1e-3).all()


@pytest.mark.parametrize(
    ("settings", "mean", "sd"),
    [
        ({"demand": "uniform"}, 8.0, (8 * 9 / 3) ** 0.5),
        ({"demand": "poisson"}, 8.0, 8**0.5),
        ({"demand": "negative_binomial", "demand_cv": 1.5}, 8.0, 12.0),
        ({"demand": "normal", "demand_sd": 2.0, "parts": 100}, 8.0, 2.0),
        ({"demand": "ar1", "demand_sd": 1.0, "persistence": 0.8, "parts": 100}, 8.0, 1 / 0.6),
        ({"demand": "poisson", "correlation": 0.6}, 8.0, 8**0.5),
        ({"demand": "constant", "regime": 3.0, "regime_length": 5.0, "calm_length": 15.0}, 12.0, 16 * 0.25**0.5 * 0.75**0.5),
    ],
)
def test_laws_of_demand(settings: dict[str, Any], mean: float, sd: float) -> None:
    game = envs.make("supply_chain", 400, topology="parallel", n_agents=2, products=1, lead="1", horizon=60, **settings)
    game.reset(3)
    seen = []
    for _ in range(50):
        game.step(np.zeros(game.action.shape))
        seen.append(item(game, "asked")[:, :, 0] / game.params.parts)  # type: ignore[attr-defined]
    demand = np.array(seen)
    by_copy = demand.mean((0, 2))
    assert abs(by_copy.mean() - mean) < 4.5 * by_copy.std() / 20
    assert demand.std() == pytest.approx(sd, rel=0.05)
    together = np.corrcoef(demand[..., 0].ravel(), demand[..., 1].ravel())[0, 1]
    assert together == pytest.approx({"poisson": settings.get("correlation", 0.0), "constant": 1.0}.get(settings["demand"], 0.0), abs=0.05)


def test_season_of_demand() -> None:
    game = envs.make("supply_chain", 200, topology="parallel", n_agents=1, products=1, lead="1", horizon=60, amplitude=0.8, period=4)
    game.reset(3)
    seen = []
    for _ in range(40):
        game.step(np.zeros(game.action.shape))
        seen.append(item(game, "asked").mean())
    assert np.array(seen).reshape(10, 4).mean(0) == pytest.approx([8, 14.4, 8, 1.6], rel=0.05)


def test_random_leads_are_uniform_and_estimated() -> None:
    game = envs.make("supply_chain", 64, **{**CHAIN, "lead": "2", "lead_noise": 3, "horizon": 400})
    run(game, 1.0, 300)
    assert game.obs[..., 11 + 9].mean() == pytest.approx(3.5, abs=0.1)


@pytest.mark.parametrize("topology", ["serial", "divergent", "assembly", "parallel", "generated"])
def test_networks(topology: str) -> None:
    for n in (1, 2, 7, 30, 100):
        tiers = 1 if n == 1 else 2 if n == 2 else 3
        net = network(topology, n, 3, tiers, 8, max(1, n // 3), 5, "", topology == "assembly")
        assert (net.up > net.buyer).all() and (np.diff(net.buyer) >= 0).all() and set(net.buyer.tolist()) == set(range(n))
        links = sorted(zip(net.buyer.tolist(), net.up.tolist()))
        assert len(set(links)) == len(links) and sorted((int(net.buyer[e]), int(net.up[e])) for e in net.out) == links
        retail = np.diff(net.out_first)[:n] == 0
        assert net.share[:, retail].sum(0) == pytest.approx(net.share[:, retail].sum(0)) and (net.depth[retail] == 0).all()
    one, other = (network("generated", 12, 2, 3, 2, 3, seed, "", False) for seed in (0, 1))
    assert len(one.buyer) != len(other.buyer) or (one.up != other.up).any()


@pytest.mark.parametrize("preset", [*PRESETS, None])
def test_baselines_stay_within_their_tables(preset: str | None) -> None:
    game = envs.make("supply_chain", 2, preset=preset, expedite=preset is None, pricing=preset is None, rationing="learned")
    game.reset(0)
    view = game.groups["node"]
    rows = np.ascontiguousarray(view.obs).reshape(-1, view.group.width)
    low, high = (np.array([getattr(c, end) for c in view.group.action.values()]) for end in ("low", "high"))
    for name, baseline in game.game.baselines.items():
        acts = baseline(game.params, rows, np.random.default_rng(0))
        assert acts.shape == (len(rows), len(low)) and (acts >= low).all() and (acts <= high).all(), name
    for grid in game.game.action_grid(game.params).values():  # type: ignore[misc]
        assert (grid >= low).all() and (grid <= high).all()


@pytest.mark.parametrize("unit", ["means", "deviations"])
@pytest.mark.parametrize("action", ["delta", "level", "quantity"])
@pytest.mark.parametrize("timing", ["before", "after"])
def test_base_stock_orders_the_same_whatever_an_action_means(action: str, timing: str, unit: str) -> None:
    """In a chain with demand that the forecast knows, all three ways to say an order lead to the same stock, in both units."""
    base = {**CHAIN, "timing": timing, "horizon": 60, "levels": "35 33", "reach": 80.0, "unit": unit}
    game = follow(envs.make("supply_chain", 1, **{**base, "action": action}), "base_stock", 40)
    assert (item(game, "stock") + item(game, "coming") - item(game, "owed"))[0, :, 0].tolist() == [
        35 - (10 if timing == "before" else 0),
        33 - (10 if timing == "before" else 0),
    ]


@pytest.mark.parametrize(("action", "x", "ordered"), [("delta", 0.5, 18), ("delta", -1.0, 12), ("level", 1.5, 12), ("quantity", -1.0, 12)])
def test_orders_in_deviations_by_hand(action: str, x: float, ordered: int) -> None:
    """Poisson demand of 16 has a deviation of 4, of the 4 ticks that a lead of 3 covers 8: a level of 1.5 is 64 + 12, and 64 are there."""
    game = envs.make("supply_chain", 1, topology="parallel", n_agents=1, products=1, demand_mean="16", lead="3", action=action)
    run(game, x, 1)
    assert item(game, "ordered")[0, 0, 0] == ordered


def test_steady_demand_is_ordered_for_in_tenths_and_seasons_and_regimes_count_as_deviations() -> None:
    def spread(**settings: Any) -> float:
        p = SupplyChainParams(topology="parallel", n_agents=1, products=1, **settings)
        return float(units.spread(p)[0, 0])

    assert spread(demand="constant") == 0.1
    assert spread(demand="constant", amplitude=0.4) == pytest.approx(0.4 / 2**0.5)
    assert spread(demand="constant", regime=3.0, regime_length=5.0, calm_length=15.0) == pytest.approx(2 * (0.25 * 0.75) ** 0.5)
    assert spread(demand="constant", step_at=25, step_to=2.0) == pytest.approx(0.75**0.5 * 0.25**0.5)
    assert spread(demand_mean="16") == pytest.approx(1 / 4)


def test_where_orders_cost_levels_have_a_range_that_orders_nothing() -> None:
    """Below 0, whatever the position; (s, S) waits there and orders up to S from the point on."""
    made: dict[str, Any] = {"topology": "parallel", "n_agents": 1, "products": 1, "lead": "3", "initial": "0", "in_transit": "0"}
    for fixed, x, some in ((5.0, -0.1, False), (5.0, 0.1, True), (0.0, 0.0, True)):
        game = run(envs.make("supply_chain", 1, fixed=fixed, **made), x, 1)
        assert bool(item(game, "ordered")[0, 0, 0]) == some
    means, deviations = (follow(envs.make("supply_chain", 4, unit=u, fixed=0.4, reach=9.0, **made), "reorder", 60) for u in UNITS)
    assert (item(means, "stock") == item(deviations, "stock")).all() and (item(means, "coming") == item(deviations, "coming")).all()


def test_echelon_base_stock_is_the_local_one_on_a_chain() -> None:
    """Installation and echelon policies with the same levels order the same (Axsater and Rosling 1993)."""
    settings = {**PRESETS["beer_normal"], "lag": "0", "initial": "48 43 41 30", "in_transit": "0", "share_forecasts": True, "horizon": 60}
    one, other = (envs.make("supply_chain", 4, **settings) for _ in range(2))
    for ticks in (5, 59):
        assert (item(follow(one, "base_stock", ticks), "ordered") == item(follow(other, "echelon_base_stock", ticks), "ordered")).all()


def test_mpc_plans_small_networks_and_is_refused_for_others() -> None:
    game = envs.make("supply_chain", 2, products=1, horizon=40)
    planned = at(follow(game, "mpc"), "network_cost").mean()
    assert planned < at(follow(game, "pass_through"), "network_cost").mean()
    large = envs.make("supply_chain", 1, topology="serial", n_agents=9, products=1)
    large.reset(0)
    with pytest.raises(UserError, match="mpc with 9 nodes: legal are networks of up to 8 nodes"):
        baselines.mpc(large.params, large.obs[0], np.random.default_rng(0))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="mpc plans a whole network"):
        baselines.mpc(game.params, game.obs[0][:2], np.random.default_rng(0))  # type: ignore[arg-type]


HOSTILE: list[dict[str, Any]] = [
    {"lead": "1-3", "lag": "0-2", "lead_noise": 2, "capacity": 1.1, "volume": 3.0, "disruption": 0.05, "rationing": "learned",
     "expedite": True, "pricing": True, "price": "2", "choose_sources": True, "supply_low": 0.5, "supply_high": 1.2},
    {"topology": "assembly", "n_agents": 7, "timing": "after", "action": "level", "parts": 100, "unmet": "lost"},
    {"topology": "divergent", "fan": 3, "n_agents": 9, "rationing": "priority", "closure_at": 5, "closure": 9, "action": "quantity"},
]  # fmt: skip


@pytest.mark.parametrize("settings", HOSTILE)
def test_accounts_hold_under_hostile_actions(settings: dict[str, Any]) -> None:
    game = envs.make("supply_chain", 8, horizon=50, **settings)
    game.reset(3)
    for _ in played(game, 120, hostile=True):
        assert not game.residual.any()
        assert (item(game, "stock") >= 0).all() and (item(game, "owed") >= 0).all()
        assert (game.world.pipe >= 0).all() and (game.world.wire >= 0).all() and (link(game, "owed") >= 0).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lead": "0"}, "SupplyChainParams.lead = '0': node 0 buys from node 2, legal is from 1; 0 is from the outside"),
        ({"lead": "1 2"}, "lead = '1 2': one number or 6 are expected"),
        ({"lead": "1.5"}, "lead = '1.5': whole numbers are expected"),
        ({"lag": "x"}, "lag = 'x': numbers in [0, 16], or ranges like 1-3 of them, are expected"),
        ({"topology": "links", "links": "0 1 / 1 0"}, "links = '0 1 / 1 0': rows of a buyer and a supplier of a higher number below 6"),
        ({"tiers": 9}, "tiers = 9 with n_agents = 6 and 2 retailers"),
        ({"n_agents": 20, "tiers": 2, "sources": 1}, "sources = 1: 2 buyers for 18 suppliers of a layer, legal are 9 or more"),
        ({"warm_up": 100}, "SupplyChainParams.warm_up = 100 ticks: legal is below the horizon of 100"),
        ({"window": 3}, "SupplyChainParams.window_short = 4 ticks: legal is up to window = 3"),
        ({"supply_low": 1.0}, "SupplyChainParams.supply_low = 1.0: legal is up to supply_high = 0.0"),
        ({"columns_for": 1}, "SupplyChainParams.columns_for = 1: legal are 0 and numbers from products = 2"),
        ({"demand_mean": "600"}, "SupplyChainParams.demand_mean = '600': 600 units in a peak's tick, legal are up to 500"),
        ({"demand": "negative_binomial", "demand_cv": 0.2}, "SupplyChainParams.demand_cv = 0.2: legal is above 0.3536"),
        ({"holding": "-1"}, "holding = '-1': numbers in [0, 1e+06]"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        SupplyChainParams(**settings)
    assert said in str(caught.value) and "\n" not in str(caught.value)
