"""Parameters of the market, what follows from them, and the tables that the rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from envs.trading.data import SYNTHETIC, Bars, replayed
from envs.trading.ledger import MICRO
from marl.errors import UserError
from marl.game import F8
from marl.params import Params, choice, data_file, derived, param, text

MECHANISMS = ("impact", "batch", "book")
IMPACT, BATCH, BOOK = range(3)
REGIMES = ("calm", "volatile", "crisis", "trending")
"""States of the market; `regime` is the first three, or all of them switching."""
SWITCHING = 3
CRISIS = 2
EFFECT = {
    #             volatility, drift, jumps, flow, depth
    "calm": (1.0, 1.0, 1.0, 1.0, 1.0),
    "volatile": (2.0, 1.0, 2.0, 1.5, 0.7),
    "crisis": (4.0, -2.0, 4.0, 2.0, 0.3),
    "trending": (1.0, 4.0, 1.0, 1.2, 1.0),
}
"""Multiples of the base values in each regime."""
CRISIS_CORRELATION = 0.8
MINUTES = 252 * 390
"""Of trading in a year."""
ROLES = ("market_maker", "executor", "informed", "momentum", "portfolio")
MARKET_MAKER, EXECUTOR, INFORMED, MOMENTUM, PORTFOLIO = range(5)
SOURCES = ("synthetic", "bars")
FARTHEST = 16
"""Ticks from the mid beyond which no quote may be allowed."""
IDLE = 0.4
"""What a column of orders may say, of either sign, while nothing is ordered: most of what a newcomer tries costs nothing."""
GRID = 64


@dataclass(frozen=True)
class TradingParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ("asset_sd", "asset_drift", "effect", "opening_price", "closes", "highs", "lows", "role")

    market_makers: int = param(1, 0, 128, "agents", "who quote")
    executors: int = param(1, 0, 128, "agents", "who have a parent order in each of their assets")
    informed: int = param(1, 0, 128, "agents", "who have a private signal of the value")
    momentum: int = param(1, 0, 128, "agents", "who have nothing but prices")
    portfolios: int = param(0, 0, 128, "agents", "who say target weights")
    assets: int = param(2, 1, 15, "assets")
    desk: int = param(2, 1, 15, "assets", "that an agent trades and sees: from the one of its own number on, around")
    horizon: int = param(200, 1, 1_000_000, "ticks")
    minutes: float = param(1.0, 1e-3, 1e6, "minutes of trading a tick", "a day has 390, a year 252 days")
    mechanism: str = choice("book", MECHANISMS, "impact: at the mid less impact; batch: a call a tick at one price; book: limit orders")
    price: float = param(100.0, 1.0, 10_000.0, "$", "of each asset at the beginning; bars have their own")
    tick: float = param(0.05, 1e-4, 100.0, "$", "of the grid of prices")
    lot: int = param(100, 1, 100_000, "shares")
    volatility: float = param(0.20, 0.0, 5.0, "a square root of a year", "mean over assets, in calm")
    drift: float = param(0.0, -5.0, 5.0, "a year", "mean over assets, in calm")
    spread_of_assets: float = param(0.5, 0.0, 1.0, "share of the mean", "by which volatility and drift differ between assets at most")
    correlation: float = param(0.3, 0.0, 0.99, "", "of any two assets' returns, by a common factor; .8 in a crisis")
    jumps: float = param(0.0, 0.0, 1.0, "chance a tick", "of a jump of the value, in calm")
    jump_size: float = param(5.0, 0.0, 100.0, "standard deviations of a tick", "of a jump")
    regime: str = choice("calm", ("calm", "volatile", "crisis", "switching"), "switching: between calm, volatile, crisis and trending")
    regime_length: float = param(50.0, 1.0, 1e6, "ticks", "mean length of a regime")
    crash: float = param(0.0, 0.0, 1.0, "chance an episode", "of a crisis that breaks out at a random tick")
    crash_length: int = param(50, 1, 1_000_000, "ticks", "of that crisis")
    news: float = param(0.4, 0.0, 1.0, "share", "of the value's moves that the public price follows at once")
    pace: float = param(0.05, 0.0, 1.0, "share a tick", "of the gap to the value that the public price closes")
    signal_noise: float = param(0.5, 0.0, 100.0, "standard deviations of a tick", "of the private signal")
    permanent: float = param(0.0001, 0.0, 0.1, "share of the price", "that a lot moves the price for good")
    temporary: float = param(0.0002, 0.0, 0.1, "share of the price", "that a lot costs beyond it, in impact; in batch both are its slope")
    half_spread: float = param(2.0, 0.0, 16.0, "ticks", "of the world, whole on the book")
    noise: float = param(2.0, 0.0, 20.0, "lots a tick", "bought and sold by the world in all, in calm")
    decay: float = param(0.3, 0.0, 10.0, "1/tick", "in impact: how the chance of a quote to be met falls with its distance")
    depth: float = param(5.0, 0.0, 1_000.0, "lots", "that the world offers at each price of the book, in calm")
    levels: int = param(8, 1, 24, "prices", "of each side of the book at which it does")
    farthest: int = param(4, 1, FARTHEST, "ticks", "from the mid of the farthest quote")
    most: float = param(5.0, 0.01, 1_000.0, "lots", "largest order and quote")
    limit: float = param(50.0, 0.01, 1e5, "lots", "largest holding of either sign")
    parent: float = param(40.0, 0.01, 1e5, "lots", "of an executor's parent order in an asset")
    cash: float = param(100_000.0, 1.0, 1e9, "$", "of each agent at the beginning")
    maker_fee: float = param(0.0, -0.01, 0.1, "share of the notional", "of who rested; a rebate where negative")
    taker_fee: float = param(0.0001, 0.0, 0.1, "share of the notional", "of who came")
    borrow: float = param(0.03, 0.0, 10.0, "a year", "on short shares and on borrowed cash")
    leverage: float = param(8.0, 0.1, 1_000.0, "of the equity", "exposure from which nobody may add to it")
    maintenance: float = param(0.05, 0.0, 1.0, "share of the exposure", "equity below which a trader is closed out")
    band: int = param(24, 1, 31, "ticks", "from the mid that an order may trade at most")
    halt_move: float = param(0.05, 1e-4, 10.0, "share", "move of the mid in 20 ticks that halts an asset")
    halt_length: int = param(5, 0, 10_000, "ticks", "0: there are no halts")
    latency: int = param(0, 0, 2, "ticks", "of the slowest; agent a waits a modulo this and one")
    aversion: float = param(0.0, 0.0, 1e3, "", "phi: weight of the variance that a holding brings in a tick, in $^2 over the unit")
    last_aversion: float = param(0.0, 0.0, 1e3, "", "alpha: of the squared last holding, in $^2 over the cash")
    indicators: bool = param(True, 0, 1, "", "technical indicators are seen")
    source: str = choice("synthetic", SOURCES, "bars: prices of a file, see envs.trading.data")
    bars: str = data_file(SYNTHETIC, "a file of bars", "path, see envs.trading.data; synthetic: built-in ones", read=("source", "bars"))
    symbols: str = text("", "names of the assets, parted by blanks; bars: those of the file, none: its first ones")
    split: str = choice("train", ("train", "test"), "part of the bars; train begins anywhere, test at its beginning")
    holdout: float = param(0.3, 0.01, 0.9, "share of the bars", "the last ones, kept for split test")

    def validate(self) -> None:
        name = type(self).__name__
        if not 1 <= self.n_agents <= 128:
            raise UserError(
                f"{name}.market_makers, executors, informed, momentum and portfolios = {self.n_agents} agents: legal is [1, 128]"
            )
        if self.mechanism == "book" and self.half_spread != int(self.half_spread):
            raise UserError(f"{name}.half_spread = {self.half_spread} ticks with mechanism = 'book': a whole number is expected")
        if self.mechanism == "book" and self.source == "bars":
            raise UserError(f"{name}.mechanism = 'book' with source = 'bars': legal are impact and batch, bars say nothing of the book")
        if self.mechanism == "book" and self.price < 4 * GRID * self.tick:
            raise UserError(
                f"{name}.tick = {self.tick} $ with price = {self.price} $: legal is up to {self.price / (4 * GRID):g} on the book"
            )
        if self.symbols and len(self.symbols.split()) != self.assets:
            raise UserError(f"{name}.symbols = {self.symbols!r}: {self.assets} names are expected, env.assets")
        if self.source == "bars":
            self._bars()

    @derived
    def n_agents(self) -> int:
        """Agents of all roles, in the order market makers, executors, informed, momentum, portfolios."""
        return sum(self.counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Agents by role."""
        return self.market_makers, self.executors, self.informed, self.momentum, self.portfolios

    @derived
    def traders(self) -> int:
        """Agents and the world."""
        return self.n_agents + 1

    @derived
    def seats(self) -> int:
        """Assets of a desk."""
        return min(self.desk, self.assets)

    @derived
    def action_columns(self) -> int:
        return 4 * self.seats

    @derived
    def market_columns(self) -> int:
        """Columns of an asset that all see alike: prices and flow, and indicators."""
        return 9 + 8 * self.indicators

    @derived
    def grid(self) -> int:
        """Levels of the book; 1 where there is none."""
        return GRID if self.mechanism == "book" else 1

    @derived
    def slots(self) -> int:
        """Orders that can stand on the book of an asset."""
        return 2 * self.n_agents + GRID if self.mechanism == "book" else 1

    @derived
    def tick_size(self) -> int:
        """Millionths of a dollar, an even number so that mids are whole."""
        return 2 * max(1, round(self.tick * MICRO / 2))

    @derived
    def order_shares(self) -> int:
        return max(1, round(self.most * self.lot))

    @derived
    def limit_shares(self) -> int:
        return max(1, round(self.limit * self.lot))

    @derived
    def parent_shares(self) -> int:
        return max(1, round(self.parent * self.lot))

    @derived
    def depth_shares(self) -> int:
        return round(self.depth * self.lot)

    @derived
    def year(self) -> float:
        """Of a tick."""
        return self.minutes / MINUTES

    @derived
    def base_sd(self) -> float:
        """Standard deviation of a mean asset's return in a calm tick."""
        return max(1e-9, self.volatility * sqrt(self.minutes / MINUTES))

    @derived
    def cash_money(self) -> int:
        return round(self.cash * MICRO)

    @derived
    def unit(self) -> float:
        """$ that count as one in rewards: a thousandth of the cash."""
        return self.cash / 1_000

    @derived
    def leaves(self) -> float:
        """Chance a tick that a regime ends."""
        return 1 / self.regime_length

    @derived
    def lowest(self) -> float:
        """$ that no public price falls below: a whole grid of ticks, so that no price of the book is below 0."""
        return GRID * self.tick if self.mechanism == "book" else 0.01

    @derived
    def replay_ticks(self) -> int:
        """Bars of the part that is replayed; 1 without."""
        return len(self._bars().close) if self.source == "bars" else 1

    def _bars(self) -> Bars:
        return replayed(self.bars, self.symbols, self.assets, self.holdout, self.split == "test", mark=self.mark("bars"))

    @property
    def _spread(self) -> F8:
        """Multiples of the mean, evenly spaced over assets, [M]."""
        return 1 + self.spread_of_assets * np.linspace(-1, 1, self.assets) if self.assets > 1 else np.ones(1)

    @property
    def year_moments(self) -> tuple[F8, F8]:
        """(drift [M], covariance [M, M]) of the value's returns a year in calm, jumps left out: what portfolios are made of."""
        sd = self.volatility * self._spread
        shared = np.full((self.assets, self.assets), self.correlation)
        np.fill_diagonal(shared, 1.0)
        return self.drift * self._spread, shared * np.outer(sd, sd)

    def tables(self) -> Mapping[str, Any]:
        """asset_sd, asset_drift [M] a tick in calm; effect [4, 5] of regimes; opening_price [M] $; closes [T, M] of bars over the
        first ones, highs and lows over closes; role [A]."""
        bars = self._bars() if self.source == "bars" else Bars(*(np.ones((1, self.assets)),) * 3, np.full(self.assets, self.price))
        return {
            "asset_sd": self._spread * self.volatility * sqrt(self.year),
            "asset_drift": self._spread * self.drift * self.year,
            "effect": np.array(list(EFFECT.values())),
            "opening_price": bars.opening,
            "closes": bars.close,
            "highs": bars.high,
            "lows": bars.low,
            "role": np.repeat(np.arange(len(ROLES)), self.counts),
        }
