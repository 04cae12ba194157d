"""Settings whose answers are in textbooks, and these answers."""

from __future__ import annotations

from typing import Any

from envs.supply_chain import theory
from envs.supply_chain.params import SupplyChainParams

ONE: dict[str, Any] = {
    "n_agents": 1, "topology": "parallel", "products": 1, "action": "level", "unit": "means", "holding": "1", "penalty": "4",
    "initial": "0", "in_transit": "0", "grid": 21,
}  # fmt: skip
LONG: dict[str, Any] = {"horizon": 120, "warm_up": 20, "continuing": True}
BEER: dict[str, Any] = {
    "n_agents": 4, "topology": "serial", "products": 1, "timing": "after", "horizon": 100, "lead": "2", "lag": "2 2 2 1", "holding": "0.5",
    "penalty": "1", "initial": "12", "in_transit": "4", "cooperation": 1.0, "action": "level",
    "unit": "means", "reach": 3.0,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "newsvendor": {
        **ONE, "horizon": 1, "lead": "0", "demand": "normal", "demand_mean": "50", "demand_sd": 8.0, "holding": "0.18", "penalty": "0.70",
        "parts": 1_000,
    },
    "newsvendor_poisson": {**ONE, "horizon": 1, "lead": "0", "demand_mean": "20"},
    "base_stock": {
        **ONE, **LONG, "lead": "4", "demand": "normal", "demand_mean": "5", "penalty": "9", "parts": 1_000, "initial": "5",
        "in_transit": "5",
    },
    "reorder": {**ONE, **LONG, "lead": "0", "demand_mean": "6", "fixed": 5.0, "initial": "6", "reach": 3.0},
    "clark_scarf": {
        **LONG, "n_agents": 3, "topology": "serial", "products": 1, "timing": "after", "lead": "1 1 2", "holding": "7 4 2",
        "penalty": "37.12 0 0", "transit": 1.0, "demand": "normal", "demand_mean": "5", "parts": 1_000, "action": "level",
        "unit": "means", "cooperation": 1.0, "initial": "6.484 5.544 10.692", "in_transit": "0", "levels": "6.484 5.544 10.692",
    },
    "lost_sales_1": {**ONE, **LONG, "lead": "1", "demand_mean": "5", "unmet": "lost", "initial": "5", "in_transit": "5"},
    "lost_sales_2": {**ONE, **LONG, "lead": "2", "demand_mean": "5", "unmet": "lost", "initial": "5", "in_transit": "5"},
    "bullwhip": {
        **ONE, "horizon": 2_000, "warm_up": 100, "continuing": True, "lead": "2", "demand": "ar1", "demand_mean": "100", "demand_sd": 5.0,
        "persistence": 0.0, "parts": 1_000, "initial": "100", "in_transit": "100", "window": 5,
    },
    "bullwhip_correlated": {
        **ONE, "horizon": 2_000, "warm_up": 100, "continuing": True, "lead": "4", "demand": "ar1", "demand_mean": "100", "demand_sd": 5.0,
        "persistence": 0.8, "parts": 1_000, "initial": "100", "in_transit": "100", "window": 20,
    },
    "beer_uniform_2": {
        **BEER, "lag": "2", "holding": "2", "penalty": "2 0 0 0", "demand": "uniform", "demand_mean": "1", "initial": "0",
        "in_transit": "0", "levels": "8 8 0 0",
    },
    "beer_uniform_8": {**BEER, "demand": "uniform", "demand_mean": "4", "levels": "19 20 20 14"},
    "beer_normal": {
        **BEER, "demand": "normal", "demand_mean": "10", "demand_sd": 2.0, "holding": "1 0.75 0.5 0.25", "penalty": "10 0 0 0",
        "initial": "10", "in_transit": "10", "reach": 2.0, "levels": "48 43 41 30",
    },
    "beer_step": {**BEER, "demand": "constant", "demand_mean": "4", "step_at": 4, "step_to": 2.0, "levels": "32 32 32 24"},
    "rationing": {
        **ONE, "n_agents": 3, "horizon": 1, "lead": "0", "demand": "normal", "demand_mean": "10", "demand_sd": 2.0, "parts": 1_000,
        "supply_low": 0.8, "supply_high": 2.0, "action": "quantity", "reach": 3.0,
    },
}  # fmt: skip
"""Snyder and Shen 2019 (newsvendor, base stock, example 6.1); Zipkin 2008; Chen et al. 2000; Oroojlooyjadid et al. 2022, "A deep Q-network
for the beer game" (settings and order-up-to levels of the four beer games); Lee et al. 1997 (rationing)."""
STEADY: dict[str, Any] = {
    "products": 1, "amplitude": 0.0, "regime": 1.0, "step_at": 0, "disruption": 0.0, "closure": 0, "capacity": 0.0, "volume": 0.0,
    "lead_noise": 0, "revenue": 0.0, "raw_price": 0.0, "price": "0", "uneven": 0.0,
}  # fmt: skip


