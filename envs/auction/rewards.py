# mypy: allow-untyped-defs, allow-incomplete-defs
"""What an advertiser is paid in mode advertising: components that are weighted and summed, and what it should not do.

profit = value - cost, in units of `coin` (a tick's share of the mean budget). Value is the conversions that are seen (outcomes sampled) or
what positions are worth in expectation; under objective value the cost is no loss. attributed is the value of the conversions seen that
have a tracked touch: whoever weighs it takes cost instead of profit, so that a conversion's money enters once (pay = attributed).
pending and fresh are shaping (Ng, Harada and Russell 1999): gamma Phi' - Phi, with Phi the expected value of pending conversions and
freshness x channel efficiency, 0 at the end, or under shaping = raw Phi' itself, which moves the optimum. unspent is shaping with Phi what
is left of the budget, in coins: at weight mu a dollar costs 1 + mu when it is spent, not when it is missed, so that with mu the shadow
price a tick's bid is judged by the tick itself. Over an episode it adds -mu x budget whatever is done, at the learner's discount.

The named reward `weighted` has eight components in [0, 1], divided by the running downside deviation of their sum if risk_adjusted:
ROAS r/(1 + r), click rate over twice the mean rate, conversions 1 - e^-n, brand safety, 1 - |spend - plan|/plan, 1/sqrt(1 + visits) of the
strategy cell, entropy of the spend over strategy cells, violations of target or daily limit. `four_part` is placement + attributed +
pending + .1 fresh; placement is the mean over exposures of (1/position) x (1 + clicked - price over the expected value, at least -1).

target is a goal (`envs.auction.goal`): -1 in every tick after which the episode's spend per conversion (pay = target_cpa) or value over
spend (target_roas) is off the advertiser's target by more than `target_band` of it, else 0.
"""

from __future__ import annotations

import math

from envs.auction.goal import near, reached, wanted
from envs.auction.params import MICRO, STRATEGIES, UNLIMITED
from envs.auction.state import all_, apart, arm_, inlined, mean_, own_
from marl.game import Column, Component, index, inf

REWARD = {
    "profit": Component(1.0, "coins"),
    "value": Component(0.0, "coins"),
    "cost": Component(0.0, "coins"),
    "attributed": Component(0.0, "coins"),
    "pending": Component(0.0, "coins"),
    "fresh": Component(0.0),
    "roas": Component(0.0),
    "ctr": Component(0.0),
    "conversion": Component(0.0),
    "safety": Component(0.0),
    "efficiency": Component(0.0),
    "exploration": Component(0.0),
    "diversity": Component(0.0),
    "violations": Component(0.0),
    "placement": Component(0.0),
    "target": Component(0.0, "ticks off the target, negative"),
    "unspent": Component(0.0, "coins"),
}
NAMED = {
    "profit": {},
    "attributed": {"profit": 0.0, "cost": 1.0, "attributed": 1.0},
    "weighted": {
        "profit": 0.0, "roas": 1.0, "ctr": 0.3, "conversion": 0.5, "safety": 0.8, "efficiency": 0.4, "exploration": 0.1, "diversity": 0.15,
        "violations": -2.0,
    },
    "four_part": {"profit": 0.0, "placement": 1.0, "attributed": 1.0, "pending": 1.0, "fresh": 0.1},
    "target_cpa": {"profit": 0.0, "target": 1.0},
    "target_roas": {"profit": 0.0, "target": 1.0},
}  # fmt: skip
"""Named reward -> weights that differ from the declared ones."""
COST = {
    "budget_spent": Column(0, 1, "share of the budget"),
    "overpaid": Column(0, inf, "coins paid above the expected value"),
    "over_target": Column(0, inf, "spend per conversion over the target, less 1"),
    "unsafe": Column(0, 1, "1 - mean brand safety of the tick's exposures"),
}
reward_, cost_ = index(REWARD), index(COST)
STEADY = 0.05
"""Rate at which the running mean and downside deviation of the reward move."""


