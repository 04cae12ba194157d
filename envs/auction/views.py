# mypy: allow-untyped-defs, allow-incomplete-defs
"""What an advertiser sees in mode advertising: ratios of order 1 of its own campaign, more of the market where `feedback` shows it."""

from __future__ import annotations

import math

from envs.auction.campaign import campaign_columns, fill_campaign, journey_columns
from envs.auction.goal import TARGETS, reached, wanted
from envs.auction.params import CAMPAIGN, MICRO, STAGES, UNLIMITED
from envs.auction.ratios import RATIO, cut, over
from envs.auction.state import all_, apart, arm_, inlined, mean_, own_, whole_
from marl.game import Column, index

BASE = {
    "time_left": Column(0, 1, "share of the horizon"),
    "tick_sine": Column(-1, 1, "of the day"),
    "tick_cosine": Column(-1, 1, "of the day"),
    "week_sine": Column(-1, 1),
    "week_cosine": Column(-1, 1),
    "budget_left": Column(0, 1, "share of the budget, 1 without one"),
    "spend_rate": RATIO,
    "pacing_error": Column(-1, 1, "budget_left less traffic_left, 0 without a budget"),
    "last_multiplier": RATIO,
    "pace": Column(0, 1, "factor of the pacing layer"),
    "win_rate": Column(0, 1, "positions per auction of the last tick"),
    "average_position": Column(0, 10, "of the last tick's exposures, 0 without any"),
    "top_rate": Column(0, 1, "share of the last tick's exposures in the first position"),
    "ctr": RATIO,
    "cvr_seen": RATIO,
    "pending": RATIO,
    "click_price": RATIO,
    "cpa": RATIO,
    "roas": RATIO,
    "price_mean": RATIO,
    "price_sd": RATIO,
    "lost_above_value": Column(0, 1, "share of the last tick's audited auctions"),
    "traffic_now": RATIO,
    "traffic_left": Column(0, 1, "share of the episode's auctions"),
    "value_mean": RATIO,
    "value_cv": RATIO,
    "freshness": Column(0, 1, "of the creatives in use"),
    "identity_confidence": Column(0, 1),
    "own_value": RATIO,
    "own_target": RATIO,
    "own_budget": RATIO,
}
"""spend_rate: last tick's spend over its plan. ctr, cvr_seen: of the episode over the market's means. pending: expected value of pending
conversions over a conversion's. click_price: spend per click over expected value per click. cpa: spend per conversion over the target, or
over a conversion's value. price_mean and price_sd: last tick's spend per win over an impression's mean value. value_mean: of the last
tick's estimates over their mean at the beginning. own_*: over the mean of all advertisers, the target over a conversion's value."""
FEEDBACK = {
    "winner": {},
    "aggregate": {"market_price": RATIO, "sold": RATIO},
    "min_to_win": {"least_to_win": RATIO},
    "full": {"market_price": RATIO, "sold": RATIO, "least_to_win": RATIO, "best_rival": RATIO},
}
obs_ = index(BASE)
WIDTH = len(BASE)
ORGANIC = ("organic", "search", "social", "display")


def columns(p) -> dict[str, Column]:
    """Columns of the view, in order: a bidder's, a campaign's, or a campaign's with its users' journeys."""
    return own_columns(p) | (TARGETS if p.aim else {})


def own_columns(p) -> dict[str, Column]:
    """Without those of a target that is paid for."""
    if p.actions == "campaign" or p.individual:
        return campaign_columns(p.channels) | (journey_columns(p.segments, p.channels) if p.individual else {})
    table = dict(BASE) | FEEDBACK["full" if p.padded else p.feedback]
    if p.creatives > 1:
        table |= {f"fatigue_{c}": Column(0, 1) for c in range(p.creatives)} | {f"ctr_{c}": RATIO for c in range(p.creatives)}
    table |= {f"share_{name}": Column(0, 1, "of the spend of late") for name in ORGANIC[1 : p.channels + 1]}
    table |= {f"roi_{name}": RATIO for name in ORGANIC[1 : p.channels + 1]}
    table |= {f"credit_{name}": Column(0, 1, "of the credit of late") for name in ORGANIC[: p.channels + 1]}
    if p.journeys or p.padded:
        names = ("unaware", "aware", "considering", "intent", "converted")
        table |= {f"{name}_{g}": Column(0, 1, "share of a segment") for g in range(p.segments) for name in names}
    return table


