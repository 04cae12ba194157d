"""Columns of the market: what all see of an asset, what is a trader's own, rewards, costs, metrics."""

from __future__ import annotations

from typing import Any

from envs.trading.indicators import INDICATORS
from envs.trading.params import IDLE, ROLES, TradingParams
from marl.game import ActionTable, Column, Component, Role, index, inf

GLOBAL = {
    "time_left": Column(0, 1, "share of the horizon"),
    "equity": Column(-inf, inf, "over the cash at the beginning"),
    "leverage": Column(0, inf, "exposure over equity, at most 100"),
    "margin_buffer": Column(-inf, inf, "equity less what margin calls begin at, over the cash at the beginning"),
    "agents": Column(0, 1, "logarithm of their number over that of 128"),
    "role": Column(0, 1, "own, in the order of ROLES"),
}
MARKET = {
    "return_1": Column(-inf, inf, "of the mid over one tick, in standard deviations of a calm tick"),
    "return_5": Column(-inf, inf, "over five, the same times the root of five"),
    "return_20": Column(-inf, inf, "over twenty"),
    "realised_vol": Column(0, inf, "average squared return's root, in standard deviations of a calm tick"),
    "spread_ticks": Column(0, inf, "best ask less best bid; twice the half spread off the book"),
    "microprice_dev": Column(-inf, inf, "ticks of the mid weighted by sizes from the mid"),
    "imbalance_1": Column(-1, 1, "shares at the best bid less ask over both"),
    "imbalance_3": Column(-1, 1, "the same of three prices"),
    "signed_flow": Column(-inf, inf, "lots a tick that came to buy less to sell, average"),
}
OWN = {
    "inventory": Column(-inf, inf, "shares over the limit, an executor's over its parent order"),
    "queue_bid": Column(0, 1, "share of the shares at its price that stand before the own bid, 1 without one"),
    "queue_ask": Column(0, 1, "the same of the ask"),
    "unrealised": Column(-inf, inf, "worth of the holding less what it cost, over a thousandth of the cash"),
    "private_signal": Column(-inf, inf, "of the informed: log value over mid, in standard deviations of a calm tick, with noise"),
    "parent_left": Column(-1, 1, "of executors: still to sell (above 0) or to buy, share of the parent order"),
}
ORDER = f"nothing up to {IDLE:g} of either sign, beyond it the cube of the share of the way to 1, in largest orders"
QUOTE_SIZE = Column(0, 1, "its cube in largest orders")
REWARD = {
    "gain": Component(1.0, "change of equity over a thousandth of the cash; executors: minus their shortfall; portfolios: log x 1000"),
    "risk": Component(1.0, "aversion x variance of the holdings in a tick, negative"),
    "last": Component(1.0, "aversion x squared last holdings, negative"),
}
COST = {"exposure": Column(0, inf, "gross holdings over the cash at the beginning"), "broke": Column(0, 1, "1 once the equity is gone")}
METRICS = {
    "profit": Column(-inf, inf, "$, change of equity"),
    "pnl_spread": Column(-inf, inf, "$, part of the profit: distance to the mid of what was traded resting"),
    "pnl_inventory": Column(-inf, inf, "$, part: moves of the mid on what is held"),
    "pnl_adverse": Column(-inf, inf, "$, part: moves of the mid in the tick in which a resting order was met"),
    "pnl_fees": Column(-inf, inf, "$, part: fees and interest, negative"),
    "pnl_impact": Column(-inf, inf, "$, part: distance to the mid of what was come for"),
    "turnover": Column(0, inf, "notional traded over the equity at the beginning"),
    "fill_ratio": Column(0, 1, "shares traded resting over shares quoted, tick by tick"),
    "drawdown": Column(0, inf, "largest fall of equity from a peak, share of the peak"),
    "sharpe": Column(-inf, inf, "mean over deviation of equity's changes, a root of a year"),
    "shortfall_bps": Column(-inf, inf, "basis points of executors' parent orders at the first mids"),
    "growth": Column(-inf, inf, "logarithm of last over first equity"),
    "margin_calls": Column(0, inf, "ticks"),
    "mispricing": Column(0, inf, "root mean square log distance of mid and value, in standard deviations of a calm tick"),
    "kyle_lambda": Column(-inf, inf, "$ a lot: slope of the mid's moves on the flow of those who came"),
    "volume_hhi": Column(0, 1 + 1e-9, "Herfindahl's index of the agents' volumes"),
    "halts": Column(0, inf, "of an asset, mean"),
}
AUDIT = ("cash", "shares", "profit", "crossed")
global_, market_, own_, reward_, cost_, metric_ = (index(table) for table in (GLOBAL, MARKET, OWN, REWARD, COST, METRICS))


def columns(p: TradingParams) -> dict[str, Any]:
    """What every trader sees: its account, then of each asset of its desk what all see and what is its own."""
    market = MARKET | (INDICATORS if p.indicators else {})
    seen = dict(GLOBAL)
    for j in range(p.seats):
        seen |= {f"{name}_of_{j}": column for name, column in (market | OWN).items()}
    return seen


def portfolio_columns(p: TradingParams) -> dict[str, Any]:
    """What portfolios see beside; the width of a row tells it from the others'."""
    return columns(p) | {"first": Column(0, 1, "number of the desk's first asset over that of assets")}


def roles(p: TradingParams) -> tuple[Role, ...]:
    """Those that there are, each with what it may do in each asset of its desk."""
    found = []
    for name, n in zip(ROLES, p.counts, strict=True):
        if n > 0:
            action = {f"{said}_of_{j}": column for j in range(p.seats) for said, column in sayings(p)[name].items()}
            found.append(Role(name, n, portfolio_columns(p) if name == "portfolio" else columns(p), action))
    return tuple(found)


def sayings(p: TradingParams) -> dict[str, ActionTable]:
    """Role -> its columns of an asset. Who makes prices quotes two sides; who works a parent order off quotes on its side alone."""
    offset = Column(0, p.farthest + 1, f"ticks from the mid, from {p.farthest + 0.5:g} on: none")
    taken = {"market_qty": Column(-1, 1, f"bought, sold below 0: {ORDER}")}
    made = {"bid_offset": offset, "ask_offset": offset, "quote_size": QUOTE_SIZE, **taken}
    worked = {"offset": offset, "quote_size": QUOTE_SIZE, "market_qty": Column(0, 1, f"of what is left to trade: {ORDER}")}
    weight = {"weight": Column(-2, 2, "target share of the equity")}
    return dict(zip(ROLES, (made, worked, taken, taken, weight), strict=True))
