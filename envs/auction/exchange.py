# mypy: allow-untyped-defs, allow-incomplete-defs
"""The auctions of a tick in mode advertising: impressions arrive one after the other, hard budgets hold between them.

An impression has a cell (segment and channel) and a relevance, lognormal with mean 1, part of which all advertisers share; an advertiser's
value of it is click rate x conversion rate x value of a conversion x relevance, its estimate that times a noise. Its bid per exposure was
laid out for the tick (`cell`): fixed + slope x estimate, at most the money left. One 64-bit word of an advertiser and impression gives its
relevance (10 bits), its estimate (10 bits) and whether it takes part (20 bits). The mechanism is `mechanisms`'.

A position is exposed with chance `exposure`; what is sold is paid on exposure (cpm), on click (cpc: price over expected clicks) or on a
click that converts and is tracked (cpa: price over expected conversions), never more than the money left. Every 16th auction is audited:
efficiency and regrets, which need everybody's value, are measured on those.
"""

from __future__ import annotations

from envs.auction.creatives import click_rate, wear
from envs.auction.journey import CONVERTED, INTENT, convert, drawn_stage, met_path, move, note, stage_factor
from envs.auction.mechanisms import place, price_of
from envs.auction.params import ALL_PAY, CELLS, CPA, CPC, CPM, MICRO, SHAPLEY
from envs.auction.state import SALE, all_, apart, arm_, cell_, inlined, mean_, own_, sale_, seg_, user_, whole_
from marl.rng import U, bits, draw, stream

IMPRESSIONS, RELEVANCE, TIES, FATES = 10, 11, 12, 13
HIGH, MIDDLE, LOW = U(54), U(44), U((1 << 10) - 1)
THIN, WHOLE = U((1 << 20) - 1), 1.0 / (1 << 20)
AUDIT = 16
"""An auction of so many is audited."""


@inlined
def offer_of(p, s, b, cell, a, shared, word):
    """Bid of advertiser a for an impression, micro-dollars per exposure; 0 where it takes no part."""
    estimate = shared * p.own_q[int(word >> HIGH)] * p.seen_q[int((word >> MIDDLE) & LOW)]
    bid = min(s.cell[b, cell, cell_.fixed, a] + s.cell[b, cell, cell_.slope, a] * estimate, s.money[b, a])
    if p.thins and (word & THIN) * WHOLE >= s.mean[b, a, mean_.admit]:
        return 0.0
    return bid


@inlined
def charge(p, s, b, a, arm, money):
    """Take money ($ x 1e6, rounded down) from an advertiser, at most what it has; returns what it paid."""
    paid = min(int(money), s.own[b, a, own_.left], s.own[b, a, own_.day_left])
    s.own[b, a, own_.left] -= paid
    s.own[b, a, own_.day_left] -= paid
    s.own[b, a, own_.spent] += paid
    s.own[b, a, own_.tick_spent] += paid
    s.all[b, all_.revenue] += paid
    s.money[b, a] = float(min(s.own[b, a, own_.left], s.own[b, a, own_.day_left]))
    s.arm[b, a, arm, arm_.spent] += paid
    return paid


@inlined
def rank_offers(p, s, b, k, cell, shared, private, ties, pays):
    """Rank everybody's bid in s.ranked and s.scores; returns how many there are. In all-pay everybody who `pays` pays its bid at once."""
    count, base, depth, arm = 0, k * p.n_agents, p.slots + 1, 1 + cell % p.channels
    for a in range(p.n_agents):
        bid = offer_of(p, s, b, cell, a, shared, bits(private, base + a))
        if bid >= p.least:
            score = bid * s.cell[b, cell, cell_.weight, a]
            if count < depth or score >= s.scores[b, depth - 1]:
                count = place(score, a, ties, base, depth, count, s.scores[b], s.ranked[b])
            if pays:
                charge(p, s, b, a, arm, bid)
    return count


