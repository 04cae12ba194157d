"""Scripted traders of the market. A baseline names what some roles do; the others act as the house: see `STRATEGIES`.

Their numbers were searched on a grid among the house population, see docs/trading.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.trading import theory
from envs.trading.indicators import INDICATORS
from envs.trading.params import FARTHEST, ROLES, TradingParams
from envs.trading.tables import GLOBAL, MARKET, ORDERS, OWN, global_, market_, own_, portfolio_columns
from marl.game import F4, F8

NONE = FARTHEST + 1.0
BID, ASK, SIZE, QUANTITY = range(len(ORDERS))


class Sight:
    """Columns of observations [N, O] by name, each [N, D] over the seats of a desk."""

    def __init__(self, p: TradingParams, obs: F4) -> None:
        self.p = p
        width = len(MARKET) + len(INDICATORS) * p.indicators
        self.rows = obs.astype(np.float64)
        self.seats = self.rows[:, len(GLOBAL) : len(GLOBAL) + p.seats * (width + len(OWN))].reshape(len(obs), p.seats, width + len(OWN))
        self.width = width

    def market(self, name: str) -> F8:
        return np.asarray(self.seats[:, :, getattr(market_, name)])

    def own(self, name: str) -> F8:
        return np.asarray(self.seats[:, :, self.width + getattr(own_, name)])

    def indicator(self, name: str) -> F8:
        return np.asarray(self.seats[:, :, len(MARKET) + list(INDICATORS).index(name)])

    @property
    def left(self) -> F8:
        """Ticks to come, [N, 1]."""
        return self.rows[:, global_.time_left : global_.time_left + 1] * self.p.horizon


def orders(p: TradingParams, quantity: Any, bid: Any = NONE, ask: Any = NONE, size: Any = 0.0) -> F8:
    """Actions [N, 4 D] of quotes (ticks from the mid), their size and orders (both in largest orders), each [N, D] or one number."""
    parts = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (bid, ask, size, quantity)))
    stacked = np.stack(parts, axis=-1)
    return np.clip(stacked, [0, 0, 0, -1], [NONE, NONE, 1, 1]).reshape(len(stacked), -1)


def none(see: Sight) -> F8:
    return np.zeros(see.seats.shape[:2])


def no_trade(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """Neither quotes nor orders; executors are left with all for the last tick, portfolios hold nothing."""
    return orders(p, none(see))


def sell_at_once(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """All of the parent order as fast as it may; others do nothing."""
    return orders(p, -np.sign(see.own("parent_left")))


def twap(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """The parent order in equal parts over the ticks that are left; others do nothing."""
    return orders(p, -see.own("parent_left") * p.parent / p.most / np.maximum(1.0, np.rint(see.left)))


def almgren_chriss(p: TradingParams, see: Sight, generator: np.random.Generator, urgency: float = 0.5) -> F8:
    """The parent order by x ~ sinh(kappa (T - t)), kappa T = `urgency` (Almgren and Chriss 2000); others do nothing."""
    kappa = urgency / p.horizon
    left = np.maximum(1.0, np.rint(see.left))
    share = 1 - np.sinh(kappa * (left - 1)) / np.sinh(kappa * left)
    return orders(p, -see.own("parent_left") * p.parent / p.most * share)


def pov(p: TradingParams, see: Sight, generator: np.random.Generator, share: float = 0.1) -> F8:
    """The parent order at `share` of the noise's mean volume, faster where time is short; others do nothing."""
    left = see.own("parent_left") * p.parent
    wanted = np.maximum(share * p.noise, np.abs(left) / np.maximum(1.0, np.rint(see.left)))
    return orders(p, -np.sign(left) * np.minimum(np.abs(left), wanted) / p.most)


def quotes(p: TradingParams, see: Sight, half: Any, skew: Any, size: float) -> F8:
    """Actions of quotes `half` ticks away from the mid less `skew`, at `size` largest orders."""
    return orders(p, none(see), np.maximum(0.0, np.rint(half + skew)), np.maximum(0.0, np.rint(half - skew)), size)


def tick_sd(p: TradingParams, see: Sight) -> F8:
    """Standard deviation of a mid's move in a tick, in ticks of the grid."""
    return np.maximum(0.1, see.market("realised_vol") * p.base_sd * p.price / p.tick)


def avellaneda_stoikov(p: TradingParams, see: Sight, generator: np.random.Generator, gamma: float = 1.0, size: float = 1.0) -> F8:
    """Quotes around the reservation price of the holding, over the ticks to come but 50 at most; aversion `gamma` a tick and lot."""
    variance = tick_sd(p, see) ** 2 * np.minimum(see.left, 50.0)
    decay = max(p.decay, 0.05)
    half = (gamma * variance + 2 / gamma * log(1 + gamma / decay)) / 2
    return quotes(p, see, np.minimum(half, FARTHEST / 2), see.own("inventory") * p.limit * gamma * variance, size)


