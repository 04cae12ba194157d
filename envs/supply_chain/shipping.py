# mypy: allow-untyped-defs, allow-incomplete-defs
"""Shipments: receipts, assembly, what leaves under capacity and scarcity, what is scrapped.

What falls short goes first to what was owed before the tick, then to new orders; within each, in proportion to what is owed (whole parts
by cumulated rounding, from another buyer each tick), to buyers in their order, or in proportion to weights x what is owed.
"""

from __future__ import annotations

from envs.supply_chain.demand import LEADS, SUPPLY
from envs.supply_chain.layout import at_, way_
from envs.supply_chain.orders import LEAST_WEIGHT, wrapped
from envs.supply_chain.params import LEARNED, LOST, PRIORITY
from envs.supply_chain.state import all_, item_, link_, node_, note_
from marl.compiled import inlined, rule
from marl.rng import draw, stream

FAST_FREIGHT = 5
"""Ticks of freight that an expedited unit counts as."""
SPEED = 0.1
"""Weight of the last shipment in averages of fill rates and lead times."""


@rule
def open_tick(p, s, b):
    """Keep what was, clear what counts the tick, receive what is due."""
    now = s.t[b] % p.slots
    for j in range(p.n_agents):
        s.node[b, j, node_.bought] = s.node[b, j, node_.sold] = s.node[b, j, node_.freight] = 0
        for k in range(p.products):
            s.item[b, j, k, item_.was_stock] = s.item[b, j, k, item_.stock]
            s.item[b, j, k, item_.was_owed] = s.item[b, j, k, item_.owed]
            for c in (item_.arrived, item_.made, item_.shipped, item_.scrapped, item_.served, item_.lost):
                s.item[b, j, k, c] = 0
    for e in range(p.link_count):
        for k in range(p.products):
            s.link[b, e, k, link_.was_owed] = s.link[b, e, k, link_.owed]
            s.link[b, e, k, link_.was_pipe] = s.link[b, e, k, link_.pipe]
            s.link[b, e, k, link_.was_kit] = s.link[b, e, k, link_.kit]
            s.link[b, e, k, link_.sent] = s.link[b, e, k, link_.arrived] = 0
            due = s.pipe[b, e, k, now]
            s.pipe[b, e, k, now] = 0
            receive(p, s, b, e, k, due)
    s.all[b, all_.was_content] = s.all[b, all_.content]
    s.all[b, all_.raw] = s.all[b, all_.sold] = s.all[b, all_.scrapped] = 0


@inlined
def receive(p, s, b, e, k, units):
    """Units leave the way of link e: into stock, or into the components of an assembler."""
    s.link[b, e, k, link_.pipe] -= units
    s.link[b, e, k, link_.arrived] += units
    if p.assembles:
        s.link[b, e, k, link_.kit] += units
    else:
        j = p.links[e, way_.buyer]
        s.item[b, j, k, item_.stock] += units
        s.item[b, j, k, item_.arrived] += units
        s.item[b, j, k, item_.coming] -= units


@inlined
def assemble(p, s, b, j):
    """Whole kits become units."""
    for k in range(p.products):
        made = s.link[b, p.nodes[j, at_.first], k, link_.kit]
        for e in range(p.nodes[j, at_.first] + 1, p.nodes[j, at_.last]):
            made = min(made, s.link[b, e, k, link_.kit])
        for e in range(p.nodes[j, at_.first], p.nodes[j, at_.last]):
            s.link[b, e, k, link_.kit] -= made
        s.item[b, j, k, item_.made] += made
        s.item[b, j, k, item_.stock] += made
        s.item[b, j, k, item_.coming] -= made