@inlined
def count_click(p, s, b, a, g, arm, c):
    s.own[b, a, own_.clicks] += 1
    s.own[b, a, own_.tick_clicks] += 1
    s.made[b, a, c, g, 1] += 1
    s.arm[b, a, arm, arm_.clicks] += 1.0
    if p.wide:
        s.arm[b, a, 1 + p.channels + c % 3, arm_.clicks] += 1.0


@inlined
def expose(p, s, b, a, j, g, arm, c):
    """An ad is seen: counts, fatigue, safety."""
    s.own[b, a, own_.shown] += 1
    s.own[b, a, own_.tick_shown] += 1
    s.own[b, a, own_.places] += j + 1
    s.own[b, a, own_.tick_places] += j + 1
    if j == 0:
        s.own[b, a, own_.top] += 1
        s.own[b, a, own_.tick_top] += 1
    s.place[b, a, j] += 1
    s.made[b, a, c, g, 0] += 1
    s.arm[b, a, arm, arm_.shown] += 1.0
    if p.wide:
        s.arm[b, a, 1 + p.channels + c % 3, arm_.shown] += 1.0
    s.mean[b, a, mean_.tick_safety] += p.safety[a, c, arm - 1]
    wear(p, s, b, a, c)


@apart
def click(p, s, b, a, g, arm, c, user, stage, fates, i, relevance):
    """A click on an ad: it moves the user, leaves a touch, and may convert. Returns whether it converted and is tracked."""
    device = 1 if draw(fates, i + 3) < p.mobile else 0
    if user >= 0 and draw(fates, i + 6) < 0.8:  # most clicks come from the main device
        device = s.user[b, user, user_.mobile]
    note(p, s, b, a, g, user, arm, device)
    if p.attribution == SHAPLEY:
        met_path(p, s, b, a, g, user, stage, i)
    rate = p.rate_of_sale[a, c, g] * s.segment[b, g, seg_.rate] * relevance
    if p.journeys:
        rate *= stage_factor(stage)
        if stage < INTENT and draw(fates, i + 4) < p.push_click:
            move(p, s, b, a, g, user, stage, stage + 1)
            stage += 1
    s.mean[b, a, mean_.hope] += min(rate, 1.0) * p.worth[a] / MICRO
    if draw(fates, i + 2) < rate and stage != CONVERTED:
        return convert(p, s, b, a, g, user, stage, i)
    return False


@inlined
def deliver(p, s, b, k, j, a, cell, price, relevance, user, fates):
    """Position j of auction k is advertiser a's at this price per exposure: exposure, click, conversion, and who pays when."""
    g, arm, i = cell // p.channels, 1 + cell % p.channels, 8 * (k * p.slots + j)
    variant = 1 if p.splits and draw(fates, i + 5) < s.mean[b, a, mean_.split] else 0
    c, pricing = s.pick[b, a, g, variant], int(s.mean[b, a, mean_.pricing])
    s.own[b, a, own_.wins] += 1
    s.own[b, a, own_.tick_wins] += 1
    rate = click_rate(p, s, b, a, c, g, arm - 1)
    before = s.own[b, a, own_.left]
    if p.outcomes > 0 and p.format != ALL_PAY:
        charge(p, s, b, a, arm, price * p.exposures[j])
    if p.outcomes > 0:
        s.own[b, a, own_.tick_won] += int(p.exposures[j] * s.cell[b, cell, cell_.value, a] * relevance)
    if draw(fates, i) >= p.exposures[j]:
        note_price(s, b, a, before, s.cell[b, cell, cell_.value, a] * relevance * p.exposures[j])
        return
    paying = p.outcomes == 0 and p.format != ALL_PAY
    if paying and pricing == CPM:
        charge(p, s, b, a, arm, price)
    expose(p, s, b, a, j, g, arm, c)
    stage = 0
    if p.journeys:
        stage = s.stage[b, user, a] if user >= 0 else drawn_stage(p, s, b, a, g, draw(fates, i + 7))
    if draw(fates, i + 1) < rate:
        if paying and pricing == CPC:
            charge(p, s, b, a, arm, price / max(s.cell[b, cell, cell_.click, a], 1e-9))
        count_click(p, s, b, a, g, arm, c)
        if click(p, s, b, a, g, arm, c, user, stage, fates, i, relevance) and paying and pricing == CPA:
            expected = s.cell[b, cell, cell_.value, a] / p.worth[a]
            charge(p, s, b, a, arm, price / max(expected, 1e-9))
    elif p.journeys and stage < 2 and draw(fates, i + 4) < p.push:
        move(p, s, b, a, g, user, stage, stage + 1)
    note_price(s, b, a, before, s.cell[b, cell, cell_.value, a] * relevance)