def known(p: SupplyChainParams) -> dict[str, float]:
    """What the literature knows of a setting, under the names of metrics where it is one; nothing where a textbook's setting is left.

    The bullwhip effect that is known is that of base stock at a forecast's levels, not of what costs least: its name is no metric's.
    """
    if any(getattr(p, name) != value for name, value in STEADY.items()):
        return {}
    lead, lag = (int(x[0]) for x in p.leads)
    if p.n_agents == 1 and p.supply_high == 0:
        return _one(p, float(p.mean[0, 0]), float(p.costs[0][0]), float(p.costs[1][0]), round(float(p.cover[0])))
    serial = p.topology == "serial" and p.timing == "after" and p.transit == 1 and not p.leads[1].any() and not p.costs[1][1:].any()
    if serial and p.demand == "normal" and p.unmet == "backlog" and p.fixed == 0:
        hold, short = (tuple(float(x) for x in xs) for xs in p.costs)
        found = theory.clark_scarf(hold, tuple(int(x) for x in p.leads[0]), short[0], float(p.mean[0, 0]), p.demand_sd)
        return {"network_cost": found.cost, **{f"level_{j}": level for j, level in enumerate(found.local)}}
    if p.topology == "parallel" and p.horizon == 1 and lead == lag == 0 and p.supply_high > 0 and p.demand == "normal":
        hold, short = (tuple(float(x) for x in xs) for xs in p.costs)
        total = p.outside_mean / p.parts
        mean = float(p.mean[0, 0])
        game = theory.Rationing(p.n_agents, mean, p.demand_sd, hold[0], short[0], p.supply_low * total, p.supply_high * total)
        return {"orders": game.equilibrium(), "newsvendor": theory.newsvendor(hold[0], short[0], mean, p.demand_sd).level}
    return {}


def together(p: SupplyChainParams) -> dict[str, float]:
    """What is known is best for all nodes, who may share its cost; but for retailers whose scarce stock goes by orders, an equilibrium."""
    return {} if p.supply_high > 0 else known(p)


def _one(p: SupplyChainParams, mean: float, hold: float, short: float, cover: int) -> dict[str, float]:
    """Of a lone node with all that it orders; `cover` ticks are between an order and the end of the tick in which the next one comes."""
    if p.unmet == "lost":
        lead = cover - 1
        poisson = p.demand == "poisson" and p.timing == "before" and not p.leads[1].any() and 1 <= lead <= 2 and p.fixed == 0
        return {"cost": theory.lost_sales(hold, short, mean, lead)[0]} if poisson and p.horizon > 1 else {}
    if p.demand == "ar1":
        moving = p.timing == "before" and p.forecast == "moving"
        return {"base_stock_bullwhip": theory.bullwhip(cover, p.window, p.persistence)} if moving else {}
    if p.fixed > 0:
        best = theory.reorder(hold, short, p.fixed, mean) if p.demand == "poisson" and cover == 1 else None
        return {"cost": best.cost, "point": best.point, "level": best.upto} if best else {}
    if p.demand == "normal":
        level, cost = theory.base_stock(hold, short, mean, p.demand_sd, cover - 1)
        return {"cost": cost, "level": level}
    if p.demand == "poisson":
        level, cost = theory.poisson_newsvendor(hold, short, mean * cover)
        return {"cost": cost, "level": level}
    return {}
