# mypy: allow-untyped-defs, allow-incomplete-defs
"""Mode advertising: campaigns with budgets that bid for impressions over days, and users who remember them.

A tick: 1 conversion rates drift; 2 actions are read, creatives chosen, the pacing layer's factor taken, and a bid for each kind of
impression laid out; 3 all auctions run (`exchange`); 4 users move on by themselves and creatives rest (`journey`, `creatives`); 5 due
conversions are seen; 6 the pacing layer learns; 7 rewards and costs (`rewards`).

The pacing layer acts on anybody's bids. throttle: a chance to take part, raised or lowered by the tick's spend against its plan (as
Agarwal et al. 2014); pid: a factor on bids by the same error and its sum (Zhang et al. 2016); dual: the factor 1/(1 + mu), mu after
Balseiro and Gur 2019. A plan is the budget's share for the tick's traffic.

These rules are a game of their own beside `rules` (`Game.variants`), so that the modes with known answers stay as small and fast as they
are: neither compiles nor carries the other's state, columns and metrics.
"""

from __future__ import annotations

import math

from envs.auction.creatives import choose, click_rate, rest
from envs.auction.exchange import trade
from envs.auction.journey import begin_users, due, flow, mean_factor
from envs.auction.params import CAMPAIGN, CPA, CPC, CPM, DUAL, HYBRID, MICRO, PID, SEGMENT, THROTTLE, UNLIMITED
from envs.auction.rewards import pay, potentials
from envs.auction.state import ALL, ARM, MEAN, OWN, WHOLE, all_, apart, arm_, cell_, inlined, mean_, own_, seg_, whole_
from marl.game import RUNNING, TERMINATED
from marl.rng import gaussian, stream, uniform

PICKS, DRIFTS, SHIFTS = 30, 31, 32
MEMORY_DAYS = 1.0
"""Days after which what an arm earned counts 1/e."""


@apart
def begin(p, s, b):
    for i in range(len(WHOLE)):
        s.whole[b, i] = 0.0
    for i in range(len(ALL)):
        if i != all_.clock or not p.persist or s.episode[b] == 0:
            s.all[b, i] = 0
    for g in range(p.segments):
        s.segment[b, g, seg_.log_rate] = s.segment[b, g, seg_.regime] = 0.0
        s.segment[b, g, seg_.rate] = p.season_of[0]
    for a in range(p.n_agents):
        begin_advertiser(p, s, b, a)
    begin_users(p, s, b)
    lay_out(p, s, b)


@inlined
def begin_advertiser(p, s, b, a):
    for i in range(len(OWN)):
        s.own[b, a, i] = 0
    for i in range(len(MEAN)):
        s.mean[b, a, i] = 0.0
    s.own[b, a, own_.left] = p.purses[a]
    s.own[b, a, own_.day_left] = min(p.purses[a], p.cap_money)
    s.money[b, a] = float(s.own[b, a, own_.day_left])
    s.mean[b, a, mean_.scale] = s.mean[b, a, mean_.pace] = s.mean[b, a, mean_.admit] = 1.0
    s.mean[b, a, mean_.confidence] = 1.0
    s.mean[b, a, mean_.pricing] = p.pricing
    for c in range(p.creatives):
        s.tired[b, a, c] = 0.0
        for g in range(p.segments):
            s.made[b, a, c, g, 0] = s.made[b, a, c, g, 1] = 0
    for i in range(p.arms):
        for j in range(len(ARM)):
            s.arm[b, a, i, j] = 0.0
    for j in range(p.slots):
        s.place[b, a, j] = 0
    for i in range(p.ring_cells):
        s.ring[b, a, i, 0] = s.ring[b, a, i, 1] = 0
    for i in range(p.sets):
        s.met[b, a, i, 0] = s.met[b, a, i, 1] = 0
    for i in range(p.strategies):
        s.visits[b, a, i] = 0
        s.poured[b, a, i] = 0.0
    for g in range(p.segments):
        s.pick[b, a, g, 0] = (a + g) % p.creatives
        s.pick[b, a, g, 1] = (a + g + 1) % p.creatives
    s.mean[b, a, mean_.glow] = s.mean[b, a, mean_.glowed] = 0.5


