# mypy: allow-untyped-defs, allow-incomplete-defs
"""The market's state: few arrays with named columns, so that what belongs to one asset or trader lies together and compiles fast."""

from __future__ import annotations

from typing import NamedTuple

from marl.compiled import rule
from marl.game import F8, I8, array, index

RING = 32
"""Latest mids that are kept."""
MARK = (
    "mid", "seen", "base", "flow", "volume", "traded", "high", "low", "halted", "halts", "since", "net", "call", "bid", "ask",
)  # fmt: skip
"""Whole numbers of an asset. Prices in millionths of a dollar: mid, mid at the beginning of the tick, highest and lowest of the tick; the
tick at level 0 of the grid. Of the tick: shares bought less sold by who came, shares traded, their notional. Ticks that a halt still lasts,
halts of the episode, ticks since the last one; the agents' orders, bought less sold; price of the call; levels
of the best bid (-1: none) and ask (64: none). Behind these columns: shares bid for and offered at 0 to 16 ticks from the mid, in a call."""
LADDER = len(MARK)
"""First of the columns of shares bid for; those of shares offered are RUNGS behind."""
RUNGS = 17
LAW = (
    "value", "anchor", "signal", "variance", "pressure", "gap", "move_flow", "flow_flow", "arrival",
    "ema_12", "ema_26", "gain", "loss", "atr", "money", "volume", "bars",
)  # fmt: skip
"""Quantities of an asset: fundamental value and public price in $, noise of the private signal; averages of the squared return and of the
signed flow in lots; sums over ticks: squared log distance of mid and value, mid's moves x flows, squared flows; the first mid, millionths.
Of indicators, $: exponential averages, Wilder's averages of gains, losses and the true range, notional and volume so far; closes so far."""
HELD = ("rested", "entry", "parent", "bid_at", "bid_size", "ask_at", "ask_size", "order")
"""Whole numbers of a trader in an asset: shares that came in the tick while resting, what the shares at hand cost;
the parent order (above 0: to sell). The quotes and the order of the tick: ticks from the mid (-1: none), shares, shares to buy."""
PART = ("spread", "inventory", "adverse", "fees", "impact")
"""Parts of a trader's profit since the beginning, millionths of a dollar; the first columns of TALLY."""
TALLY = (*PART, "turnover", "rested", "quoted", "called", "broke", "start", "last", "valued", "opened", "turn")
"""Whole numbers of a trader: the parts; notional traded, shares traded resting, shares quoted, margin calls, 1 where it may trade no more;
equity at the beginning and at the last mark, millionths; cash and shares at the first mids, at the last mark and at the beginning; in row
i, the agent whose turn is number i."""
FORM = ("peak", "drawdown", "mean", "square", "gross", "shortfall", "opening")
"""Quantities of a trader: highest equity so far, largest fall from it as a share; sums of equity's changes and of their squares in $;
exposure in $; shortfall in $; notional of its parent orders in $."""
ALL = ("regime", "crash", "offset")
"""Whole numbers of the market: the regime, ticks to the end of a crisis that broke out (0: none did, -1: it is over),
the first bar of the episode."""

mark_, law_, held_, tally_, form_, all_ = (index(dict.fromkeys(names)) for names in (MARK, LAW, HELD, TALLY, FORM, ALL))


class TradingState(NamedTuple):
    cash: I8 = array("traders")  # [B, A + 1] millionths of a dollar
    shares: I8 = array("traders", "assets")  # [B, A + 1, M]
    fees: I8 = array()  # [B]
    mark: I8 = array("assets", len(MARK) + 2 * RUNGS)  # [B, M, 49]
    law: F8 = array("assets", len(LAW))  # [B, M, 17]
    ring: F8 = array("assets", RING)  # [B, M, 32] mids in $, that of tick t at t modulo 32
    seen: F8 = array("assets", "market_columns")  # [B, M, C] what all see of an asset
    held: I8 = array("traders", "assets", len(HELD))  # [B, A + 1, M, 8]
    tally: I8 = array("traders", len(TALLY))  # [B, A + 1, 15]
    form: F8 = array("traders", len(FORM))  # [B, A + 1, 7]
    all: I8 = array(len(ALL))  # [B, 3]
    late: F8 = array("traders", 3, "action_columns")  # [B, A + 1, 3, U] actions that are due now, in one tick, in two
    level: I8 = array("assets", "grid", 3)  # [B, M, 64, 3], see envs.trading.book
    order: I8 = array("assets", "slots", 6)  # [B, M, 2 A + 64, 6]


class Desk(NamedTuple):
    """The arrays of a state that trades touch. Rules that are called from many places get these instead of all: they compile faster."""

    cash: I8
    shares: I8
    fees: I8
    mark: I8
    held: I8
    tally: I8
    level: I8
    order: I8


class Terms(NamedTuple):
    """The parameters that trades need."""

    n_agents: int
    assets: int
    seats: int
    tick_size: int
    maker_fee: float
    taker_fee: float


@rule
def desk_of(s):
    return Desk(s.cash, s.shares, s.fees, s.mark, s.held, s.tally, s.level, s.order)


@rule
def terms_of(p):
    return Terms(p.n_agents, p.assets, p.seats, p.tick_size, p.maker_fee, p.taker_fee)
