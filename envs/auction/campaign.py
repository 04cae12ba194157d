# mypy: allow-untyped-defs, allow-incomplete-defs
"""The wide views: 128 columns of a campaign, and 128 more of the journeys of its users.

Their blocks are those of an earlier advertising platform (see the preset's names in `presets`); every column is something measured here.
"""

from __future__ import annotations

import math

from envs.auction.params import MICRO, STAGES, STRATEGIES, UNLIMITED
from envs.auction.ratios import RATIO, over
from envs.auction.state import all_, arm_, cell_, inlined, mean_, own_, seg_, whole_
from envs.auction.world import CHANNELS, DEMOGRAPHICS
from marl.compiled import rule
from marl.game import Column, index

SHARE = Column(0, 1)
WAVE = Column(-1, 1)
MARKET = ("competition", "seasonality", "trend", "volatility", "economy", "price_level")
PERFORMANCE = ("roas", "ctr", "cvr", "spend", "revenue", "cpc", "cpm", "frequency", "reach")
TIME = ("hour_sine", "hour_cosine", "day_sine", "day_cosine", "month_sine", "month_cosine", "weekend")
BUDGET = ("daily", "remaining", "utilisation", "cpa", "ltv")
CROSSED = (
    "left_x_roas", "left_x_ctr", "left_x_cvr", "utilisation_x_roas", "utilisation_x_cpa", "roas_over_risk", "ctr_x_reach", "roas_x_economy",
)  # fmt: skip
KINDS = ("image", "video", "carousel", "young_adults", "professionals", "families", "cpc", "cpm", "cpa")
OF_ARM = ("spend_share", "ctr", "cvr", "roas")
JOURNEY = (
    "mobile_share", "desktop_share", "creative_ctr", "creative_cvr", "creative_fatigue", "tick", "time_left", "tick_sine", "tick_cosine",
    "auction_density", "rival_bids", "lost_above_value", "top_rate", "spend_rate", "budget_left", "pacing_error", "identity_confidence",
    "devices", "variant", "variant_ctr", "lifetime_value", "converted_share", "repeat_rate", "pending",
    "clicks_per_user", "seen_share", "win_rate",
    "average_position", "price_mean", "price_sd", "value_mean", "value_cv",
)  # fmt: skip
STAGE_NAMES = ("unaware", "aware", "considering", "intent", "converted")
SLOTS_SEEN = 10


def arm_names(channels: int) -> tuple[str, ...]:
    """Three channels, organic among them where two are paid, then types, audiences, pricings."""
    return (*(CHANNELS if channels == 3 else ("organic", *CHANNELS[:channels])), *KINDS)


def campaign_columns(channels: int) -> dict[str, Column]:
    """6 market, 9 performance, 18 demographics, 7 time, 5 budget, 35 interactions, 48 of arms."""
    table = {f"market_{n}": Column(-10, 10) if n == "trend" else RATIO for n in MARKET} | {f"performance_{n}": RATIO for n in PERFORMANCE}
    table |= {f"demographics_{n}": SHARE for n in DEMOGRAPHICS} | {f"time_{n}": WAVE for n in TIME} | {f"budget_{n}": RATIO for n in BUDGET}
    table |= {f"strategy_{c}_{a}_{k}": SHARE for c in KINDS[:3] for a in KINDS[3:6] for k in KINDS[6:]}
    table |= {f"crossed_{n}": RATIO for n in CROSSED}
    return table | {f"{arm}_{what}": SHARE if what == "spend_share" else RATIO for arm in arm_names(channels) for what in OF_ARM}


def journey_columns(segments: int, channels: int) -> dict[str, Column]:
    """Stage mix, share, click rate and P(convert) of segments, shares and credit of channels, positions, and 32 more."""
    table = {f"{name}_{g}": SHARE for g in range(segments) for name in STAGE_NAMES}
    for what in ("segment_share", "segment_ctr", "convert"):
        table |= {f"{what}_{g}": SHARE if what == "segment_share" else RATIO for g in range(segments)}
    names = ("organic", *CHANNELS[:channels])
    table |= {f"exposed_{n}": SHARE for n in names} | {f"credit_{n}": SHARE for n in names}
    table |= {f"position_{j + 1}": SHARE for j in range(SLOTS_SEEN)}
    return table | {f"journey_{n}": WAVE if n in ("tick_sine", "tick_cosine", "pacing_error") else RATIO for n in JOURNEY}


