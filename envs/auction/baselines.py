"""Scripted bidders, and which of them scores are relative to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from envs.auction import theory
from envs.auction.laws import balancing_multiplier
from envs.auction.params import LISTED, MICRO, AuctionParams
from envs.auction.rules import LINEAR, LOGARITHMIC, WIDTH, obs_
from marl.content import remembered
from marl.errors import UserError
from marl.game import F4, F8

GRID = 15
"""Rows of the action grid."""


def truthful(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """Bids the value: dominant in second price without a binding budget (Vickrey 1961)."""
    return np.ones((len(obs), 1))


def idle(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """Bids the least that is legal: nothing, but in mode market."""
    return np.full((len(obs), 1), action_table(p)["multiplier"].low)


def shade(p: AuctionParams) -> float:
    """(n-1)/n, the shading of first price on U[0, 1] (Krishna 2.3); 1 in second price and for a lone bidder."""
    return 1.0 if p.format in ("second", "gsp", "vcg") or p.n_agents == 1 else (p.n_agents - 1) / p.n_agents


def shaded(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """Bids (n-1)/n of the value whatever the format and law; a lone bidder half of it."""
    return np.full((len(obs), 1), (p.n_agents - 1) / p.n_agents if p.n_agents > 1 else 0.5)


def paced(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """Solves each tick again for the multiplier that spends the budget left on the traffic left, and shades for the format.

    Spend grows with the square of the multiplier against a price ~ U[0, 1] and in proportion where all bidders pace.
    """
    if not p.limited:
        return np.full((len(obs), 1), shade(p))
    left = obs[:, obs_.budget_left] / np.maximum(obs[:, obs_.traffic_left], 1e-6)
    ratio = np.sqrt(6 * p.rate * left) if p.mode == "pacing" else _tightness(p) * left
    return np.asarray(shade(p) * np.minimum(ratio, 1.0), np.float64)[:, None]


@remembered(64)
def _tightness(p: AuctionParams) -> float:
    """Budget over expected truthful spend; 1 for unequal bidders and where truth costs nothing."""
    spend = 0.0 if p.mode in ("asym_uniform", *LISTED) else p.truthful_spend
    return p.rate / spend if spend > 0 and np.isfinite(p.rate) else 1.0


def has_equilibrium(p: AuctionParams) -> bool:
    """Whether `equilibrium` knows the mode, format, reserve and budget. Bids that depend on the value need one auction a tick."""
    one = p.auctions_per_tick == 1
    if p.mode == "fppe":
        return p.format == "first" and p.slots == 1 and p.reserve == 0 and p.limited
    if p.positions:
        settled = p.mode == "position" and p.reserve == 0 and p.soft_floor == 0 and p.format in ("second", "gsp")
        return not p.limited and (p.format == "vcg" or settled)
    if p.mode == "pacing" or (p.format == "second" and (p.mode != "asym_uniform" or not p.limited)):
        return True
    if p.n_agents == 1 or p.mode == "market":
        return False
    if p.mode == "asym_uniform":
        return one and p.format == "first" and p.reserve == 0 and not p.limited
    plain = p.reserve == 0 or (one and not p.limited)
    return plain and (one or p.format == "first")


@remembered(64)
def fluid_multiplier(p: AuctionParams) -> float:
    """What a binding budget multiplies values by, 1/(1 + mu); 1 without one."""
    if not p.limited:
        return 1.0
    if p.mode == "pacing":
        return theory.pacing_multiplier(p.rate)
    format = "second" if p.mode == "uniform_ipv" else p.format  # the expected payment is the same in all formats
    return balancing_multiplier(p.value_quantiles(), p.n_agents, format, p.reserve, p.rate)


def equilibrium(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """The equilibrium of the mode, format, reserve and budget, see `theory`; with a budget in the limit of many auctions."""
    if not has_equilibrium(p):
        raise UserError(
            f"baseline 'equilibrium' of auction: no closed form for mode {p.mode!r}, format {p.format!r}, reserve {p.reserve} $,"
            f" {p.auctions_per_tick} auctions a tick, {'a' if p.limited else 'no'} budget; take paced, shaded or truthful"
        )
    if p.mode in LISTED or p.positions:
        if p.mode not in LISTED:
            return np.ones((len(obs), 1))
        own = obs[:, obs_.own_scale].astype(np.float64)[:, None] - p.listed / p.listed.max()
        return listed_multipliers(p)[np.abs(own).argmin(1)][:, None]
    if p.format == "second":
        return np.full((len(obs), 1), fluid_multiplier(p))
    if p.mode == "asym_uniform":
        return _asymmetric(p, obs)[:, None]
    if p.format == "first" and p.reserve == 0:
        return np.full((len(obs), 1), shade(p) * fluid_multiplier(p))
    value = obs[:, WIDTH].astype(np.float64)
    bid = theory.first_price_bid if p.format == "first" else theory.all_pay_bid
    return (fluid_multiplier(p) * _ratio(bid(p.n_agents, value, p.reserve), value))[:, None]


@remembered(64)
def listed_multipliers(p: AuctionParams) -> F8:
    """Equilibrium multipliers [A] of bidders with fixed values: envy-free in GSP, truthful in VCG, pacing in first price."""
    value = p.listed
    if p.mode == "fppe":
        return theory.first_price_pacing(value[:, None], p.purses() / MICRO / (p.horizon * p.auctions_per_tick)).multiplier
    if p.format == "vcg":
        return np.ones(len(value))
    order = np.argsort(-value, kind="stable")
    found = np.ones(len(value))
    found[order] = theory.envy_free_bids(value[order], p.exposures()) / value[order]
    return found


def _known_listed(p: AuctionParams) -> dict[str, float]:
    """Names are a metric's where whoever plays for itself comes there. First-price pacing settles a market in which a buyer may gain by
    pacing further alone; GSP's envy-free bids are one of many equilibria, which agree in welfare alone."""
    value, x = np.sort(p.listed)[::-1], p.exposures()
    if p.mode == "fppe":
        found = theory.first_price_pacing(p.listed[:, None], p.purses() / MICRO / (p.horizon * p.auctions_per_tick))
        worth = float((found.share[:, 0] * p.listed).sum())
        return {"pacing_revenue": float(found.price[0]), "pacing_welfare": worth, "pacing_multiplier": float(found.multiplier.mean())}
    paid, welfare = theory.vcg_payments(value, x).sum(), float((value[: len(x)] * x[: len(value)]).sum())
    of = "" if p.format == "vcg" else "envy_free_"
    return {f"{of}revenue": float(paid), "welfare": welfare, f"{of}surplus": float(welfare - paid) / len(value)}