@inlined
def typical(p, a):
    """Mean value of an impression to the advertiser at the rates of the beginning, $."""
    total = 0.0
    for g in range(p.segments):
        for h in range(p.channels):
            total += p.cell_share[g, h] * p.rate_of_click[a, 0, g] * p.channel_click[h] * p.rate_of_sale[a, 0, g]
    return total * p.worth[a] / MICRO


@inlined
def see_time(p, s, b, a, obs):
    t = s.t[b]
    day = t * p.per_day
    obs[b, a, obs_.time_left] = 1.0 - t / p.horizon
    obs[b, a, obs_.tick_sine], obs[b, a, obs_.tick_cosine] = math.sin(2 * math.pi * day), math.cos(2 * math.pi * day)
    obs[b, a, obs_.week_sine], obs[b, a, obs_.week_cosine] = math.sin(2 * math.pi * day / 7), math.cos(2 * math.pi * day / 7)
    obs[b, a, obs_.traffic_now] = cut(p.auctions[t] / float(p.auctions_per_tick))
    obs[b, a, obs_.traffic_left] = p.auctions_left[t]


@inlined
def see_money(p, s, b, a, obs):
    t = s.t[b]
    limited = p.purses[a] < UNLIMITED
    left = s.own[b, a, own_.left] / p.purses[a] if limited else 1.0
    plan = p.purses[a] * (p.auctions_left[t - 1] - p.auctions_left[t]) if limited and t > 0 else 0.0
    obs[b, a, obs_.budget_left] = left
    obs[b, a, obs_.spend_rate] = over(float(s.own[b, a, own_.tick_spent]), plan)
    obs[b, a, obs_.pacing_error] = left - p.auctions_left[t] if limited else 0.0
    obs[b, a, obs_.last_multiplier] = cut(s.mean[b, a, mean_.scale])
    obs[b, a, obs_.pace] = s.mean[b, a, mean_.pace]
    obs[b, a, obs_.own_value] = cut(p.worth[a] / p.mean_worth)
    obs[b, a, obs_.own_target] = over(p.target[a], float(p.worth[a]))
    obs[b, a, obs_.own_budget] = over(float(p.purses[a]), float(p.purse)) if limited else 1.0


@inlined
def see_results(p, s, b, a, obs):
    t, worth = s.t[b], p.worth[a] / MICRO
    auctions = float(p.auctions[t - 1]) if t > 0 else 0.0
    wins, shown = float(s.own[b, a, own_.tick_wins]), float(s.own[b, a, own_.tick_shown])
    clicks, seen, spent = float(s.own[b, a, own_.clicks]), float(s.own[b, a, own_.seen]), s.own[b, a, own_.spent] / MICRO
    value, looked = typical(p, a), s.mean[b, a, mean_.tick_looked]
    obs[b, a, obs_.win_rate] = min(1.0, over(wins, auctions))
    obs[b, a, obs_.average_position] = over(float(s.own[b, a, own_.tick_places]), shown)
    obs[b, a, obs_.top_rate] = over(float(s.own[b, a, own_.tick_top]), shown)
    obs[b, a, obs_.ctr] = over(over(clicks, float(s.own[b, a, own_.shown])), p.mean_click)
    obs[b, a, obs_.cvr_seen] = over(over(seen, clicks), p.sale_rate)
    obs[b, a, obs_.pending] = over(s.mean[b, a, mean_.hope], worth)
    obs[b, a, obs_.click_price] = over(over(spent, clicks), worth * p.sale_rate)
    obs[b, a, obs_.cpa] = over(spent, max(seen, 1.0) * (p.target[a] / MICRO if p.target[a] > 0.0 else worth))
    obs[b, a, obs_.roas] = over(float(s.own[b, a, own_.won]), float(s.own[b, a, own_.spent]))
    price = s.mean[b, a, mean_.tick_prices] / wins if wins > 0.0 else 0.0
    square = s.mean[b, a, mean_.tick_squares] / wins if wins > 0.0 else 0.0
    obs[b, a, obs_.price_mean] = over(price, value)
    obs[b, a, obs_.price_sd] = over(math.sqrt(max(square - price * price, 0.0)), value)
    obs[b, a, obs_.lost_above_value] = over(s.mean[b, a, mean_.tick_lost], looked)
    mean = s.mean[b, a, mean_.tick_values] / looked if looked > 0.0 else 0.0
    second = s.mean[b, a, mean_.tick_value_squares] / looked if looked > 0.0 else 0.0
    obs[b, a, obs_.value_mean] = over(mean, value)
    obs[b, a, obs_.value_cv] = over(math.sqrt(max(second - mean * mean, 0.0)), mean)
    obs[b, a, obs_.identity_confidence] = s.mean[b, a, mean_.confidence]
    worn = 0.0
    for g in range(p.segments):
        worn += s.tired[b, a, s.pick[b, a, g, 0]] / p.segments
    obs[b, a, obs_.freshness] = 1.0 - worn