@inlined
def lay_out(p, s, b):
    """Click rate and value of each kind of impression now, and its weight in the ranking."""
    for a in range(p.n_agents):
        for g in range(p.segments):
            lay_out_segment(p, s, b, a, g)


@inlined
def lay_out_segment(p, s, b, a, g):
    factor = s.segment[b, g, seg_.rate] * (mean_factor(p, s, b, a, g) if p.journeys else 1.0)
    first, other = s.pick[b, a, g, 0], s.pick[b, a, g, 1]
    split = s.mean[b, a, mean_.split] if p.splits else 0.0
    for h in range(p.channels):
        rate, sale = click_rate(p, s, b, a, first, g, h), p.rate_of_sale[a, first, g]
        value = rate * min(sale * factor, 1.0)
        if split > 0.0:
            second = click_rate(p, s, b, a, other, g, h)
            value = (1.0 - split) * value + split * second * min(p.rate_of_sale[a, other, g] * factor, 1.0)
            rate = (1.0 - split) * rate + split * second
        cell = g * p.channels + h
        s.cell[b, cell, cell_.click, a] = rate
        s.cell[b, cell, cell_.value, a] = value * p.worth[a]
        s.cell[b, cell, cell_.weight, a] = math.pow(max(rate, 1e-6) / p.mean_click, p.quality_power) if p.quality_power > 0.0 else 1.0


@inlined
def drift(p, s, b):
    """Conversion rates by segment: mean-reverting within a week, regimes that shift, the season."""
    drifts, fade = stream(s, b, DRIFTS), math.exp(-p.per_day / 7.0)
    shift = p.shift_rate > 0.0 and uniform(s, b, SHIFTS, 0) < p.shift_rate * p.per_day
    for g in range(p.segments):
        if p.drift > 0.0:
            s.segment[b, g, seg_.log_rate] = fade * s.segment[b, g, seg_.log_rate] + p.drift * math.sqrt(p.per_day) * gaussian(drifts, g)
        if shift:
            s.segment[b, g, seg_.regime] = p.shift_size * gaussian(drifts, p.segments + g)
        s.segment[b, g, seg_.rate] = math.exp(s.segment[b, g, seg_.log_rate] + s.segment[b, g, seg_.regime]) * p.season_of[s.t[b]]


@inlined
def read(p, s, b, a, action):
    """The action of an advertiser: how much, for how many, with which creatives."""
    s.mean[b, a, mean_.admit] = 1.0
    if p.actions == CAMPAIGN:
        s.mean[b, a, mean_.scale] = action[b, a, 1]
        s.mean[b, a, mean_.admit] = action[b, a, 2]
        s.mean[b, a, mean_.pricing] = CPC if action[b, a, 5] < 0.5 else CPM if action[b, a, 5] < 1.5 else CPA
        s.mean[b, a, mean_.split] = action[b, a, 6]
        s.mean[b, a, mean_.cell] = 9.0 * action[b, a, 3] + 3.0 * action[b, a, 4] + action[b, a, 5]
    elif p.actions == HYBRID:
        s.mean[b, a, mean_.scale] = action[b, a, 0]
        s.mean[b, a, mean_.cell] = 9.0 * (int(action[b, a, 1]) % 3) + 3.0 * (int(action[b, a, 3]) % 3) + s.mean[b, a, mean_.pricing]
    elif p.actions == SEGMENT:
        total = 0.0
        for g in range(p.segments):
            total += action[b, a, g]
        s.mean[b, a, mean_.scale] = total / p.segments
    else:
        s.mean[b, a, mean_.scale] = action[b, a, 0]
    if p.pacing == THROTTLE:
        s.mean[b, a, mean_.admit] *= s.mean[b, a, mean_.pace]


@inlined
def open_day(p, s, b, a, action):
    """Money of the day: the hard limit and the action's daily budget."""
    if p.actions != CAMPAIGN and s.t[b] % p.ticks_per_day != 0:
        return
    limit = p.cap_money
    if p.actions == CAMPAIGN:
        limit = min(limit, int(action[b, a, 0] * MICRO))
    if s.t[b] % p.ticks_per_day == 0:
        s.own[b, a, own_.day_spent] = 0
    s.own[b, a, own_.day_left] = min(s.own[b, a, own_.left], max(limit - s.own[b, a, own_.day_spent], 0))
    s.money[b, a] = float(min(s.own[b, a, own_.left], s.own[b, a, own_.day_left]))