def _asymmetric(p: AuctionParams, obs: F4) -> F8:
    widest = max(p.w1, p.w2)
    own = widest * obs[:, obs_.own_scale].astype(np.float64)
    value = own * obs[:, WIDTH]
    weak = own < (p.w1 + p.w2) / 2
    low, high = min(p.w1, p.w2), widest
    bid = np.where(weak, theory.asymmetric_bid(low, high, np.minimum(value, low)), theory.asymmetric_bid(high, low, value))
    return _ratio(bid, value)


def _ratio(bid: F8, value: F8) -> F8:
    return np.divide(bid, value, out=np.zeros_like(bid), where=value > 0)


def reference(p: AuctionParams) -> str:
    """The equilibrium where it is known, else the best shipped baseline: paced with a budget, shaded or truthful without."""
    if has_equilibrium(p):
        return "equilibrium"
    if p.limited:
        return "paced"
    return "truthful" if p.format in ("second", "gsp", "vcg") else "shaded"


def known(p: AuctionParams) -> dict[str, float]:
    """Closed-form $ per auction at equilibrium, under the names of the metrics; with a budget in the limit of many auctions."""
    if not has_equilibrium(p):
        return {}
    if p.mode in LISTED:
        return _known_listed(p)
    if p.positions:
        return {"multiplier": 1.0}
    if p.mode == "pacing":
        multiplier = fluid_multiplier(p)
        return {"multiplier": multiplier, "surplus": theory.pacing_utility(multiplier), "spend": theory.pacing_spend(multiplier)}
    if p.mode == "asym_uniform":
        return _known_asymmetric(p)
    found = {"multiplier": shade(p) * fluid_multiplier(p)} if p.format == "second" or (p.format == "first" and p.reserve == 0) else {}
    if p.mode == "market" or (p.limited and p.reserve > 0):
        return found
    n, least = p.n_agents, theory.all_pay_reserve(p.n_agents, p.reserve) if p.format == "all_pay" else p.reserve
    revenue, welfare = fluid_multiplier(p) * theory.revenue(n, min(least, 1.0)), theory.welfare(n, min(least, 1.0))
    return found | {"revenue": revenue, "welfare": welfare, "surplus": (welfare - revenue) / n, "win_rate": (1 - min(least, 1.0) ** n) / n}


def _known_asymmetric(p: AuctionParams) -> dict[str, float]:
    if p.format == "first":
        found = theory.asymmetric_first_price(p.w1, p.w2)
        del found["efficiency"]  # a ratio of means; the metric is a mean over episodes of ratios
        return found | {"surplus": (found["surplus_0"] + found["surplus_1"]) / 2}
    revenue, welfare = theory.asymmetric_second_price_revenue(p.w1, p.w2), theory.asymmetric_welfare(p.w1, p.w2)
    return {"multiplier": 1.0} | ({} if p.reserve else {"revenue": revenue, "welfare": welfare, "surplus": (welfare - revenue) / 2})


def action_table(p: AuctionParams) -> dict[str, Any]:
    """Columns of the action: linear where the answer is known, on a log scale in the market."""
    return LOGARITHMIC if p.mode == "market" else LINEAR


def action_grid(p: AuctionParams) -> dict[str, npt.NDArray[Any]]:
    """15 multipliers with equal ratios from .1 to the highest, [15, 1]."""
    return {"advertiser": np.geomspace(0.1, action_table(p)["multiplier"].high, GRID)[:, None]}