market_, performance_, time_, budget_, crossed_, journey_ = (
    index(dict.fromkeys(t)) for t in (MARKET, PERFORMANCE, TIME, BUDGET, CROSSED, JOURNEY)
)
AT_PERFORMANCE = len(MARKET)
AT_DEMOGRAPHICS = AT_PERFORMANCE + len(PERFORMANCE)
AT_TIME = AT_DEMOGRAPHICS + len(DEMOGRAPHICS)
AT_BUDGET = AT_TIME + len(TIME)
AT_STRATEGY = AT_BUDGET + len(BUDGET)
AT_CROSSED = AT_STRATEGY + STRATEGIES
AT_ARMS = AT_CROSSED + len(CROSSED)
CAMPAIGN_WIDTH = AT_ARMS + 12 * len(OF_ARM)


@rule
def share(x, y):
    return min(max(x / y, 0.0), 1.0) if y > 0 else 0.0


@inlined
def fill_market(p, s, b, a, obs):
    t, fast, slow = s.t[b], s.whole[b, whole_.fast], s.whole[b, whole_.slow]
    sold, auctions = float(s.all[b, all_.tick_sold]), float(p.auctions[t - 1]) if t > 0 else 0.0
    rate = 0.0
    for g in range(p.segments):
        rate += s.segment[b, g, seg_.rate] / p.segments
    obs[b, a, market_.competition] = over(sold, auctions * p.slots)
    obs[b, a, market_.seasonality] = p.season_of[t]
    obs[b, a, market_.trend] = min(max((fast - slow) / slow, -10.0), 10.0) if slow > 0.0 else 0.0
    obs[b, a, market_.volatility] = over(math.sqrt(s.whole[b, whole_.noise]), slow)
    obs[b, a, market_.economy] = over(rate, 1.0)
    obs[b, a, market_.price_level] = over(fast * MICRO, p.mean_click * p.sale_rate * p.worth[a])


@inlined
def fill_performance(p, s, b, a, obs):
    own, worth, at = s.own[b, a], float(p.worth[a]), AT_PERFORMANCE
    spent, shown, clicks, seen = float(own[own_.spent]), float(own[own_.shown]), float(own[own_.clicks]), float(own[own_.seen])
    users = float(p.cohort_size if p.cohort_size > 0 else p.segments * p.population)
    obs[b, a, at + performance_.roas] = over(float(own[own_.won]), spent)
    obs[b, a, at + performance_.ctr] = over(over(clicks, shown), p.mean_click)
    obs[b, a, at + performance_.cvr] = over(over(seen, clicks), p.sale_rate)
    obs[b, a, at + performance_.spend] = over(float(own[own_.tick_spent]), p.coin)
    obs[b, a, at + performance_.revenue] = over(float(own[own_.tick_won]), p.coin)
    obs[b, a, at + performance_.cpc] = over(spent, clicks * worth * p.sale_rate)
    obs[b, a, at + performance_.cpm] = over(spent, shown * worth * p.sale_rate * p.mean_click)
    obs[b, a, at + performance_.frequency] = over(shown, users)
    obs[b, a, at + performance_.reach] = 1.0 - math.exp(-shown / users)


