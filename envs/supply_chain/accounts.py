# mypy: allow-untyped-defs, allow-incomplete-defs
"""What a tick costs, what is remembered of it, metrics, and the laws that hold on every step."""

from __future__ import annotations

from envs.supply_chain.forecast import learn
from envs.supply_chain.layout import at_, rate_, way_
from envs.supply_chain.orders import wrapped
from envs.supply_chain.params import MILLI, MOVING
from envs.supply_chain.state import all_, item_, link_, node_, note_, sum_
from marl.compiled import apart, inlined, rule
from marl.game import Column, Component, index, inf

REWARD = {
    "holding": Component(1.0, "cost of stock, components and transit, negative"),
    "shortage": Component(1.0, "cost of what is owed and lost, negative"),
    "ordering": Component(1.0, "fixed cost of orders, negative"),
    "waste": Component(1.0, "cost of what is scrapped, negative"),
    "trade": Component(1.0, "revenue and prices received less prices and expedition paid"),
}
COST = {
    "short": Column(0, inf, "units that came in and were not served at once"),
    "waste": Column(0, inf, "units scrapped"),
    "freight": Column(0, inf, "units that left for the node, times ticks of their way"),
}
METRICS = {
    "cost": Column(-inf, inf, "a tick, the node's"),
    "network_cost": Column(-inf, inf, "a tick, all nodes'"),
    "holding": Column(0, inf, "cost a tick, the node's"),
    "shortage": Column(0, inf, "cost a tick, the node's"),
    "ordering": Column(0, inf, "cost a tick, the node's"),
    "waste": Column(0, inf, "cost a tick, the node's"),
    "trade": Column(-inf, inf, "money a tick, the node's"),
    "fill_rate": Column(0, 1, "share of the units that came in that were served at once"),
    "cycle_service": Column(0, 1, "share of ticks in which all were"),
    "stockout_days": Column(0, inf, "ticks in which not all were"),
    "bullwhip": Column(0, inf, "variance of the node's orders over that of the orders that came in"),
    "orders": Column(0, inf, "mean units ordered in a tick"),
    "stock": Column(0, inf, "mean units on hand"),
    "turns": Column(0, inf, "units shipped over mean stock, a tick"),
    "scrapped": Column(0, inf, "units a tick"),
    "co2": Column(0, inf, "units x ticks of freight in a tick; an expedited unit counts five ticks"),
    "fill_gini": Column(0, 1, "Gini's index of the retailers' fill rates"),
    "recovery": Column(0, inf, "mean ticks from an outage's beginning until no more is owed than at its beginning"),
    "mase": Column(0, inf, "mean absolute error of the forecast over that of the last demand"),
}
AUDIT = ("stock", "pipeline", "backlog", "orders", "network", "money")
reward_, cost_, metric_ = (index(table) for table in (REWARD, COST, METRICS))
COMPONENTS = len(REWARD)


@apart
def content(p, s, b):
    """Raw parts in the network: on hand, as components and under way."""
    total = 0
    for j in range(p.n_agents):
        for k in range(p.products):
            total += s.item[b, j, k, item_.stock] * p.nodes[j, at_.weight]
    for e in range(p.link_count):
        weight = p.nodes[p.links[e, way_.up], at_.weight]
        for k in range(p.products):
            total += (s.link[b, e, k, link_.kit] + s.link[b, e, k, link_.pipe]) * weight
    return total


@rule
def remember(p, s, b, j, counts):
    """Averages, forecasts and their errors, after the tick's orders came in."""
    now = s.t[b] % p.window
    then, before = wrapped(now + p.window - p.window_short, p.window), wrapped(now + p.window - 1, p.window)
    error, naive = 0.0, 0.0
    for k in range(p.products):
        came = s.item[b, j, k, item_.came]
        error += abs(came - s.note[b, j, k, note_.forecast])
        naive += abs(came - s.past[b, j, k, before])
        old = s.past[b, j, k, now]
        s.item[b, j, k, item_.sum_short] += came - s.past[b, j, k, then]
        s.item[b, j, k, item_.sum_long] += came - old
        s.item[b, j, k, item_.sum_square] += came * came - old * old
        s.past[b, j, k, now] = came
        if p.forecast == MOVING:
            s.note[b, j, k, note_.forecast] = s.item[b, j, k, item_.sum_long] / p.window
        else:
            s.note[b, j, k, note_.forecast] = learn(p, s, b, j, k, s.t[b], came)
    s.sum[b, j, sum_.error] += counts * error
    s.sum[b, j, sum_.naive] += counts * naive


