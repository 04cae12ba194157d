"""What scripted traders of the market do, by role: makers quote, executors work a parent order off, others take what they see.

Defaults were searched on a grid among the house population, see docs/trading.md.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from envs.trading.indicators import INDICATORS
from envs.trading.params import IDLE, TradingParams
from envs.trading.tables import GLOBAL, MARKET, OWN, global_, market_, own_
from marl.game import F4, F8


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


def said(share: Any) -> Any:
    """What a column of orders says for a share of the largest order, bought or sold below 0: the inverse of `orders.amount`."""
    wanted = np.clip(share, -1, 1)
    return np.sign(wanted) * (IDLE + (1 - IDLE) * np.cbrt(np.abs(wanted)))


def columns_of(see: Sight, *each: Any) -> F8:
    """Actions [N, K D] of K quantities [N, D] or single ones."""
    parts = np.broadcast_arrays(none(see), *(np.asarray(x, np.float64) for x in each))[1:]
    return np.ascontiguousarray(np.stack(parts, axis=-1)).reshape(len(see.rows), -1)


def none(see: Sight) -> F8:
    return np.zeros(see.seats.shape[:2])


def made(p: TradingParams, see: Sight, bid: Any = np.inf, ask: Any = np.inf, size: Any = 0.0, quantity: Any = 0.0) -> F8:
    """A maker's quotes in ticks from the mid, none beyond the farthest; their size and an order in largest orders."""
    bid, ask = (np.clip(x, 0, p.farthest + 1) for x in (bid, ask))
    return columns_of(see, bid, ask, np.cbrt(np.clip(size, 0, 1)), said(quantity))


def worked(p: TradingParams, see: Sight, share: Any, offset: Any = np.inf, size: Any = 0.0) -> F8:
    """An executor's order for `share` [N, D] of the parent order, and a quote of `size` largest orders in its direction."""
    return columns_of(
        see, np.clip(offset, 0, p.farthest + 1), np.cbrt(np.clip(size, 0, 1)), said(np.maximum(0.0, share) * p.parent / p.most)
    )


def taken(p: TradingParams, see: Sight, lots: Any) -> F8:
    """An order for so many lots."""
    return columns_of(see, said(np.asarray(lots) / p.most))