@inlined
def see_market(p, s, b, a, obs, at):
    """Columns of the feedback from `at` on; returns where they end. 0 full, 1 winner, 2 aggregate, 3 min_to_win."""
    t, value = s.t[b], typical(p, a)
    auctions = float(p.auctions[t - 1]) if t > 0 else 0.0
    looked = s.mean[b, a, mean_.tick_looked]
    begin = at
    if p.feedback == 0 or p.feedback == 2:
        sold = float(s.all[b, all_.tick_sold])
        obs[b, a, at] = over(s.whole[b, whole_.prices], sold * value)
        obs[b, a, at + 1] = over(sold, auctions)
    if p.feedback == 0 or p.feedback == 2 or p.padded:
        at += 2
    if p.feedback == 0 or p.feedback == 3:
        obs[b, a, at] = over(s.mean[b, a, mean_.tick_least], looked * value)
    if p.feedback == 0 or p.feedback == 3 or p.padded:
        at += 1
    if p.feedback == 0:
        obs[b, a, at] = over(s.mean[b, a, mean_.tick_rival], looked * value)
        at += 1
    return begin + 4 if p.padded else at


@inlined
def see_creatives(p, s, b, a, obs, at):
    if p.creatives < 2:
        return at
    for c in range(p.creatives):
        shown, clicks = 0, 0
        for g in range(p.segments):
            shown += s.made[b, a, c, g, 0]
            clicks += s.made[b, a, c, g, 1]
        obs[b, a, at + c] = s.tired[b, a, c]
        obs[b, a, at + p.creatives + c] = over(over(float(clicks), float(shown)), p.mean_click)
    return at + 2 * p.creatives


@inlined
def see_channels(p, s, b, a, obs, at):
    spent, sales, worth = 0.0, 0.0, float(p.worth[a])
    for h in range(p.channels + 1):
        spent += s.arm[b, a, h, arm_.spent]
        sales += s.arm[b, a, h, arm_.sales]
    for h in range(p.channels):
        own = s.arm[b, a, 1 + h, arm_.spent]
        obs[b, a, at + h] = min(1.0, over(own, spent))
        obs[b, a, at + p.channels + h] = over(s.arm[b, a, 1 + h, arm_.sales] * worth, own)
    for h in range(p.channels + 1):
        obs[b, a, at + 2 * p.channels + h] = min(1.0, over(s.arm[b, a, h, arm_.sales], sales))
    return at + 3 * p.channels + 1


@inlined
def see_users(p, s, b, a, obs, at):
    if not p.journeys:
        return at
    for g in range(p.segments):
        count = 0
        for i in range(STAGES):
            count += s.pool[b, a, g, i]
        for i in range(STAGES):
            obs[b, a, at + g * STAGES + i] = over(float(s.pool[b, a, g, i]), float(count))
    return at + p.segments * STAGES


@apart
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        if p.actions == CAMPAIGN or p.individual:
            fill_campaign(p, s, b, a, obs)
        else:
            see_time(p, s, b, a, obs)
            see_money(p, s, b, a, obs)
            see_results(p, s, b, a, obs)
            at = see_market(p, s, b, a, obs, WIDTH)
            at = see_creatives(p, s, b, a, obs, at)
            at = see_channels(p, s, b, a, obs, at)
            see_users(p, s, b, a, obs, at)
        if p.aim > 0:
            end = obs.shape[2]
            obs[b, a, end - 2], obs[b, a, end - 1] = reached(p, s, b, a), wanted(p, a)