@apart
def look_down(p, s, b):
    """Forecasts of customers' demand and echelon stock, passed up from the retailers; a buyer with n suppliers counts as an nth of one."""
    for j in range(p.n_agents):
        for k in range(p.products):
            end = s.note[b, j, k, note_.forecast] if p.nodes[j, at_.retail] >= 0 else 0.0
            stock = float(s.item[b, j, k, item_.stock]) - (s.item[b, j, k, item_.owed] if p.nodes[j, at_.retail] >= 0 else 0)
            for c in range(p.nodes[j, at_.out_first], p.nodes[j, at_.out_last]):
                e = p.out[c]
                buyer = p.links[e, way_.buyer]
                part = 1.0 if p.assembles else 1.0 / (p.nodes[buyer, at_.last] - p.nodes[buyer, at_.first])
                end += part * s.note[b, buyer, k, note_.end]
                stock += part * s.note[b, buyer, k, note_.echelon] + s.link[b, e, k, link_.pipe] + s.link[b, e, k, link_.kit]
            s.note[b, j, k, note_.end], s.note[b, j, k, note_.echelon] = end, stock


@rule
def charge(p, s, b, j, counts, components):
    """The node's own rewards of the tick, and its sums."""
    stock, owed, lost, orders, ordered, came, served, scrapped, shipped = 0, 0, 0, 0, 0, 0, 0, 0, 0
    for k in range(p.products):
        stock += s.item[b, j, k, item_.stock]
        owed += s.item[b, j, k, item_.owed]
        lost += s.item[b, j, k, item_.lost]
        ordered += s.item[b, j, k, item_.ordered]
        orders += 1 if s.item[b, j, k, item_.ordered] > 0 else 0
        came += s.item[b, j, k, item_.came]
        served += s.item[b, j, k, item_.served]
        scrapped += s.item[b, j, k, item_.scrapped]
        shipped += s.item[b, j, k, item_.shipped]
    holding = p.rates[j, rate_.hold] * stock
    for e in range(p.nodes[j, at_.first], p.nodes[j, at_.last]):
        for k in range(p.products):
            holding += p.rates[p.links[e, way_.up], rate_.hold] * (s.link[b, e, k, link_.kit] + p.transit * s.link[b, e, k, link_.pipe])
    money = (s.node[b, j, node_.sold] - s.node[b, j, node_.bought]) / MILLI + (p.revenue * shipped if p.nodes[j, at_.retail] >= 0 else 0.0)
    components[b, j, reward_.holding] = -holding / p.parts
    components[b, j, reward_.shortage] = -p.rates[j, rate_.short] * (owed + lost) / p.parts
    components[b, j, reward_.ordering] = -p.fixed * orders
    components[b, j, reward_.waste] = -p.scrap_cost * scrapped / p.parts
    components[b, j, reward_.trade] = money / p.parts
    s.sum[b, j, sum_.ticks] += counts
    for c in range(COMPONENTS):
        s.sum[b, j, sum_.holding + c] += counts * components[b, j, c]
    s.sum[b, j, sum_.asked] += counts * came / p.parts
    s.sum[b, j, sum_.served] += counts * served / p.parts
    s.sum[b, j, sum_.full] += counts if served == came else 0.0
    s.sum[b, j, sum_.ordered] += counts * ordered / p.parts
    s.sum[b, j, sum_.ordered_square] += counts * (ordered / p.parts) * (ordered / p.parts)
    s.sum[b, j, sum_.came_square] += counts * (came / p.parts) * (came / p.parts)
    s.sum[b, j, sum_.stock] += counts * stock / p.parts
    s.sum[b, j, sum_.shipped] += counts * shipped / p.parts
    s.sum[b, j, sum_.scrapped] += counts * scrapped / p.parts
    s.sum[b, j, sum_.freight] += counts * s.node[b, j, node_.freight] / p.parts
    if s.node[b, j, node_.failed_at] > 0 and s.node[b, j, node_.down] == 0 and owed <= s.node[b, j, node_.failed_owed]:
        s.sum[b, j, sum_.recovered] += counts
        s.sum[b, j, sum_.recovering] += counts * (s.t[b] + 1 - s.node[b, j, node_.failed_at])
        s.node[b, j, node_.failed_at] = 0
    return came - served, scrapped