@inlined
def note_price(s, b, a, before, value):
    """What a win cost, $, for the observation, and what it was too much."""
    paid = before - s.own[b, a, own_.left]
    s.mean[b, a, mean_.tick_prices] += paid / MICRO
    s.mean[b, a, mean_.tick_squares] += (paid / MICRO) * (paid / MICRO)
    s.mean[b, a, mean_.tick_ad_value] += value / MICRO
    s.own[b, a, own_.tick_overpaid] += max(paid - int(value), 0)


@apart
def inspect(p, s, b, k, cell, shared, private, ties, count):
    """Audit of an auction, before it is delivered: efficiency, and what everybody's bid and estimate cost it ($)."""
    base, depth = k * p.n_agents, p.slots + 1
    full = count >= p.slots
    last = s.scores[b, p.slots - 1] if full else 0.0
    top = s.scores[b, 0] if count > 0 else 0.0
    for j in range(min(count, p.slots)):
        a = s.ranked[b, j]
        relevance = shared * p.own_q[int(bits(private, base + a) >> HIGH)]
        s.whole[b, whole_.allocated] += p.exposures[j] * s.cell[b, cell, cell_.value, a] * relevance / MICRO
    s.all[b, all_.audited] += 1
    for a in range(p.n_agents):
        word = bits(private, base + a)
        value = s.cell[b, cell, cell_.value, a] * shared * p.own_q[int(word >> HIGH)]
        estimate = value * p.seen_q[int((word >> MIDDLE) & LOW)]
        weight = s.cell[b, cell, cell_.weight, a]
        least = max(last / weight, p.least)
        won = False
        for j in range(min(count, p.slots)):
            if s.ranked[b, j] == a:
                won = True
                paid = price_of(p.format, j, s.scores[b, j] / weight, weight, count, s.scores[b], p.exposures, p.least, p.soft_money)
                s.mean[b, a, mean_.overbid] += max(0.0, paid - value) * p.exposures[j] / MICRO
        if not won:
            s.mean[b, a, mean_.underbid] += max(0.0, value - least) * p.exposures[p.slots - 1] / MICRO
            s.mean[b, a, mean_.tick_lost] += 1.0 if estimate > least else 0.0
        s.mean[b, a, mean_.estimation] += abs(estimate - value) / MICRO
        s.mean[b, a, mean_.tick_values] += estimate / MICRO
        s.mean[b, a, mean_.tick_value_squares] += (estimate / MICRO) * (estimate / MICRO)
        s.mean[b, a, mean_.tick_least] += least / MICRO
        s.mean[b, a, mean_.tick_rival] += (top if s.ranked[b, 0] != a or count == 0 else second_of(s, b, count)) / weight / MICRO
        s.mean[b, a, mean_.tick_looked] += 1.0
    best_of(p, s, b, base, cell, shared, private, ties, depth)


@inlined
def second_of(s, b, count):
    return s.scores[b, 1] if count > 1 else 0.0


@inlined
def best_of(p, s, b, base, cell, shared, private, ties, depth):
    """The highest values in the positions, by a ranking of their own; s.ranked and s.scores are overwritten."""
    count = 0
    for a in range(p.n_agents):
        value = s.cell[b, cell, cell_.value, a] * shared * p.own_q[int(bits(private, base + a) >> HIGH)]
        if value >= p.least:
            count = place(value, a, ties, base, depth, count, s.scores[b], s.ranked[b])
    for j in range(min(count, p.slots)):
        s.whole[b, whole_.best] += p.exposures[j] * s.scores[b, j] / MICRO