@inlined
def pick_creatives(p, s, b, a, action, picks):
    """Variant A and B of every segment: the action's type or creative, else the selector's and the next one."""
    for g in range(p.segments):
        if p.actions == CAMPAIGN:
            kind = int(action[b, a, 3])
            s.pick[b, a, g, 0] = kind % p.creatives
            s.pick[b, a, g, 1] = (kind + 3) % p.creatives if p.creatives > 3 else (kind + 1) % p.creatives
        elif p.actions == HYBRID:
            s.pick[b, a, g, 0] = int(action[b, a, 1])
        elif p.creatives > 1:
            s.pick[b, a, g, 0] = choose(p, s, b, a, g, picks)


@inlined
def bid_for(p, s, b, a, g, h, action):
    """Lay out the bid for a kind of impression: fixed and slope, micro-dollars per exposure."""
    cell, pace = g * p.channels + h, 1.0 if p.pacing == THROTTLE else s.mean[b, a, mean_.pace]
    rate, value = s.cell[b, cell, cell_.click, a], s.cell[b, cell, cell_.value, a]
    fixed, slope, dollars = 0.0, 0.0, s.mean[b, a, mean_.scale] * MICRO * pace
    pricing = int(s.mean[b, a, mean_.pricing])
    if p.actions == CAMPAIGN or p.actions == HYBRID:
        if p.actions == CAMPAIGN:
            wanted = g % 3 == int(action[b, a, 4])
        else:
            wanted = h + 1 == int(action[b, a, 2]) and g == int(action[b, a, 3])
        if wanted and pricing == CPC:
            fixed = dollars * rate
        elif wanted and pricing == CPM:
            fixed = dollars / 1_000.0
        elif wanted:
            slope = dollars * value / p.worth[a]
    else:
        slope = value * pace * (action[b, a, g] if p.actions == SEGMENT else action[b, a, 0])
    s.cell[b, cell, cell_.fixed, a], s.cell[b, cell, cell_.slope, a] = fixed, slope


@inlined
def clear_tick(p, s, b, a):
    for i in range(own_.tick_spent, own_.day_left):
        s.own[b, a, i] = 0
    for i in range(mean_.tick_ad_value, mean_.multipliers):
        s.mean[b, a, i] = 0.0
    keep = math.exp(-p.per_day / MEMORY_DAYS)
    for i in range(p.arms):
        for j in range(arm_.waiting):
            s.arm[b, a, i, j] *= keep


@apart
def prepare(p, s, b, action):
    """Everything before the first auction of a tick."""
    drift(p, s, b)
    picks = stream(s, b, PICKS)
    s.whole[b, whole_.prices] = s.whole[b, whole_.best_bids] = 0.0
    s.all[b, all_.tick_sold] = 0
    for a in range(p.n_agents):
        clear_tick(p, s, b, a)
        read(p, s, b, a, action)
        open_day(p, s, b, a, action)
        pick_creatives(p, s, b, a, action, picks)
        for g in range(p.segments):
            lay_out_segment(p, s, b, a, g)
            for h in range(p.channels):
                bid_for(p, s, b, a, g, h, action)
            misallocated(p, s, b, a, g)
        s.mean[b, a, mean_.multipliers] += s.mean[b, a, mean_.scale]


@inlined
def misallocated(p, s, b, a, g):
    """Value ($ an exposure) lost by the creative in use against the best one now, weighted by the segment's share."""
    best, now = 0.0, 0.0
    for c in range(p.creatives):
        value = p.rate_of_sale[a, c, g] * p.rate_of_click[a, c, g] * (1.0 - p.fatigue_depth * s.tired[b, a, c])
        best = max(best, value)
        now = value if c == s.pick[b, a, g, 0] else now
    share = 0.0
    for h in range(p.channels):
        share += p.cell_share[g, h]
    s.mean[b, a, mean_.allocation] += share * (best - now) * s.segment[b, g, seg_.rate] * p.worth[a] / MICRO