@rule
def settle(p, s, b, components, cost):
    """Rewards and costs of the tick; every component is the node's own, blended with the team's mean by `cooperation`."""
    counts, mine = 1.0 if s.t[b] >= p.warm_up else 0.0, 1.0 - p.cooperation
    for j in range(p.n_agents):
        s.node[b, j, node_.paid] += s.node[b, j, node_.bought]
        s.node[b, j, node_.earned] += s.node[b, j, node_.sold]
        remember(p, s, b, j, counts)
        short, scrapped = charge(p, s, b, j, counts, components)
        cost[b, j, cost_.short] = short / p.parts
        cost[b, j, cost_.waste] = scrapped / p.parts
        cost[b, j, cost_.freight] = s.node[b, j, node_.freight] / p.parts
    if p.cooperation > 0.0:
        for c in range(COMPONENTS):
            total = 0.0
            for j in range(p.n_agents):
                total += components[b, j, c]
            for j in range(p.n_agents):
                components[b, j, c] = mine * components[b, j, c] + p.cooperation * total / p.n_agents
    if p.share_forecasts:
        look_down(p, s, b)
    s.all[b, all_.content] = content(p, s, b)


@inlined
def spread(total, square, ticks):
    """Variance from a sum, a sum of squares and their number."""
    return max(0.0, square / ticks - (total / ticks) * (total / ticks))


@inlined
def gini(p, s, b):
    """Gini's index of the retailers' fill rates: mean absolute difference over twice the mean."""
    count, total, apart_by = 0, 0.0, 0.0
    for i in range(p.n_agents):
        if p.nodes[i, at_.retail] < 0:
            continue
        own = s.sum[b, i, sum_.served] / s.sum[b, i, sum_.asked] if s.sum[b, i, sum_.asked] > 0.0 else 1.0
        count += 1
        total += own
        for j in range(p.n_agents):
            if p.nodes[j, at_.retail] >= 0:
                other = s.sum[b, j, sum_.served] / s.sum[b, j, sum_.asked] if s.sum[b, j, sum_.asked] > 0.0 else 1.0
                apart_by += abs(own - other)
    return apart_by / (2.0 * count * total) if total > 0.0 else 0.0


@apart
def measure(p, s, b, metrics):
    unfair, whole = gini(p, s, b), 0.0
    for j in range(p.n_agents):
        ticks = max(1.0, s.sum[b, j, sum_.ticks])
        earned = 0.0
        for c in range(COMPONENTS):
            earned += s.sum[b, j, sum_.holding + c]
        whole -= earned / ticks
        metrics[b, j, metric_.cost] = -earned / ticks
        metrics[b, j, metric_.holding] = -s.sum[b, j, sum_.holding] / ticks
        metrics[b, j, metric_.shortage] = -s.sum[b, j, sum_.shortage] / ticks
        metrics[b, j, metric_.ordering] = -s.sum[b, j, sum_.ordering] / ticks
        metrics[b, j, metric_.waste] = -s.sum[b, j, sum_.waste] / ticks
        metrics[b, j, metric_.trade] = s.sum[b, j, sum_.trade] / ticks
        asked, stock = s.sum[b, j, sum_.asked], s.sum[b, j, sum_.stock]
        metrics[b, j, metric_.fill_rate] = min(1.0, s.sum[b, j, sum_.served] / asked) if asked > 0.0 else 1.0
        metrics[b, j, metric_.cycle_service] = s.sum[b, j, sum_.full] / ticks
        metrics[b, j, metric_.stockout_days] = s.sum[b, j, sum_.ticks] - s.sum[b, j, sum_.full]
        came = spread(asked, s.sum[b, j, sum_.came_square], ticks)
        ordered = spread(s.sum[b, j, sum_.ordered], s.sum[b, j, sum_.ordered_square], ticks)
        metrics[b, j, metric_.bullwhip] = ordered / came if came > 1e-9 else 0.0
        metrics[b, j, metric_.orders] = s.sum[b, j, sum_.ordered] / ticks
        metrics[b, j, metric_.stock] = stock / ticks
        metrics[b, j, metric_.turns] = s.sum[b, j, sum_.shipped] / stock if stock > 0.0 else 0.0
        metrics[b, j, metric_.scrapped] = s.sum[b, j, sum_.scrapped] / ticks
        metrics[b, j, metric_.co2] = s.sum[b, j, sum_.freight] / ticks
        metrics[b, j, metric_.fill_gini] = unfair
        over = s.sum[b, j, sum_.recovered]
        metrics[b, j, metric_.recovery] = s.sum[b, j, sum_.recovering] / over if over > 0.0 else 0.0
        naive = s.sum[b, j, sum_.naive]
        metrics[b, j, metric_.mase] = s.sum[b, j, sum_.error] / naive if naive > 0.0 else 0.0
    for j in range(p.n_agents):
        metrics[b, j, metric_.network_cost] = whole