@inlined
def fill_users(p, s, b, a, obs):
    """Demographics of whoever saw the ads, by the segments' profiles."""
    total = 0.0
    for g in range(p.segments):
        for c in range(p.creatives):
            total += s.made[b, a, c, g, 0]
    for d in range(len(DEMOGRAPHICS)):
        obs[b, a, AT_DEMOGRAPHICS + d] = 0.0
    for g in range(p.segments):
        seen = 0.0
        for c in range(p.creatives):
            seen += s.made[b, a, c, g, 0]
        weight = seen / total if total > 0.0 else 1.0 / p.segments
        for d in range(len(DEMOGRAPHICS)):
            obs[b, a, AT_DEMOGRAPHICS + d] = min(1.0, obs[b, a, AT_DEMOGRAPHICS + d] + weight * p.profile_of[g, d])


@inlined
def fill_time(p, s, b, a, obs):
    day, at = s.t[b] * p.per_day, AT_TIME
    obs[b, a, at + time_.hour_sine], obs[b, a, at + time_.hour_cosine] = math.sin(2 * math.pi * day), math.cos(2 * math.pi * day)
    obs[b, a, at + time_.day_sine], obs[b, a, at + time_.day_cosine] = math.sin(2 * math.pi * day / 7), math.cos(2 * math.pi * day / 7)
    obs[b, a, at + time_.month_sine] = math.sin(2 * math.pi * day / 30)
    obs[b, a, at + time_.month_cosine] = math.cos(2 * math.pi * day / 30)
    obs[b, a, at + time_.weekend] = 1.0 if int(day) % 7 >= 5 else 0.0


@inlined
def fill_budget(p, s, b, a, obs):
    """Budget, and its interactions with performance; risk is the running downside deviation of the reward."""
    own, at, by = s.own[b, a], AT_BUDGET, AT_PERFORMANCE
    limited = p.purses[a] < UNLIMITED
    left = own[own_.left] / p.purses[a] if limited else 1.0
    used = over(float(own[own_.day_spent]), float(own[own_.day_spent] + own[own_.day_left]))
    obs[b, a, at + budget_.daily] = over(float(own[own_.day_left]), p.coin) if limited else 1.0
    obs[b, a, at + budget_.remaining] = left
    obs[b, a, at + budget_.utilisation] = used
    obs[b, a, at + budget_.cpa] = over(float(own[own_.spent]), max(own[own_.seen], 1) * float(p.worth[a]))
    obs[b, a, at + budget_.ltv] = over(own[own_.won] + s.mean[b, a, mean_.hope] * MICRO, max(own[own_.seen], 1) * float(p.worth[a]))
    roas, ctr, cvr = obs[b, a, by + performance_.roas], obs[b, a, by + performance_.ctr], obs[b, a, by + performance_.cvr]
    obs[b, a, AT_CROSSED + crossed_.left_x_roas] = left * roas
    obs[b, a, AT_CROSSED + crossed_.left_x_ctr] = left * ctr
    obs[b, a, AT_CROSSED + crossed_.left_x_cvr] = left * cvr
    obs[b, a, AT_CROSSED + crossed_.utilisation_x_roas] = min(used * roas, 10.0)
    obs[b, a, AT_CROSSED + crossed_.utilisation_x_cpa] = min(used * obs[b, a, at + budget_.cpa], 10.0)
    obs[b, a, AT_CROSSED + crossed_.roas_over_risk] = roas / (1.0 + math.sqrt(s.mean[b, a, mean_.down]))
    obs[b, a, AT_CROSSED + crossed_.ctr_x_reach] = ctr * obs[b, a, by + performance_.reach]
    obs[b, a, AT_CROSSED + crossed_.roas_x_economy] = min(roas * obs[b, a, market_.economy], 10.0)


@inlined
def fill_arms(p, s, b, a, obs):
    """Spend share, click rate, conversions per click and value over spend of each arm, of late; and spend by strategy."""
    total, first = 0.0, 1 if p.channels == 3 else 0
    for h in range(p.channels + 1):
        total += s.arm[b, a, h, arm_.spent]
    for i in range(12):
        arm, at = i + first, AT_ARMS + 4 * i
        clicks, spent = s.arm[b, a, arm, arm_.clicks], s.arm[b, a, arm, arm_.spent]
        obs[b, a, at] = share(spent, total)
        obs[b, a, at + 1] = over(over(clicks, s.arm[b, a, arm, arm_.shown]), p.mean_click)
        obs[b, a, at + 2] = over(over(s.arm[b, a, arm, arm_.sales], clicks), p.sale_rate)
        obs[b, a, at + 3] = over(s.arm[b, a, arm, arm_.sales] * p.worth[a], spent)
    for i in range(STRATEGIES):
        obs[b, a, AT_STRATEGY + i] = share(s.poured[b, a, i], float(s.own[b, a, own_.spent]))