def cartea_jaimungal(p: TradingParams, see: Sight, generator: np.random.Generator, phi: float = 0.1, size: float = 0.1) -> F8:
    """Optimal depths with a running penalty phi (ticks a squared clip and tick) in the limit of a long time: 1/k + (2 q +- 1) sqrt(phi ...)

    From h(q) ~ -q^2 sqrt(phi/(k eta)) with eta = rate/e: depths 1/k + (1 -+ 2 q) sqrt(phi/(k eta)) (Cartea, Jaimungal and Penalva 2015,
    10.2), q in clips of `size` largest orders.
    """
    decay, clip = max(p.decay, 0.05), max(size * p.most, 1e-9)
    curve = np.sqrt(phi * tick_sd(p, see) ** 2 / (decay * max(p.noise / 2, 0.01) / np.e))
    q = see.own("inventory") * p.limit / clip
    return quotes(p, see, np.minimum(1 / decay + curve, FARTHEST / 2), 2 * q * curve, size)


def momentum(p: TradingParams, see: Sight, generator: np.random.Generator, threshold: float = 2.0, share: float = 0.1) -> F8:
    """Holds `share` of the limit in the direction of the last twenty ticks' return once that is beyond `threshold`, until it turns."""
    return followed(p, see, see.market("return_20"), threshold, share)


def mean_reversion(p: TradingParams, see: Sight, generator: np.random.Generator, threshold: float = 4.0, share: float = 0.1) -> F8:
    """The same against the last five ticks' return."""
    return followed(p, see, -see.market("return_5"), threshold, share)


def followed(p: TradingParams, see: Sight, signal: F8, threshold: float, share: float) -> F8:
    """Orders toward +-`share` of the limit where the signal is beyond the threshold, none elsewhere; executors as TWAP."""
    held = see.own("inventory")
    return toward(p, see, np.where(np.abs(signal) > threshold, np.sign(signal) * share, held) * p.limit)