@apart
def trade(p, s, b):
    """All auctions of the tick."""
    impressions, private = stream(s, b, IMPRESSIONS), stream(s, b, RELEVANCE)
    ties, fates = stream(s, b, TIES), stream(s, b, FATES)
    for k in range(p.auctions[s.t[b]]):
        word = bits(impressions, k)
        cell, user = p.cell_of[int(word >> HIGH)], -1
        if p.cohort_size > 0:
            user = int((word & THIN) * WHOLE * p.cohort_size)
            cell = s.user[b, user, user_.segment] * p.channels + cell % p.channels
        shared = p.shared_q[int((word >> MIDDLE) & LOW)]
        if k % AUDIT == 0:
            count = rank_offers(p, s, b, k, cell, shared, private, ties, False)
            inspect(p, s, b, k, cell, shared, private, ties, count)
        sell(p, s, b, k, cell, shared, private, ties, user, fates)


@apart
def keep_bids(p, s, b, k, cell, shared, private):
    """Keep everybody's estimate and bid, before anything is paid."""
    for a in range(p.n_agents):
        for i in range(len(SALE)):
            s.sale[b, k, a, i] = 0.0
        word = bits(private, k * p.n_agents + a)
        relevance = shared * p.own_q[int(word >> HIGH)] * p.seen_q[int((word >> MIDDLE) & LOW)]
        s.sale[b, k, a, sale_.estimate] = min(s.cell[b, cell, cell_.value, a] / p.worth[a] * relevance, 1.0)
        bid = offer_of(p, s, b, cell, a, shared, word)
        s.sale[b, k, a, sale_.bid] = bid
        if p.format == ALL_PAY and bid >= p.least:
            s.sale[b, k, a, sale_.paid] = int(bid)


@apart
def keep_least(p, s, b, k, cell, count):
    """Keep what a position would have cost everybody: as many better scores of others as there are positions must be beaten."""
    for a in range(p.n_agents):
        last = s.scores[b, p.slots - 1] if count >= p.slots else 0.0
        for j in range(min(count, p.slots)):
            if s.ranked[b, j] == a:
                last = s.scores[b, p.slots] if count > p.slots else 0.0
        s.sale[b, k, a, sale_.least] = max(last / s.cell[b, cell, cell_.weight, a], p.least)


@inlined
def sell(p, s, b, k, cell, shared, private, ties, user, fates):
    """Auction k: rank, price, deliver."""
    if p.recorded > 0:
        keep_bids(p, s, b, k, cell, shared, private)
    count = rank_offers(p, s, b, k, cell, shared, private, ties, p.format == ALL_PAY)
    if p.recorded > 0:
        keep_least(p, s, b, k, cell, count)
    s.all[b, all_.tick_sold] += min(count, p.slots)
    s.all[b, all_.sold] += min(count, p.slots)
    if count > 0:
        s.whole[b, whole_.best_bids] += s.scores[b, 0] / s.cell[b, cell, cell_.weight, s.ranked[b, 0]] / MICRO
    for j in range(min(count, p.slots)):
        a = s.ranked[b, j]
        weight = s.cell[b, cell, cell_.weight, a]
        bid = s.scores[b, j] / weight
        price = price_of(p.format, j, bid, weight, count, s.scores[b], p.exposures, p.least, p.soft_money)
        s.whole[b, whole_.prices] += price / MICRO
        relevance = shared * p.own_q[int(bits(private, k * p.n_agents + a) >> HIGH)]
        left, shown, drawn = s.own[b, a, own_.left], s.own[b, a, own_.shown], s.own[b, a, own_.drawn]
        deliver(p, s, b, k, j, a, cell, price, relevance, user, fates)
        if p.recorded > 0:
            s.sale[b, k, a, sale_.position] = j + 1
            s.sale[b, k, a, sale_.exposed] = s.own[b, a, own_.shown] - shown
            s.sale[b, k, a, sale_.converted] = s.own[b, a, own_.drawn] - drawn
            s.sale[b, k, a, sale_.paid] += left - s.own[b, a, own_.left]


__all__ = ["AUDIT", "CELLS", "CPA", "CPC", "CPM", "trade"]