@inlined
def fill_segments(p, s, b, a, obs, at):
    """Stage mix, share, click rate and chance to convert of each segment; returns where the columns end."""
    shown_all = float(s.own[b, a, own_.shown])
    more = at + p.segments * STAGES
    for g in range(p.segments):
        count, shown, clicks, chance = 0, 0, 0, 0.0
        for i in range(STAGES):
            count += s.pool[b, a, g, i]
        for i in range(STAGES):
            obs[b, a, at + g * STAGES + i] = share(float(s.pool[b, a, g, i]), float(count))
        for c in range(p.creatives):
            shown += s.made[b, a, c, g, 0]
            clicks += s.made[b, a, c, g, 1]
        for h in range(p.channels):
            chance += s.cell[b, g * p.channels + h, cell_.value, a] / p.channels
        obs[b, a, more + g] = share(float(shown), shown_all)
        obs[b, a, more + p.segments + g] = over(over(float(clicks), float(shown)), p.mean_click)
        obs[b, a, more + 2 * p.segments + g] = over(chance, p.mean_click * p.sale_rate * p.worth[a])
    return more + 3 * p.segments


@inlined
def fill_channels(p, s, b, a, obs, at):
    shown, sales = 0.0, 0.0
    for h in range(p.channels + 1):
        shown += s.arm[b, a, h, arm_.shown]
        sales += s.arm[b, a, h, arm_.sales]
    for h in range(p.channels + 1):
        obs[b, a, at + h] = share(s.arm[b, a, h, arm_.shown], shown)
        obs[b, a, at + p.channels + 1 + h] = share(s.arm[b, a, h, arm_.sales], sales)
    at += 2 * (p.channels + 1)
    for j in range(SLOTS_SEEN):
        obs[b, a, at + j] = share(float(s.place[b, a, j]), float(s.own[b, a, own_.shown])) if j < p.slots else 0.0
    return at + SLOTS_SEEN


@inlined
def fill_creative(p, s, b, a, obs, at):
    """The creative in use for the first segment, variant B beside it, and devices."""
    c, shown, clicks, sale = s.pick[b, a, 0, 0], 0, 0, 0.0
    for g in range(p.segments):
        shown += s.made[b, a, c, g, 0]
        clicks += s.made[b, a, c, g, 1]
        sale += p.rate_of_sale[a, c, g] / p.segments
    obs[b, a, at + journey_.mobile_share], obs[b, a, at + journey_.desktop_share] = p.mobile, 1.0 - p.mobile
    obs[b, a, at + journey_.creative_ctr] = over(over(float(clicks), float(shown)), p.mean_click)
    obs[b, a, at + journey_.creative_cvr] = over(float(s.own[b, a, own_.seen]), s.own[b, a, own_.clicks] * sale)
    obs[b, a, at + journey_.creative_fatigue] = s.tired[b, a, c]
    other = s.pick[b, a, 0, 1]
    obs[b, a, at + journey_.variant] = s.mean[b, a, mean_.split]
    obs[b, a, at + journey_.variant_ctr] = over((1.0 + s.made[b, a, other, 0, 1]) / (20.0 + s.made[b, a, other, 0, 0]), p.mean_click)
    obs[b, a, at + journey_.devices] = 1.0 + (1.0 - s.mean[b, a, mean_.confidence])
    obs[b, a, at + journey_.identity_confidence] = s.mean[b, a, mean_.confidence]