@inlined
def pace(p, s, b, a):
    """What the pacing layer learns of the tick."""
    if p.pacing == 0 or p.purses[a] >= UNLIMITED:
        return
    even = p.purses[a] / float(p.horizon)
    plan = p.purses[a] * (p.auctions_left[s.t[b]] - p.auctions_left[s.t[b] + 1])
    error = (plan - s.own[b, a, own_.tick_spent]) / even
    if p.pacing == DUAL:
        s.mean[b, a, mean_.summed] = max(0.0, s.mean[b, a, mean_.summed] - p.pacing_step * error)
        s.mean[b, a, mean_.pace] = 1.0 / (1.0 + s.mean[b, a, mean_.summed])
        return
    s.mean[b, a, mean_.summed] += error
    push = error + (0.1 * s.mean[b, a, mean_.summed] if p.pacing == PID else 0.0)
    s.mean[b, a, mean_.pace] = min(1.0, max(0.01, s.mean[b, a, mean_.pace] * math.exp(p.pacing_step * min(max(push, -5.0), 5.0))))


@apart
def close(p, s, b):
    """Everything after the last auction of a tick."""
    if p.journeys:
        flow(p, s, b)
    for a in range(p.n_agents):
        rest(p, s, b, a)
        due(p, s, b, a)
        if p.outcomes == 0:
            s.own[b, a, own_.tick_won] = s.own[b, a, own_.tick_seen] * p.worth[a]
        s.own[b, a, own_.won] += s.own[b, a, own_.tick_won]
        s.own[b, a, own_.day_spent] += s.own[b, a, own_.tick_spent]
        s.mean[b, a, mean_.hope] *= p.keep
        s.mean[b, a, mean_.safety] += s.mean[b, a, mean_.tick_safety]
        if s.own[b, a, own_.exhausted] == 0 and s.own[b, a, own_.left] < p.least:
            s.own[b, a, own_.exhausted] = s.t[b] + 1
        pace(p, s, b, a)
        if p.purses[a] < UNLIMITED:
            off = s.own[b, a, own_.spent] / p.purses[a] - (1.0 - p.auctions_left[s.t[b] + 1])
            s.mean[b, a, mean_.miss] += off * off
        poured(p, s, b, a)
        potentials(p, s, b, a)
    sold = s.all[b, all_.tick_sold]
    price = s.whole[b, whole_.prices] / sold if sold > 0 else 0.0
    change = price - s.whole[b, whole_.fast]
    s.whole[b, whole_.fast] += 0.3 * change
    s.whole[b, whole_.slow] += 0.05 * (price - s.whole[b, whole_.slow])
    s.whole[b, whole_.noise] += 0.1 * (change * change - s.whole[b, whole_.noise])


@inlined
def poured(p, s, b, a):
    """The strategy cell of the tick: a visit, and its spend; audience and pricing share what their cell spent and sold."""
    i = int(s.mean[b, a, mean_.cell])
    s.mean[b, a, mean_.novelty] = 1.0 / math.sqrt(1.0 + s.visits[b, a, i])
    s.visits[b, a, i] += 1
    s.poured[b, a, i] += s.own[b, a, own_.tick_spent]
    first = 1 + p.channels
    for kind in range(3 if p.wide else 0):
        arm = first + 3 * kind + (i // 9 if kind == 0 else (i // 3) % 3 if kind == 1 else i % 3)
        s.arm[b, a, arm, arm_.spent] += s.own[b, a, own_.tick_spent]
        s.arm[b, a, arm, arm_.sales] += s.own[b, a, own_.tick_tracked]
        if kind > 0:
            s.arm[b, a, arm, arm_.shown] += s.own[b, a, own_.tick_shown]
            s.arm[b, a, arm, arm_.clicks] += s.own[b, a, own_.tick_clicks]


@inlined
def step(p, s, b, action, components, cost):
    prepare(p, s, b, action)
    trade(p, s, b)
    close(p, s, b)
    pay(p, s, b, components, cost)
    s.all[b, all_.clock] += 1
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING
