# mypy: allow-untyped-defs, allow-incomplete-defs
"""Creatives: fatigue, and the bandits that choose one for each segment and tick from what exposures and clicks they had.

uniform: any. eps_greedy: the best click rate so far, any with chance epsilon. ucb1 (Auer, Cesa-Bianchi and Fischer 2002): rate +
width sqrt(2 log N / n), the width times the mean click rate, as rates are small. thompson (Thompson 1933; Chapelle and Li 2011): the
highest of draws from Beta(1 + clicks, 1/mean rate + exposures - clicks). linucb (Li et al. 2010), disjoint, on the segment as one-hot
context: its ridge regression is then clicks/(1 + n) by segment, its width alpha/sqrt(1 + n), alpha as in ucb1. All but linucb pool
segments; linucb learns one from the other nothing.
"""

from __future__ import annotations

import math

from envs.auction.params import EPS_GREEDY, LINUCB, THOMPSON, UCB1
from envs.auction.state import apart, inlined
from marl.rng import draw, gaussian

TRIES = 64
"""Rejections that a gamma draw takes at most; the chance of so many is below 1e-80."""


@inlined
def click_rate(p, s, b, a, c, g, h):
    """Chance that an exposure is clicked now: the creative's in the segment, as the channel has it, less what it is worn out."""
    fresh = 1.0 - p.fatigue_depth * s.tired[b, a, c]
    return min(1.0, p.rate_of_click[a, c, g] * p.channel_click[h] * fresh)


@inlined
def wear(p, s, b, a, c):
    """An exposure of creative c: it loses a share of its freshness."""
    s.tired[b, a, c] += p.wear * (1.0 - s.tired[b, a, c])


@inlined
def rest(p, s, b, a):
    """A tick's recovery."""
    for c in range(p.creatives):
        s.tired[b, a, c] *= p.rest


@apart
def gamma_draw(stream, base, shape):
    """Gamma(shape, 1) for a shape of 1 and more (Marsaglia and Tsang 2000) from numbers of the stream from `base` on."""
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for i in range(TRIES):
        x = gaussian(stream, base + 2 * i)
        v = 1.0 + c * x
        if v > 0.0:
            v = v * v * v
            if math.log(1.0 - draw(stream, 2 * (base + 2 * i) + 2)) < 0.5 * x * x + d - d * v + d * math.log(v):
                return d * v
    return d


@inlined
def beta_draw(stream, base, one, other):
    """Beta(one, other) for both of 1 and more."""
    x = gamma_draw(stream, base, one)
    return x / (x + gamma_draw(stream, base + 2 * TRIES, other))


@inlined
def merit(p, shown, clicks, all_shown, stream, i):
    """What a selector thinks of a creative with these counts; the highest is shown."""
    width = p.explore * p.mean_click
    rate = clicks / shown if shown > 0 else 1.0
    if p.selector == EPS_GREEDY:
        return rate
    if p.selector == UCB1:
        return rate + width * math.sqrt(2.0 * math.log(1.0 + all_shown) / shown) if shown > 0 else 1e9 + draw(stream, 3 * i)
    if p.selector == THOMPSON:
        return beta_draw(stream, 4 * TRIES * i, 1.0 + clicks, 1.0 / p.mean_click + shown - clicks)
    if p.selector == LINUCB:
        return (clicks + p.mean_click) / (1.0 + shown) + width * math.sqrt(1.0 + math.log(1.0 + all_shown)) / math.sqrt(1.0 + shown)
    return draw(stream, 3 * i)


@inlined
def choose(p, s, b, a, g, stream):
    """The creative that advertiser a shows to segment g in the coming tick, by its selector."""
    best, chosen, total = -1.0, 0, 0
    greedy = p.selector == EPS_GREEDY and draw(stream, 3 * (p.creatives * (a * p.segments + g) + 1) + 2) < p.explore
    for c in range(p.creatives):
        for h in range(p.segments):
            total += s.made[b, a, c, h, 0] if p.selector != LINUCB or h == g else 0
    for c in range(p.creatives):
        shown, clicks = 0, 0
        for h in range(p.segments):
            if p.selector != LINUCB or h == g:
                shown += s.made[b, a, c, h, 0]
                clicks += s.made[b, a, c, h, 1]
        i = p.creatives * (a * p.segments + g) + c
        found = draw(stream, 3 * i) if greedy else merit(p, float(shown), float(clicks), float(total), stream, i)
        if found > best:
            best, chosen = found, c
    return chosen