@apart
def balance(p, s, b, residual):
    """Whole parts and thousandths that are off, summed over nodes, links and products without their signs, each 0 on every step.

    stock' = stock + arrived + made - shipped - scrapped, and of components; pipeline' = pipeline + sent - arrived; owed' = owed + came -
    shipped - lost, and of links; what is ordered and not on hand is under way as order, owed, under way or waiting as component; the
    network's raw units change by what came in, left and was scrapped; what is paid is earned by somebody.
    """
    for c in range(len(AUDIT)):
        residual[b, c] = 0.0
    stock, pipeline, backlog, orders, money = 0, 0, 0, 0, s.all[b, all_.paid_out]
    for j in range(p.n_agents):
        money += s.node[b, j, node_.earned] - s.node[b, j, node_.paid]
        for k in range(p.products):
            here, was = s.item[b, j, k, item_.stock], s.item[b, j, k, item_.was_stock]
            moved = s.item[b, j, k, item_.arrived] + s.item[b, j, k, item_.made]
            stock += abs(here - was - moved + s.item[b, j, k, item_.shipped] + s.item[b, j, k, item_.scrapped])
            owed, left = s.item[b, j, k, item_.owed], s.item[b, j, k, item_.shipped] + s.item[b, j, k, item_.lost]
            backlog += abs(owed - s.item[b, j, k, item_.was_owed] - s.item[b, j, k, item_.came] + left)
            if p.nodes[j, at_.retail] < 0:
                for c in range(p.nodes[j, at_.out_first], p.nodes[j, at_.out_last]):
                    owed -= s.link[b, p.out[c], k, link_.owed]
                backlog += abs(owed)
            coming, found = s.item[b, j, k, item_.coming], 0
            for e in range(p.nodes[j, at_.first], p.nodes[j, at_.last]):
                pipe, wire = 0, 0
                for i in range(p.slots):
                    pipe += s.pipe[b, e, k, i]
                for i in range(p.wires):
                    wire += s.wire[b, e, k, i]
                moved = s.link[b, e, k, link_.sent] - s.link[b, e, k, link_.arrived]
                pipeline += abs(pipe - s.link[b, e, k, link_.was_pipe] - moved) + abs(pipe - s.link[b, e, k, link_.pipe])
                kit = s.link[b, e, k, link_.kit]
                came = s.link[b, e, k, link_.arrived] - s.item[b, j, k, item_.made] if p.assembles else 0
                stock += abs(kit - s.link[b, e, k, link_.was_kit] - came)
                owes = s.link[b, e, k, link_.owed] - s.link[b, e, k, link_.was_owed]
                backlog += abs(owes - s.link[b, e, k, link_.placed] + s.link[b, e, k, link_.sent])
                if p.assembles:
                    orders += abs(coming - wire - s.link[b, e, k, link_.owed] - pipe - kit)
                else:
                    found += wire + s.link[b, e, k, link_.owed] + pipe
            orders += 0 if p.assembles else abs(coming - found)
    change = s.all[b, all_.raw] - s.all[b, all_.sold] - s.all[b, all_.scrapped]
    residual[b, 0], residual[b, 1], residual[b, 2] = stock, pipeline, backlog
    residual[b, 3], residual[b, 5] = orders, money
    residual[b, 4] = s.all[b, all_.content] - s.all[b, all_.was_content] - change