def weights(p) -> dict[str, float]:
    """Weights of the components at these parameters: the named reward's."""
    return {name: component.weight for name, component in REWARD.items()} | NAMED[p.pay]


@inlined
def potentials(p, s, b, a):
    """Expected value of pending conversions ($), and freshness x channel efficiency."""
    worn = 0.0
    for g in range(p.segments):
        worn += s.tired[b, a, s.pick[b, a, g, 0]] / p.segments
    earned, spent = 0.0, 0.0
    for h in range(p.channels + 1):
        earned += s.arm[b, a, h, arm_.sales] * p.worth[a]
        spent += s.arm[b, a, h, arm_.spent]
    efficiency = earned / (earned + spent) if earned + spent > 0.0 else 0.5
    s.mean[b, a, mean_.hoped], s.mean[b, a, mean_.glowed] = s.mean[b, a, mean_.phi], s.mean[b, a, mean_.glow]
    s.mean[b, a, mean_.phi] = s.mean[b, a, mean_.hope]
    s.mean[b, a, mean_.glow] = (1.0 - worn) * efficiency


@inlined
def shaped(p, before, after, over):
    """gamma Phi' - Phi with Phi' = 0 at the end, or the raw Phi'."""
    if p.shaping == 0:
        return after
    return (0.0 if over else p.discount * after) - before


@inlined
def diversity(p, s, b, a):
    """Entropy of the spend over strategy cells, over its most."""
    total, found = 0.0, 0.0
    for i in range(p.strategies):
        total += s.poured[b, a, i]
    for i in range(p.strategies):
        if s.poured[b, a, i] > 0.0:
            share = s.poured[b, a, i] / total
            found -= share * math.log(share)
    return min(1.0, found / math.log(float(STRATEGIES)))


@inlined
def money_parts(p, s, b, a, components, over):
    value, spent = s.own[b, a, own_.tick_won] / p.coin, s.own[b, a, own_.tick_spent] / p.coin
    components[b, a, reward_.value], components[b, a, reward_.cost] = value, -spent
    components[b, a, reward_.profit] = value if p.objective > 0 else value - spent
    components[b, a, reward_.attributed] = s.own[b, a, own_.tick_tracked] * p.worth[a] / p.coin
    scale = MICRO / p.coin
    hoped = 0.0 if s.t[b] == 0 else s.mean[b, a, mean_.hoped]
    components[b, a, reward_.pending] = scale * shaped(p, hoped, s.mean[b, a, mean_.phi], over)
    glowed = 0.0 if s.t[b] == 0 else s.mean[b, a, mean_.glowed]
    components[b, a, reward_.fresh] = shaped(p, glowed, s.mean[b, a, mean_.glow], over)
    if p.purses[a] < UNLIMITED:
        left = s.own[b, a, own_.left]
        components[b, a, reward_.unspent] = shaped(p, (left + s.own[b, a, own_.tick_spent]) / p.coin, left / p.coin, over)


@inlined
def is_over_target(p, s, b, a):
    """Whether the episode's spend per conversion or value per spend misses its target, from the first dollar on."""
    if s.own[b, a, own_.spent] == 0:
        return False
    cpa = p.target[a] > 0.0 and s.own[b, a, own_.spent] > p.target[a] * max(s.own[b, a, own_.seen], 1)
    return cpa or s.own[b, a, own_.won] < p.roas_target * s.own[b, a, own_.spent]