def buy_and_hold(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """Holds the equity's worth, in equal parts; executors as TWAP."""
    return toward(p, see, np.full(see.seats.shape[:2], p.cash / p.price / p.lot / p.seats))


def informed_beta(p: TradingParams, see: Sight, generator: np.random.Generator, beta: float = 0.5, threshold: float = 3.0) -> F8:
    """Orders beta largest orders a standard deviation of the private signal beyond `threshold` (Kyle 1985, with a cost of trading)."""
    told = see.own("private_signal")
    return worked(p, see, beta * np.sign(told) * np.maximum(0.0, np.abs(told) - threshold))


def toward(p: TradingParams, see: Sight, lots: F8) -> F8:
    """Orders toward holdings in lots."""
    return worked(p, see, (lots - see.own("inventory") * p.limit) / p.most)


def worked(p: TradingParams, see: Sight, quantity: F8) -> F8:
    """These orders of who is free, those of TWAP of who has a parent order."""
    parent = see.own("parent_left")
    even = -parent * p.parent / p.most / np.maximum(1.0, np.rint(see.left))
    return orders(p, np.where(parent != 0, even, quantity))


def random(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """Uniform over the columns."""
    draw = generator.random((*see.seats.shape[:2], len(ORDERS)))
    return orders(p, 2 * draw[..., QUANTITY] - 1, NONE * draw[..., BID], NONE * draw[..., ASK], draw[..., SIZE])


def held_weights(p: TradingParams, obs: F4, weights: F8) -> F8:
    """Target weights [N, D]: those of the assets where desks cover all of them, else their mean for each of the desk's."""
    if p.seats < p.assets:
        return np.full((len(obs), p.seats), weights.mean())
    first = np.rint(obs[:, len(portfolio_columns(p)) - 1].astype(np.float64) * p.assets).astype(np.int64)
    return np.clip(weights[(first[:, None] + np.arange(p.seats)) % p.assets], -2, 2)


def kelly(p: TradingParams) -> F8:
    """Growth-optimal weights of the assets, [M]."""
    return theory.kelly_weights(*p.year_moments)


def markowitz(p: TradingParams, aversion: float = 3.0) -> F8:
    """Mean-variance weights of the assets, [M]."""
    return theory.markowitz_weights(*p.year_moments, aversion)


def equal_weights(p: TradingParams) -> F8:
    """The equity in equal parts."""
    return np.full(p.assets, 1 / p.seats)


def nothing(p: TradingParams) -> F8:
    """Cash alone."""
    return np.zeros(p.assets)


HOUSE: dict[str, Any] = {
    "market_maker": avellaneda_stoikov, "executor": almgren_chriss, "informed": informed_beta, "momentum": momentum, "portfolio": kelly,
}  # fmt: skip
"""What each role does where a baseline says nothing of it."""
NAIVE: dict[str, Any] = {
    "market_maker": random, "executor": sell_at_once, "informed": no_trade, "momentum": no_trade, "portfolio": nothing,
}  # fmt: skip
STRATEGIES: dict[str, dict[str, Any]] = {
    "house": {},
    "naive": NAIVE,
    "no_trade": {"market_maker": no_trade, "informed": no_trade, "momentum": no_trade, "portfolio": nothing},
    "twap": {"executor": twap},
    "pov": {"executor": pov},
    "almgren_chriss": {"executor": almgren_chriss},
    "all_at_once": {"executor": sell_at_once},
    "avellaneda_stoikov": {"market_maker": avellaneda_stoikov},
    "cartea_jaimungal": {"market_maker": cartea_jaimungal},
    "momentum": {"momentum": momentum, "informed": momentum},
    "mean_reversion": {"momentum": mean_reversion, "informed": mean_reversion},
    "buy_and_hold": {"momentum": buy_and_hold, "informed": buy_and_hold, "portfolio": equal_weights},
    "informed_beta": {"informed": informed_beta},
    "markowitz": {"portfolio": markowitz},
    "kelly": {"portfolio": kelly},
}
"""Baseline -> role -> what it does; other roles act as the house."""


SEARCHED: dict[str, dict[str, tuple[float, ...]]] = {
    "avellaneda_stoikov": {"gamma": (0.01, 0.1, 0.3, 1.0, 3.0), "size": (0.1, 0.2, 0.4, 1.0)},
    "cartea_jaimungal": {"phi": (0.001, 0.01, 0.1, 1.0, 10.0), "size": (0.1, 0.2, 0.4, 1.0)},
    "almgren_chriss": {"urgency": (0.25, 0.5, 1.0, 2.0, 4.0)},
    "pov": {"share": (0.05, 0.1, 0.2, 0.3, 0.5)},
    "momentum": {"threshold": (1.0, 2.0, 3.0, 4.0, 5.0), "share": (0.02, 0.1, 0.4, 0.8)},
    "mean_reversion": {"threshold": (1.0, 2.0, 3.0, 4.0, 5.0), "share": (0.02, 0.1, 0.4, 0.8)},
    "informed_beta": {"beta": (0.1, 0.2, 0.5, 1.0, 2.0), "threshold": (0.0, 1.0, 2.0, 3.0, 4.0)},
}
"""Strategy -> setting -> values that `marl traders --search` tries."""


def by_role(name: str, **settings: float) -> Any:
    """The baseline of that name, for rows of any roles; those of portfolios, whose width is another, come by themselves.

    `settings` go to what the baseline names, instead of its defaults.
    """
    named = {role: partial(act, **settings) if settings else act for role, act in STRATEGIES[name].items()}
    chosen = HOUSE | named

    def act(p: TradingParams, obs: F4, generator: np.random.Generator) -> F8:
        if obs.shape[1] == len(portfolio_columns(p)):
            return held_weights(p, obs, chosen["portfolio"](p))
        role = np.rint(obs[:, global_.role] * (len(ROLES) - 1)).astype(np.int64)
        found = np.zeros((len(obs), p.action_columns))
        for i in np.unique(role):
            rows = role == i
            found[rows] = chosen[ROLES[i]](p, Sight(p, obs[rows]), generator)
        return found

    return act


BASELINES: Mapping[str, Any] = {name: by_role(name) for name in STRATEGIES}


def action_grid(p: TradingParams) -> Mapping[str, npt.NDArray[Any]]:
    """9 actions, the same for all seats: nothing; buy or sell much or little; quote near, far, or one side only."""
    rows = [
        [NONE, NONE, 0, 0], [NONE, NONE, 0, 0.25], [NONE, NONE, 0, -0.25], [NONE, NONE, 0, 1], [NONE, NONE, 0, -1],
        [1, 1, 0.4, 0], [3, 3, 0.4, 0], [1, NONE, 0.4, 0], [NONE, 1, 0.4, 0],
    ]  # fmt: skip
    grid = np.tile(np.array(rows, np.float64), (1, p.seats))
    weights = np.repeat(np.linspace(-2, 2, 9)[:, None], p.seats, axis=1)
    return {role: weights if role == "portfolio" else grid for role, count in zip(ROLES, p.counts) if count > 0}
