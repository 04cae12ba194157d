"""The supply chain's state: few arrays with named columns. Units are counted in whole parts, money in thousandths times parts."""

from __future__ import annotations

from typing import NamedTuple

from marl.game import F8, I8, array, index

ITEM = (
    "stock", "owed", "coming", "came", "asked", "ordered", "arrived", "made", "shipped", "scrapped", "served", "lost",
    "was_stock", "was_owed", "sum_short", "sum_long", "sum_square",
)  # fmt: skip
"""Of a node and product, in parts: what is on hand, owed to buyers or customers, ordered and not on hand yet.

Of the tick: orders that came in, customers' demand among them, what was ordered, received, made of components, shipped (to customers:
sold), scrapped, shipped of what came in this tick, lost; stock and debt at its beginning. Sums of incoming orders over the windows."""
LINK = ("owed", "placed", "sent", "arrived", "pipe", "wire", "kit", "was_owed", "was_pipe", "was_kit")
"""Of a link and product, in parts: what its supplier owes its buyer, orders that arrived and shipments that left and came in this tick,
all that is under way, orders under way, components that wait to be assembled; what was at the beginning of the tick."""
NODE = ("down", "failed_at", "failed_owed", "paid", "earned", "bought", "sold", "freight", "tariff")
"""Of a node: ticks to the end of its outage; tick of the last failure + 1 until it has recovered from it, and what was owed then;
thousandths of money x parts paid and earned in the episode and in the tick; parts x ticks of freight in the tick;
thousandths of money that its buyers pay a unit."""
NOTE = (
    "fill", "lead", "forecast", "end", "echelon", "wave", "level", "trend", "size", "gap", "since", "mean", "variance", "covariance",
    "last",
)  # fmt: skip
"""Of a node and product: averages of the share of what its suppliers owed that they shipped, and of ticks that its shipments take;
the forecast of its next incoming orders, of customers' demand downstream, in parts; echelon stock less what customers are owed; the
deviation of ar1 demand from its mean; from `level` on what forecasters know, in parts."""
SUM = (
    "ticks", "holding", "shortage", "ordering", "waste", "trade", "asked", "served", "full", "ordered", "ordered_square", "came",
    "came_square", "stock", "shipped", "scrapped", "freight", "error", "naive", "recovered", "recovering",
)  # fmt: skip
"""Of a node, over ticks after the warm-up: ticks; costs by component; units that came in and were served at once, ticks in which all
were; units ordered and come in with their squares; stock, shipped and scrapped units, units x ticks of freight; absolute errors of the
forecast and of the last demand for one; outages overcome and the ticks from their beginnings."""
ALL = ("content", "was_content", "raw", "sold", "scrapped", "paid_out", "offset", "regime")
"""Of the network: raw parts in it now and before the tick, that came in, left to customers, were scrapped in the tick; money paid to the
outside in the episode; day of the trace at the beginning; 1 in the other regime."""

item_, link_, node_, note_, sum_, all_ = (index(dict.fromkeys(names)) for names in (ITEM, LINK, NODE, NOTE, SUM, ALL))


class SupplyState(NamedTuple):
    item: I8 = array("n_agents", "products", len(ITEM))  # [B, N, P, 17]
    link: I8 = array("link_count", "products", len(LINK))  # [B, E, P, 10]
    pipe: I8 = array("link_count", "products", "slots")  # [B, E, P, H] shipments by tick of receipt modulo H
    wire: I8 = array("link_count", "products", "wires")  # [B, E, P, G] orders by tick of arrival modulo G
    past: I8 = array("n_agents", "products", "window")  # [B, N, P, W] incoming orders by tick modulo W
    node: I8 = array("n_agents", len(NODE))  # [B, N, 9]
    note: F8 = array("n_agents", "products", len(NOTE))  # [B, N, P, 15]
    season: F8 = array("n_agents", "products", "season_slots")  # [B, N, P, S]
    sum: F8 = array("n_agents", len(SUM))  # [B, N, 21]
    all: I8 = array(len(ALL))  # [B, 8]