@inlined
def named_parts(p, s, b, a, components):
    shown, spent, won = s.own[b, a, own_.tick_shown], s.own[b, a, own_.tick_spent], s.own[b, a, own_.tick_won]
    components[b, a, reward_.roas] = won / float(won + spent) if won + spent > 0 else 0.0
    clicked = s.own[b, a, own_.tick_clicks] / shown if shown > 0 else 0.0
    components[b, a, reward_.ctr] = min(1.0, clicked / (2.0 * p.mean_click))
    components[b, a, reward_.conversion] = 1.0 - math.exp(-float(s.own[b, a, own_.tick_seen]))
    components[b, a, reward_.safety] = s.mean[b, a, mean_.tick_safety] / shown if shown > 0 else 0.0
    if p.purses[a] < UNLIMITED:
        plan = p.purses[a] * (p.auctions_left[s.t[b]] - p.auctions_left[s.t[b] + 1])
        components[b, a, reward_.efficiency] = max(0.0, 1.0 - abs(spent - plan) / max(plan, 1.0))
    components[b, a, reward_.exploration] = s.mean[b, a, mean_.novelty]
    components[b, a, reward_.diversity] = diversity(p, s, b, a)
    capped = s.own[b, a, own_.day_left] < p.least and s.own[b, a, own_.left] >= p.least
    violated = is_over_target(p, s, b, a) or capped
    components[b, a, reward_.violations] = 1.0 if violated else 0.0
    s.own[b, a, own_.over_target] += 1 if violated else 0
    value = s.mean[b, a, mean_.tick_ad_value]
    rank = shown / float(s.own[b, a, own_.tick_places]) if s.own[b, a, own_.tick_places] > 0 else 0.0
    price = spent / MICRO / value if value > 0.0 else 0.0
    components[b, a, reward_.placement] = rank * (1.0 + clicked - min(price, 2.0)) if shown > 0 else 0.0


@inlined
def steady(p, s, b, a, components):
    """Divide the weighted parts by the running downside deviation of their sum (Sortino and Price 1994), at least .1."""
    total = components[b, a, reward_.roas] + 0.3 * components[b, a, reward_.ctr] + 0.5 * components[b, a, reward_.conversion]
    total += (
        0.8 * components[b, a, reward_.safety] + 0.4 * components[b, a, reward_.efficiency] - 2.0 * components[b, a, reward_.violations]
    )
    total += 0.1 * components[b, a, reward_.exploration] + 0.15 * components[b, a, reward_.diversity]
    low = min(0.0, total - s.mean[b, a, mean_.usual])
    s.mean[b, a, mean_.usual] += STEADY * (total - s.mean[b, a, mean_.usual])
    s.mean[b, a, mean_.down] += STEADY * (low * low - s.mean[b, a, mean_.down])
    scale = 1.0 / max(0.1, math.sqrt(s.mean[b, a, mean_.down]))
    for r in range(reward_.roas, reward_.placement):
        components[b, a, r] *= scale


@apart
def pay(p, s, b, components, cost):
    """Fill components [A, R] and cost [A, C] of the tick."""
    over = s.t[b] + 1 >= p.horizon
    for a in range(p.n_agents):
        money_parts(p, s, b, a, components, over)
        named_parts(p, s, b, a, components)
        if p.risk_adjusted:
            steady(p, s, b, a, components)
        if p.aim > 0:
            components[b, a, reward_.target] = 0.0 if near(reached(p, s, b, a), wanted(p, a), p.target_band) else -1.0
        shown = s.own[b, a, own_.tick_shown]
        if p.purses[a] < UNLIMITED:
            cost[b, a, cost_.budget_spent] = s.own[b, a, own_.tick_spent] / p.purses[a]
        cost[b, a, cost_.overpaid] = s.own[b, a, own_.tick_overpaid] / p.coin
        if p.target[a] > 0.0:
            cost[b, a, cost_.over_target] = max(0.0, s.own[b, a, own_.spent] / (p.target[a] * max(s.own[b, a, own_.seen], 1)) - 1.0)
        cost[b, a, cost_.unsafe] = 1.0 - s.mean[b, a, mean_.tick_safety] / shown if shown > 0 else 0.0
    if p.team_share > 0.0:
        for r in range(components.shape[2]):
            team = 0.0
            for a in range(p.n_agents):
                team += components[b, a, r] / p.n_agents
            for a in range(p.n_agents):
                components[b, a, r] = (1.0 - p.team_share) * components[b, a, r] + p.team_share * team


__all__ = ["COST", "NAMED", "REWARD", "all_", "pay", "potentials", "weights"]