@inlined
def fill_journey(p, s, b, a, obs, at):
    t, looked = s.t[b], s.mean[b, a, mean_.tick_looked]
    day, auctions = t * p.per_day, float(p.auctions[t - 1]) if t > 0 else 0.0
    wins, shown = float(s.own[b, a, own_.tick_wins]), float(s.own[b, a, own_.tick_shown])
    value = p.mean_click * p.sale_rate * p.worth[a] / MICRO
    obs[b, a, at + journey_.tick], obs[b, a, at + journey_.time_left] = day - int(day), 1.0 - t / p.horizon
    obs[b, a, at + journey_.tick_sine], obs[b, a, at + journey_.tick_cosine] = math.sin(2 * math.pi * day), math.cos(2 * math.pi * day)
    obs[b, a, at + journey_.auction_density] = over(float(p.auctions[t]), float(p.auctions_per_tick))
    obs[b, a, at + journey_.rival_bids] = over(s.whole[b, whole_.best_bids], auctions * value)
    obs[b, a, at + journey_.lost_above_value] = share(s.mean[b, a, mean_.tick_lost], looked)
    obs[b, a, at + journey_.top_rate] = share(float(s.own[b, a, own_.tick_top]), shown)
    limited = p.purses[a] < UNLIMITED
    left = s.own[b, a, own_.left] / p.purses[a] if limited else 1.0
    obs[b, a, at + journey_.spend_rate] = over(float(s.own[b, a, own_.tick_spent]), p.coin)
    obs[b, a, at + journey_.budget_left] = left
    obs[b, a, at + journey_.pacing_error] = left - p.auctions_left[t] if limited else 0.0
    sales = 0.0
    for g in range(p.segments):
        sales += s.pool[b, a, g, 4]
    users = float(p.cohort_size if p.cohort_size > 0 else p.segments * p.population)
    obs[b, a, at + journey_.converted_share] = share(sales, users)
    obs[b, a, at + journey_.lifetime_value] = over(float(s.own[b, a, own_.won]), users * p.worth[a])
    obs[b, a, at + journey_.repeat_rate] = over(float(s.own[b, a, own_.drawn]), users)
    obs[b, a, at + journey_.pending] = over(s.mean[b, a, mean_.hope] * MICRO, 10.0 * p.worth[a])
    obs[b, a, at + journey_.clicks_per_user] = over(float(s.own[b, a, own_.clicks]), users)
    obs[b, a, at + journey_.seen_share] = share(float(s.own[b, a, own_.tracked]), float(s.own[b, a, own_.seen]))
    obs[b, a, at + journey_.win_rate] = share(wins, auctions)
    obs[b, a, at + journey_.average_position] = over(float(s.own[b, a, own_.tick_places]), shown)
    price = s.mean[b, a, mean_.tick_prices] / wins if wins > 0.0 else 0.0
    square = s.mean[b, a, mean_.tick_squares] / wins if wins > 0.0 else 0.0
    obs[b, a, at + journey_.price_mean] = over(price, value)
    obs[b, a, at + journey_.price_sd] = over(math.sqrt(max(square - price * price, 0.0)), value)
    mean = s.mean[b, a, mean_.tick_values] / looked if looked > 0.0 else 0.0
    second = s.mean[b, a, mean_.tick_value_squares] / looked if looked > 0.0 else 0.0
    obs[b, a, at + journey_.value_mean] = over(mean, value)
    obs[b, a, at + journey_.value_cv] = over(math.sqrt(max(second - mean * mean, 0.0)), mean)


@inlined
def fill_campaign(p, s, b, a, obs):
    fill_market(p, s, b, a, obs)
    fill_performance(p, s, b, a, obs)
    fill_users(p, s, b, a, obs)
    fill_time(p, s, b, a, obs)
    fill_budget(p, s, b, a, obs)
    fill_arms(p, s, b, a, obs)
    if p.individual:
        at = fill_segments(p, s, b, a, obs, CAMPAIGN_WIDTH)
        at = fill_channels(p, s, b, a, obs, at)
        fill_creative(p, s, b, a, obs, at)
        fill_journey(p, s, b, a, obs, at)