def quote_nothing(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    return made(p, see)


def wait(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """All of the parent order is left for the last tick."""
    return worked(p, see, 0.0)


def stay(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    return taken(p, see, 0.0)


def sell_at_once(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """All of the parent order as fast as it may."""
    return worked(p, see, 1.0)


def ticks_left(see: Sight) -> F8:
    """[N, 1], at least 1."""
    return np.maximum(1.0, np.rint(see.left))


def twap(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """The parent order in equal parts over the ticks that are left."""
    return worked(p, see, np.abs(see.own("parent_left")) / ticks_left(see))


def almgren_chriss(p: TradingParams, see: Sight, generator: np.random.Generator, urgency: float = 0.5) -> F8:
    """The parent order by x ~ sinh(kappa (T - t)), kappa T = `urgency` (Almgren and Chriss 2000)."""
    kappa, left = urgency / p.horizon, ticks_left(see)
    return worked(p, see, np.abs(see.own("parent_left")) * (1 - np.sinh(kappa * (left - 1)) / np.sinh(kappa * left)))


def pov(p: TradingParams, see: Sight, generator: np.random.Generator, share: float = 0.1) -> F8:
    """The parent order at `share` of the noise's mean volume, faster where time is short."""
    left = np.abs(see.own("parent_left"))
    return worked(p, see, np.minimum(left, np.maximum(share * p.noise / p.parent, left / ticks_left(see))))


def posted(
    p: TradingParams, see: Sight, generator: np.random.Generator, offset: float = 0.5, patience: float = 0.8, lean: float = 0.25
) -> F8:
    """Quotes for all that is left of the parent order: `offset` natural distances away, before the makers', or where there are none as far
    as `patient` says, and farther by the share `lean` of the gap to the value that is in its favour. Orders, evenly, beside after the
    share `patience` of the time; in a call, whose price is one, at once."""
    left, side = np.abs(see.own("parent_left")), np.sign(see.own("parent_left"))
    alone = p.market_makers == 0 and p.mechanism == "impact"
    near = patient(p, see) if alone else offset * natural(p)
    away = np.clip(np.rint(near + lean * side * in_ticks(p, hidden_gap(p, see))), 0, p.farthest)
    late = (see.left < (1 - patience) * p.horizon) | (p.mechanism == "batch")
    return worked(p, see, np.where(late, left / ticks_left(see), 0.0), away, left * p.parent / p.most)


def patient(p: TradingParams, see: Sight) -> F8:
    """Ticks from the mid at which the noise to come still takes all that is left, half of the executors being on a side: where fills fall
    with exp(-k x), ln(what comes over what is left)/k."""
    rivals = max(1.0, p.executors * p.seats / p.assets / 2)
    comes = p.noise / 2 * ticks_left(see) / rivals
    return natural(p) * np.log(np.maximum(1.0, comes / np.maximum(1e-6, np.abs(see.own("parent_left")) * p.parent)))


def quotes(p: TradingParams, see: Sight, half: Any, skew: Any, size: Any) -> F8:
    """Quotes `half` ticks away from the mid less `skew`, at `size` largest orders, the farthest legal ones where that is farther."""
    bid, ask = (np.clip(np.rint(x), 0, p.farthest) for x in (half + skew, half - skew))
    return made(p, see, bid, ask, size)


def tick_sd(p: TradingParams, see: Sight) -> F8:
    """Standard deviation of a mid's move in a tick, in ticks of the grid."""
    return np.maximum(0.1, see.market("realised_vol") * p.base_sd * p.price / p.tick)


def avellaneda_stoikov(p: TradingParams, see: Sight, generator: np.random.Generator, gamma: float = 1.0, size: float = 1.0) -> F8:
    """Quotes around the reservation price of the holding, over the ticks to come but 50 at most; aversion `gamma` a tick and lot."""
    variance = tick_sd(p, see) ** 2 * np.minimum(see.left, 50.0)
    half = (gamma * variance + 2 / gamma * log(1 + gamma * natural(p))) / 2
    return quotes(p, see, half, see.own("inventory") * p.limit * gamma * variance, size)


def natural(p: TradingParams) -> float:
    """Ticks from the mid at which a quote without aversion earns most: 1/k where fills fall with exp(-k x); inside the world's quotes
    on a book; in a call, where all have one price, as near as it gets to the first tick."""
    return {"impact": 1 / max(p.decay, 0.05), "book": max(1.0, 0.75 * p.half_spread), "batch": 1.0}[p.mechanism]


def cartea_jaimungal(p: TradingParams, see: Sight, generator: np.random.Generator, phi: float = 0.1, size: float = 0.1) -> F8:
    """Optimal depths with a running penalty phi (ticks a squared clip and tick) in the limit of a long time: 1/k + (2 q +- 1) sqrt(phi ...)

    From h(q) ~ -q^2 sqrt(phi/(k eta)) with eta = rate/e: depths 1/k + (1 -+ 2 q) sqrt(phi/(k eta)) (Cartea, Jaimungal and Penalva 2015,
    10.2), q in clips of `size` largest orders.
    """
    clip = max(size * p.most, 1e-9)
    curve = np.sqrt(phi * tick_sd(p, see) ** 2 * natural(p) * np.e / max(p.noise / 2, 0.01))
    return quotes(p, see, natural(p) + curve, 2 * see.own("inventory") * p.limit / clip * curve, size)


def leaning(
    p: TradingParams,
    see: Sight,
    generator: np.random.Generator,
    half: float = 0.8,
    wide: float = 1.3,
    skew: float = 0.1,
    lean: float = 0.2,
    size: float = 1.0,
) -> F8:
    """Quotes `half` natural distances around the mid but `wide` deviations of its moves at least, none where that is beyond the
    farthest; they lean against the holding by `skew` ticks a lot and with the gap that is left to the value, by the share `lean` of it.
    Their size is `size` times the natural one.
    """  # fmt: skip
    away = np.maximum(half * natural(p), wide * tick_sd(p, see))
    leans = see.own("inventory") * p.limit * skew - lean * in_ticks(p, hidden_gap(p, see))
    return quotes(p, see, away, leans, np.where(away <= p.farthest + 0.5, size * natural_size(p), 0.0))


def natural_size(p: TradingParams) -> float:
    """Largest orders of a quote, by the lots of the noise on its side in a tick: all of them where the nearest quote has them alone; on a
    book, where those who know more come as well, less than twice the mean, shared among its makers."""
    if p.mechanism == "book":
        return 1.7 * p.noise / 2 / p.most / max(1.0, p.market_makers * p.seats / p.assets)
    return {"impact": 2.0, "batch": 1.0}[p.mechanism] * p.noise / 2 / p.most


def in_ticks(p: TradingParams, gap: F8) -> F8:
    """Of the grid, from standard deviations of a calm tick."""
    return gap * p.base_sd * p.price / p.tick


def hidden_gap(p: TradingParams, see: Sight) -> F8:
    """Log value over mid in standard deviations of a calm tick, as far as the public price's past tells.

    The price follows the share `news` of a move of the value at once and closes `pace` of the gap a tick, so that the gap is
    g' = (1 - pace) (g + (1 - news) e) after a move e, which shows as r = news e + pace (g + (1 - news) e): g is a geometric sum
    of past r. Its weights are taken as constant within the returns over 1, 2 to 5 and 6 to 20 ticks that are seen. What the
    flow pushed is no news: it closed the gap by as much, and is taken out by its average, which weighs the last ticks by tenths.
    """
    shown = p.news + p.pace * (1 - p.news)
    if shown <= 0:
        return none(see)
    gain, stay = (1 - p.pace) * (1 - p.news) / shown, (1 - p.pace) * (1 - (1 - p.news) * p.pace / shown)
    one, five, twenty = (see.market(f"return_{n}") * n**0.5 for n in (1, 5, 20))
    weight = stay ** np.arange(20)
    news = gain * (one + weight[1:5].mean() * (five - one) + weight[5:].mean() * (twenty - five))
    return np.asarray(news - (1 + gain) * p.permanent / p.base_sd * 10 * see.market("signed_flow"))


def momentum(p: TradingParams, see: Sight, generator: np.random.Generator, beta: float = 0.75, edge: float = 1.5, skew: float = 0.5) -> F8:
    """Orders in the direction in which the price is still to move by its own past, see `hidden_gap` and `sought`."""
    return taken(p, see, sought(p, see, hidden_gap(p, see), beta, edge, skew))


def informed_beta(
    p: TradingParams, see: Sight, generator: np.random.Generator, beta: float = 0.75, edge: float = 1.5, skew: float = 0.5
) -> F8:
    """Orders in proportion to what the private signal promises beyond what trading costs (Kyle 1985); the signal is shrunk by its noise."""
    spread = (1 - p.pace) ** 2 * (1 - p.news) ** 2 / max(1e-6, 1 - (1 - p.pace) ** 2)
    told = see.own("private_signal") * spread / max(1e-9, spread + p.signal_noise**2)
    return taken(p, see, sought(p, see, told, beta, edge, skew))


def sought(p: TradingParams, see: Sight, gap: F8, beta: float, edge: float, skew: float = 0.0) -> F8:
    """Lots, sold below 0, of `beta` times the best size on a gap of price and value [N, D], in standard deviations of a calm tick.

    By the end (1 - pace)^left of it is still open. What a share costs is half the spread and the fee, of which `edge` times as much
    is asked; each lot costs the impact beside, so that half of what is beyond over the impact a lot is best. A lot that is held
    counts as a gap of `skew` against it.
    """
    worth = gap * (1 - (1 - p.pace) ** see.left) - skew * see.market("realised_vol") * see.own("inventory") * p.limit
    cost = (see.market("spread_ticks") / 2 * p.tick / p.price + p.taker_fee) / p.base_sd
    crowd = (p.informed + p.momentum) * p.seats / p.assets
    beyond = np.sign(worth) * np.maximum(0.0, np.abs(worth) - edge * cost)
    return np.asarray(beta / (1 + crowd) * beyond * p.base_sd / max(1e-6, p.temporary + p.permanent))


def mean_reversion(p: TradingParams, see: Sight, generator: np.random.Generator, threshold: float = 4.0, share: float = 0.1) -> F8:
    """Holds `share` of the limit against the last five ticks' return once that is beyond `threshold`, until it turns."""
    signal = -see.market("return_5")
    return toward(p, see, np.where(np.abs(signal) > threshold, np.sign(signal) * share, see.own("inventory")) * p.limit)


def buy_and_hold(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """Holds the equity's worth, in equal parts."""
    return toward(p, see, np.full(see.seats.shape[:2], p.cash / p.price / p.lot / p.seats))


def toward(p: TradingParams, see: Sight, lots: F8) -> F8:
    """Orders toward holdings in lots."""
    return taken(p, see, lots - see.own("inventory") * p.limit)


def random(p: TradingParams, see: Sight, generator: np.random.Generator) -> F8:
    """Quotes, sizes and orders uniform over a maker's columns."""
    draw = generator.random((*see.seats.shape[:2], 4))
    scaled = draw * [p.farthest + 1, p.farthest + 1, 1, 2] - [0, 0, 0, 1]
    return np.asarray(scaled.reshape(len(scaled), -1))