@inlined
def send(p, s, b, i, e, k, now, units, debt, action):
    """Units leave supplier i by link e, of `debt` owed there: the expedited share in one tick, the rest in the lead time of the tick."""
    j, lead = p.links[e, way_.buyer], p.links[e, way_.lead]
    s.link[b, e, k, link_.owed] -= units
    s.link[b, e, k, link_.sent] += units
    s.link[b, e, k, link_.pipe] += units
    if debt > 0:
        s.note[b, j, k, note_.fill] += SPEED * (units / debt - s.note[b, j, k, note_.fill])
    if units == 0:
        return
    lead += int(draw(stream(s, b, LEADS), e) * (p.lead_noise + 1)) if p.lead_noise > 0 and lead > 0 else 0
    s.note[b, j, k, note_.lead] += SPEED * (lead - s.note[b, j, k, note_.lead])
    fast = int(action[b, j, p.fast_column] * units) if p.expedite and lead > 1 else 0
    s.node[b, j, node_.freight] += fast * FAST_FREIGHT + (units - fast) * lead
    s.node[b, j, node_.bought] += units * tariff_of(p, s, b, i) + fast * p.expedite_milli
    if lead == 0:
        receive(p, s, b, e, k, units)
    else:
        s.pipe[b, e, k, wrapped(now + lead, p.slots)] += units - fast
        s.pipe[b, e, k, wrapped(now + 1, p.slots)] += fast
    if i < p.n_agents:
        s.node[b, i, node_.sold] += units * s.node[b, i, node_.tariff]
        s.item[b, i, k, item_.stock] -= units
        s.item[b, i, k, item_.shipped] += units
        s.item[b, i, k, item_.owed] -= units
    else:
        s.all[b, all_.raw] += units
        s.all[b, all_.paid_out] += units * p.nodes[i, at_.tariff]
    s.all[b, all_.paid_out] += fast * p.expedite_milli


@inlined
def tariff_of(p, s, b, i):
    """Thousandths of money a unit that supplier i is paid."""
    return s.node[b, i, node_.tariff] if i < p.n_agents else p.nodes[i, at_.tariff]


@rule
def ration(p, s, b, i, k, now, units, action):
    """Ship so many parts of product k from supplier i to its buyers, who are owed at least as much: older claims first, then new ones."""
    first, count = p.nodes[i, at_.out_first], p.nodes[i, at_.out_last] - p.nodes[i, at_.out_first]
    old = units
    if count > 1:
        old = 0
        for c in range(count):
            old += s.link[b, p.out[first + c], k, link_.was_owed]
        for new in range(2):
            part = min(units, old) if new == 0 else units - min(units, old)
            if part > 0:
                share(p, s, b, i, k, part, new, action)
    for c in range(count):
        e = p.out[first + c]
        part = s.link[b, e, k, link_.sent] if count > 1 else units
        s.link[b, e, k, link_.sent] = 0
        send(p, s, b, i, e, k, now, part, s.link[b, e, k, link_.owed], action)


@inlined
def share(p, s, b, i, k, units, new, action):
    """Add to `sent` what each buyer gets of so many parts for its old or new claims."""
    first, count = p.nodes[i, at_.out_first], p.nodes[i, at_.out_last] - p.nodes[i, at_.out_first]
    claim, total = link_.placed if new == 1 else link_.was_owed, 0.0
    for c in range(count):
        total += s.link[b, p.out[first + c], k, claim] * weight_of(p, i, c, b, action)
    reached, given, left = 0.0, 0, units
    for turn in range(2 * count):  # the second time round: what rounding and weights left over, to whoever comes first
        c = turn % count if p.rationing == PRIORITY else (s.t[b] + turn) % count
        e = p.out[first + c]
        own = s.link[b, e, k, claim]
        if turn < count:
            reached += own * weight_of(p, i, c, b, action)
            upto = int(units * (reached / total) + 1e-9)
            part = min(own, left) if p.rationing == PRIORITY else min(own, upto - given, left)
            given = upto
        else:
            part = min(left, own + (s.link[b, e, k, link_.was_owed] if new == 1 else 0) - s.link[b, e, k, link_.sent])
        s.link[b, e, k, link_.sent] += part
        left -= part


