# mypy: allow-untyped-defs, allow-incomplete-defs
"""The supply chain: agents order for the nodes of one network, whose stock, capacity and room they share.

A tick: 1 regimes change, nodes fail or come back; 2 what is due is received; 3 orders leave, and those that are due arrive at suppliers,
customers' demand arrives at retailers: orders before demand see the last tick's, orders after demand this one's; 4 the outside ships; 5
nodes assemble and ship, what was owed before first, and scrap what they have no room for; 6 costs; 7 all see.

Units are whole parts, so that what is on hand, under way and owed adds up exactly on every tick. A lead of L ticks from a shipment to
its receipt covers L + 1 demands with orders before demand, L with orders after it; lags of orders come on top.
"""

from __future__ import annotations

from envs.supply_chain.accounts import content, look_down, settle
from envs.supply_chain.demand import begin_demand, shift, want
from envs.supply_chain.forecast import begin_belief
from envs.supply_chain.layout import at_, each_, opening_, way_
from envs.supply_chain.orders import order
from envs.supply_chain.shipping import open_tick, ship_all
from envs.supply_chain.state import ALL, ITEM, LINK, NODE, SUM, all_, item_, link_, node_, note_
from marl.compiled import apart, rule
from marl.game import RUNNING, TERMINATED, TRUNCATED


@apart
def begin(p, s, b):
    for i in range(len(ALL)):
        s.all[b, i] = 0
    begin_demand(p, s, b)
    for j in range(p.n_agents):
        for i in range(len(NODE)):
            s.node[b, j, i] = 0
        s.node[b, j, node_.tariff] = p.nodes[j, at_.tariff]
        for i in range(len(SUM)):
            s.sum[b, j, i] = 0.0
        for k in range(p.products):
            begin_item(p, s, b, j, k)
    for e in range(p.link_count):
        for k in range(p.products):
            begin_link(p, s, b, e, k)
    if p.share_forecasts:
        look_down(p, s, b)
    s.all[b, all_.content] = content(p, s, b)


@rule
def begin_item(p, s, b, j, k):
    """Stock as given; a history of mean demands."""
    for i in range(len(ITEM)):
        s.item[b, j, k, i] = 0
    usual = int(p.each[j, k, each_.scale] + 0.5)
    s.item[b, j, k, item_.stock] = p.opening[j, k, opening_.stock]
    s.item[b, j, k, item_.came] = usual
    for i in range(p.window):
        s.past[b, j, k, i] = usual
    s.item[b, j, k, item_.sum_short] = usual * p.window_short
    s.item[b, j, k, item_.sum_long] = usual * p.window
    s.item[b, j, k, item_.sum_square] = usual * usual * p.window
    begin_belief(p, s, b, j, k, p.each[j, k, each_.scale])
    s.note[b, j, k, note_.fill] = 1.0
    s.note[b, j, k, note_.lead] = p.links[p.nodes[j, at_.first], way_.lead] + 0.5 * p.lead_noise
    s.note[b, j, k, note_.forecast] = p.each[j, k, each_.scale]
    s.note[b, j, k, note_.end] = s.note[b, j, k, note_.echelon] = 0.0


@rule
def begin_link(p, s, b, e, k):
    """Shipments and orders under way as given, split among the buyer's suppliers in cumulated whole parts."""
    j = p.links[e, way_.buyer]
    count, number = p.nodes[j, at_.last] - p.nodes[j, at_.first], e - p.nodes[j, at_.first]
    whole = p.opening[j, k, opening_.slot]
    each = whole if p.assembles else whole * (number + 1) // count - whole * number // count
    for i in range(len(LINK)):
        s.link[b, e, k, i] = 0
    for i in range(p.slots):
        s.pipe[b, e, k, i] = each if i < p.links[e, way_.lead] else 0
    for i in range(p.wires):
        s.wire[b, e, k, i] = each if i < p.links[e, way_.lag] else 0
    s.link[b, e, k, link_.pipe] = each * p.links[e, way_.lead]
    s.link[b, e, k, link_.wire] = each * p.links[e, way_.lag]
    if number == 0 or not p.assembles:
        s.item[b, j, k, item_.coming] += each * (p.links[e, way_.lead] + p.links[e, way_.lag])


@apart
def step(p, s, b, action, components, cost):
    shift(p, s, b)
    open_tick(p, s, b)
    want(p, s, b)
    if p.pricing:
        for j in range(p.n_agents):
            s.node[b, j, node_.tariff] = int(action[b, j, p.price_column] * p.nodes[j, at_.tariff] + 0.5)
    order(p, s, b, action)
    ship_all(p, s, b, action)
    settle(p, s, b, components, cost)
    if s.t[b] + 1 < p.horizon:
        return RUNNING
    return TRUNCATED if p.continuing else TERMINATED
