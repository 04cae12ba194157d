"""The games `trading` and `trading_log`: agents of several roles on synthetic prices, or on the bars of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from envs.trading import accounts, baselines, rules
from envs.trading.params import SOURCES, TradingParams
from envs.trading.state import TradingState
from envs.trading.tables import AUDIT, COST, METRICS, REWARD, roles
from marl.errors import UserError
from marl.game import Game, Picture
from marl.params import choice, param

DEMO: dict[str, Any] = {
    "market_makers": 0, "executors": 4, "informed": 0, "momentum": 0, "symbols": "AAPL GOOGL TSLA MSFT", "assets": 4, "desk": 4,
    "horizon": 1_000, "cash": 100_000.0, "taker_fee": 0.001, "permanent": 0.0001, "regime": "volatile", "mechanism": "impact",
}  # fmt: skip
SEVERAL: dict[str, Any] = {"market_makers": 2, "executors": 2, "informed": 2, "momentum": 2, "assets": 5}
PRESETS: dict[str, dict[str, Any]] = {
    "demo": DEMO,
    "call": {**SEVERAL, "mechanism": "batch"},
    "crisis": {**SEVERAL, "volatility": 0.45, "jumps": 0.01, "crash": 1.0, "maintenance": 0.10},
    "portfolio": {
        "market_makers": 0, "executors": 0, "informed": 0, "momentum": 0, "portfolios": 1, "assets": 3, "desk": 3, "mechanism": "impact",
        "minutes": 390.0, "horizon": 252, "drift": 0.06, "volatility": 0.3, "spread_of_assets": 0.3, "news": 1.0, "pace": 0.0,
        "permanent": 0.0, "temporary": 0.0, "half_spread": 0.0, "noise": 0.0, "taker_fee": 0.0, "borrow": 0.0, "lot": 1_000,
        "tick": 0.01, "halt_length": 0, "maintenance": 0.0,
    },
}  # fmt: skip
"""Stages of the curriculum have parameters of their own, see curricula.trading."""
STAIRS = "a quote stands on a whole tick: the return is a staircase of few steps, each as wide as a tick"
UNSCALED = {
    **{f"market_maker.{side}_offset_of_{j}": STAIRS for side in ("bid", "ask") for j in range(15)},
    **{f"executor.offset_of_{j}": STAIRS for j in range(15)},
}


TRADING_MARKET = Game(
    "trading",
    version=1,
    params=TradingParams,
    state=TradingState,
    roles=roles,
    begin=rules.begin,
    step=rules.step,
    observe=rules.observe,
    measure=accounts.measure,
    metrics=METRICS,
    reward=REWARD,
    cost=COST,
    balance=accounts.balance,
    audit=AUDIT,
    baselines=baselines.BASELINES,
    beside=baselines.distinct,
    naive="naive",
    reference=lambda p: "house",
    action_grid=baselines.action_grid,
    picture=Picture("envs.trading.page:market", ("mark", "level", "held", "tally", "shares")),
    unscaled=UNSCALED,
    presets=PRESETS,
    citation="Gould et al. 2013, Limit order books; Kyle 1985; Almgren and Chriss 2000",
)


@dataclass(frozen=True)
class TradingLogParams(TradingParams):
    """The market's, with the bars of a file for its prices."""

    source: str = choice("bars", SOURCES, "prices of a file; legal is bars alone")
    mechanism: str = choice("impact", ("impact", "batch"), "bars say nothing of a book")
    minutes: float = param(390.0, 1e-3, 1e6, "minutes of trading a tick", "daily bars have 390")
    news: float = param(1.0, 0.0, 1.0, "share", "of the bars' moves that the public price follows at once")
    halt_move: float = param(0.5, 1e-4, 10.0, "share", "move of the mid in 20 ticks that halts an asset")

    def validate(self) -> None:
        super().validate()
        if self.source != "bars":
            raise UserError(f"TradingLogParams.source = {self.source!r}: legal is 'bars', the game trading has the other")


def trials(p: TradingLogParams) -> dict[str, TradingLogParams]:
    """The held-out bars, and the same with twice the impact."""
    held = replace(p, split="test")
    return {"held out": held, "held out, twice the impact": replace(held, permanent=2 * p.permanent, temporary=2 * p.temporary)}


TRADING_LOG = replace(TRADING_MARKET, name="trading_log", params=TradingLogParams, presets={}, trials=trials)
