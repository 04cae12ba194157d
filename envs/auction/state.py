"""The state of mode advertising: few arrays with named columns, so that what belongs together lies together and compiles fast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from envs.auction.params import STAGES, TOUCHES
from marl import compiled
from marl.game import F4, F8, I8, array, index

apart, inlined = compiled.wide(compiled.apart), compiled.wide(compiled.inlined)
"""Of the rules of this state, which is wide."""
I1 = npt.NDArray[np.int8]
I2 = npt.NDArray[np.int16]
I4 = npt.NDArray[np.int32]
OWN = (
    "left", "spent", "day_spent", "shown", "clicks", "top", "places", "drawn", "seen", "expired", "later",
    "later_tracked", "waiting", "tracked",
    "wins", "exhausted", "over_target", "won",
    "tick_spent", "tick_shown", "tick_clicks", "tick_seen", "tick_tracked", "tick_top", "tick_places", "tick_won", "tick_drawn",
    "tick_overpaid", "tick_wins", "day_left",
)  # fmt: skip
"""Whole numbers of an advertiser. Money in micro-dollars: left, spent, of the day; value won. Exposures, clicks, exposures in the first
position, sum of positions (from 1); conversions drawn, seen, lost after the window, due after the episode and those of them, and of the
seen, that are tracked; auctions won; tick after which the budget was spent; ticks above the target.
`waiting` are tracked conversions that are not seen yet. What starts with `tick` is of the last tick."""
MEAN = (
    "scale", "admit", "pace", "summed", "split", "hope", "hoped", "glow", "glowed", "confidence", "pricing", "cell",
    "tick_ad_value", "tick_prices", "tick_squares", "tick_values", "tick_value_squares", "tick_safety", "tick_looked",
    "tick_lost", "tick_least", "tick_rival",
    "multipliers", "miss", "safety", "allocation", "estimation", "overbid", "underbid", "down", "usual", "novelty",
    "phi",
)  # fmt: skip
"""Quantities of an advertiser. Of the action: multiplier (or bid, $), chance to take part in an auction, A/B split, pricing, strategy cell.
Of the pacing layer: factor on bids and its summed error. Expected value of pending conversions ($) and freshness x channel efficiency, with
what they were a tick ago. Share of a conversion's touches that is linked. Sums over the last tick: prices and estimated values of auctions
($), safety; over its audited auctions: how many, lost above the value, least winning bids, best rival bids. Sums over the episode, the four
regrets ($) among them; running downside and mean of the reward; share of the episode's first visits."""
CELL = ("fixed", "slope", "weight", "click", "value")
"""Of a kind of impression to an advertiser: a bid is fixed + slope x estimate, its score bid x weight; click rate now, and the
expected value of an exposure at relevance 1 (micro-dollars)."""
ARM = ("shown", "clicks", "spent", "sales", "waiting")
"""Of a channel or creative type to an advertiser, with a memory of a day or so: exposures, clicks, micro-dollars, credited conversions, and
credit that waits."""
SEG = ("log_rate", "regime", "rate")
"""Of a segment: drifting logarithm of its conversion rate, its regime's, and their factor."""
WHOLE = ("prices", "best_bids", "allocated", "best", "fast", "slow", "noise")
"""Of all advertisers: the last tick's summed prices and best bids ($); value of the audited auctions as allocated and at best ($); fast and
slow mean of the price, and mean square of its changes."""
ALL = ("revenue", "clock", "sold", "tick_sold", "audited")
"""Whole numbers of all: micro-dollars, ticks since the copy began, positions sold, audited auctions."""
USER = ("segment", "mobile", "touches", "sales")
"""Of an individual: segment, whether the main device is mobile (1), touches so far, conversions so far."""

SALE = ("estimate", "bid", "position", "exposed", "converted", "paid", "least")
"""Of an advertiser in an auction: estimated chance of a conversion by an exposure, bid per exposure, position won (from 1; 0: none),
exposures (0 or 1) and conversions drawn, payment, and the least bid that wins a position. Money in micro-dollars."""

own_, mean_, cell_, arm_, seg_, whole_, all_, user_, sale_ = (
    index(dict.fromkeys(t)) for t in (OWN, MEAN, CELL, ARM, SEG, WHOLE, ALL, USER, SALE)
)
FULL = 32_767
"""Conversions that a tick's cell of the ring holds; more are seen a tick later."""
PICKS = 2
"""Creatives in use for a segment: variant A and variant B."""


class MarketState(NamedTuple):
    own: I8 = array("n_agents", len(OWN))
    mean: F4 = array("n_agents", len(MEAN))
    money: F8 = array("n_agents")  # [B, A] what may still be spent now, micro-dollars
    cell: F4 = array("cells", len(CELL), "n_agents")
    tired: F4 = array("n_agents", "creatives")  # [B, A, C] freshness lost, in [0, 1]
    made: I4 = array("n_agents", "creatives", "segments", 2)  # exposures and clicks
    pick: I1 = array("n_agents", "segments", PICKS)  # creative in use
    pool: I4 = array("n_agents", "segments", STAGES)  # users
    arm: F4 = array("n_agents", "arms", len(ARM))
    place: I4 = array("n_agents", "slots")  # exposures by position
    ring: I2 = array("n_agents", "ring_cells", 2)  # conversions due at a tick, and those of them that are tracked
    ledger: I4 = array("n_agents", "segments", TOUCHES)  # the latest clicks of a segment's users, see `journey`
    met: I4 = array("n_agents", "sets", 2)  # paths with this set of channels, and those that converted
    segment: F8 = array("segments", len(SEG))
    whole: F8 = array(len(WHOLE))
    all: I8 = array(len(ALL))
    visits: I4 = array("n_agents", "strategies")  # ticks in which a strategy cell was played
    poured: F8 = array("n_agents", "strategies")  # [B, A, cells] micro-dollars spent in it
    user: I4 = array("cohort_size", len(USER))
    stage: I1 = array("cohort_size", "n_agents")
    path: I8 = array("cohort_size", TOUCHES)
    lifetime: F8 = array("cohort_size")  # [B, M] $ of conversions so far
    scores: F8 = array("ranks")  # [B, slots + 1] scratch of an auction
    ranked: I8 = array("ranks")
    touch: F8 = array(3, TOUCHES + 1)  # scratch of a path: age (ticks), channel, weight of its tracked touches
    sale: F8 = array("recorded", "n_agents", len(SALE))  # of the last tick's auctions, where asked for
    value: F8 = array("subsets")  # scratch: worth of a set of channels