@inlined
def weight_of(p, i, c, b, action):
    """Weight of the c-th buyer of supplier i; the outside has none."""
    if p.rationing == LEARNED and i < p.n_agents:
        return max(LEAST_WEIGHT, action[b, i, p.ration_column + c])
    return 1.0


@inlined
def sell(p, s, b, j, k, units):
    """Ship so many parts from retailer j to its customers; what they do not get stays owed or is lost."""
    s.item[b, j, k, item_.stock] -= units
    s.item[b, j, k, item_.shipped] += units
    s.item[b, j, k, item_.owed] -= units
    s.all[b, all_.sold] += units * p.nodes[j, at_.weight]
    if p.unmet == LOST:
        s.item[b, j, k, item_.lost] = s.item[b, j, k, item_.owed]
        s.item[b, j, k, item_.owed] = 0


@inlined
def ready(p, s, b, i, k):
    """Parts of product k that supplier i owes and has; the outside has all."""
    if i < p.n_agents:
        return min(s.item[b, i, k, item_.stock], s.item[b, i, k, item_.owed])
    owed = 0
    for c in range(p.nodes[i, at_.out_first], p.nodes[i, at_.out_last]):
        owed += s.link[b, p.out[c], k, link_.owed]
    return owed


@inlined
def able(p, s, b, i, wanted):
    """Parts that supplier i can ship over all products: none while it is down or closed, at most what it is able to or has."""
    if i < p.n_agents:
        limit = wanted if p.nodes[i, at_.cap] == 0 else min(wanted, p.nodes[i, at_.cap])
        return 0 if s.node[b, i, node_.down] > 0 else limit
    if p.closure > 0 and p.closure_at <= s.t[b] < p.closure_at + p.closure:
        return 0
    if p.supply_high == 0.0:
        return wanted
    return min(wanted, int((p.supply_low + (p.supply_high - p.supply_low) * draw(stream(s, b, SUPPLY), 0)) * p.outside_mean))


@rule
def ship(p, s, b, i, now, action):
    """All that supplier i ships in the tick; what it is not able to ship falls short in proportion over products."""
    if p.assembles and i < p.n_agents:
        assemble(p, s, b, i)
    wanted = 0
    for k in range(p.products):
        wanted += ready(p, s, b, i, k)
    limit = able(p, s, b, i, wanted)
    reached, given = 0, 0
    for k in range(p.products):
        own = ready(p, s, b, i, k)
        reached += own
        upto = reached if limit == wanted else int(limit * (reached / wanted))
        units = min(own, upto - given)
        given = upto
        if i < p.n_agents:
            s.item[b, i, k, item_.served] = max(0, units - s.item[b, i, k, item_.was_owed])
        if p.nodes[i, at_.retail] >= 0:
            sell(p, s, b, i, k, units)
        else:
            ration(p, s, b, i, k, now, units, action)


@inlined
def scrap(p, s, b, i):
    """Stock beyond the node's room is scrapped, from another product first each tick."""
    over = -p.nodes[i, at_.room]
    for k in range(p.products):
        over += s.item[b, i, k, item_.stock] * p.size[k]
    for c in range(p.products):
        k = (s.t[b] + c) % p.products
        if over > 0 and p.size[k] > 0:
            units = min(s.item[b, i, k, item_.stock], (over + p.size[k] - 1) // p.size[k])
            s.item[b, i, k, item_.stock] -= units
            s.item[b, i, k, item_.scrapped] += units
            s.all[b, all_.scrapped] += units * p.nodes[i, at_.weight]
            over -= units * p.size[k]


@rule
def ship_all(p, s, b, action):
    """The outside ships, then all nodes; what they have no room for is scrapped."""
    now = s.t[b] % p.slots
    for turn in range(p.n_agents + 1):
        i = turn - 1 if turn > 0 else p.n_agents
        ship(p, s, b, i, now, action)
        if p.nodes[i, at_.room] > 0:
            scrap(p, s, b, i)
