# mypy: allow-untyped-defs, allow-incomplete-defs
"""Users: stages that exposures and clicks move, conversions that are due later, and the touches that get their credit.

Stages are toward one advertiser: unaware, aware, considering, intent, converted. An exposure moves an unaware or aware user on
with chance `push`, a click any but a converted one with `push_click`, a conversion makes it converted; users fall back by a stage
(converted ones to unaware) at the rate `fade`, and some unaware ones become aware without an auction (`organic`). Pooled users are
counts of a segment, and the stage of whoever sees an ad is drawn from them; a cohort's are individuals, whose counts are kept as well.

A click may convert: the delay is drawn, and the conversion waits in a ring of ticks until it is seen; drawn = seen + expired (after the
window) + later (due after the episode) + waiting. What is attributed is decided at once, by the touches of the path that are tracked: a
touch is recorded with chance `tracking`, and linked where its device is the conversion's or else with chance `identity`. The path of an
individual are its latest touches by the advertiser. A pooled user's are the click and as many of the latest clicks of its segment, at
random gaps, as its stage has steps. A conversion without a tracked touch has no credit. Credits per channel reach the observations when
the conversions are seen, in proportion to those that wait.
"""

from __future__ import annotations

import math

from envs.auction.attribution import by_channel, weights
from envs.auction.params import SHAPLEY, STAGES, TOUCHES, WEIBULL
from envs.auction.state import FULL, all_, arm_, inlined, mean_, own_, user_
from marl.compiled import rule
from marl.rng import draw, stream

STAGE_SALE = (0.3, 0.7, 1.3, 2.5, 0.1)
"""Conversion rate of a click in each stage over the segment's, ours: it grows on the way."""
INTENT, CONVERTED = 3, 4
DEVICES, KINDS, OWNERS = 2, 8, 1024
"""A touch is the word ((tick x 8 + channel) x 2 + device) x 1024 + advertiser, -1 where there is none; organic is channel 0."""
FLOWS, PATHS, DELAYS, PEOPLE = 20, 21, 22, 23


@rule
def stage_factor(stage):
    return STAGE_SALE[stage]


@inlined
def mean_factor(p, s, b, a, g):
    """Mean conversion factor of a segment's users."""
    total, count = 0.0, 0
    for i in range(STAGES):
        total += s.pool[b, a, g, i] * stage_factor(i)
        count += s.pool[b, a, g, i]
    return total / count if count > 0 else 1.0


@inlined
def drawn_stage(p, s, b, a, g, u):
    """Stage of a user of the segment, at the u-quantile of its pool."""
    count = 0
    for i in range(STAGES):
        count += s.pool[b, a, g, i]
    left = int(u * count)
    for i in range(STAGES):
        left -= s.pool[b, a, g, i]
        if left < 0:
            return i
    return 0


@inlined
def move(p, s, b, a, g, user, old, new):
    """A user from stage to stage."""
    if s.pool[b, a, g, old] > 0:
        s.pool[b, a, g, old] -= 1
        s.pool[b, a, g, new] += 1
        if user >= 0:
            s.stage[b, user, a] = new


@rule
def word_of(tick, channel, device, a):
    return ((tick * KINDS + channel) * DEVICES + device) * OWNERS + a


@inlined
def note(p, s, b, a, g, user, channel, device):
    """A touch: the latest of the path of the individual, or of the segment's ledger."""
    if user >= 0:
        for i in range(TOUCHES - 1, 0, -1):
            s.path[b, user, i] = s.path[b, user, i - 1]
        s.path[b, user, 0] = word_of(s.all[b, all_.clock], channel, device, a)
        s.user[b, user, user_.touches] += 1
        return
    for i in range(TOUCHES - 1, 0, -1):
        s.ledger[b, a, g, i] = s.ledger[b, a, g, i - 1]
    s.ledger[b, a, g, 0] = word_of(s.all[b, all_.clock], channel, device, 0)


@inlined
def recall(p, s, b, a, g, user, stage, paths, i):
    """Fill s.touch with the tracked touches of a path, oldest first, and return (their number, the number of all, the set of channels).

    The latest of the ledger or the path is the click itself. `paths` is the stream and i the conversion's or click's place in it.
    """
    device = 1 if draw(paths, 32 * i) < p.mobile else 0
    taken, at, whole, count = 0, 0, 0, 0
    most = TOUCHES if user >= 0 else 1 + stage
    for j in range(TOUCHES):
        word = s.path[b, user, at] if user >= 0 else s.ledger[b, a, g, at]
        owner = word % OWNERS if word >= 0 else -1
        if word >= 0 and (user < 0 or owner == a) and taken < most:
            code = word // OWNERS
            own_device, channel, tick = code % DEVICES, (code // DEVICES) % KINDS, code // (DEVICES * KINDS)
            linked = own_device == device or draw(paths, 32 * i + 3 * j + 1) < p.identity
            taken += 1
            if linked and draw(paths, 32 * i + 3 * j + 2) < p.tracking:
                s.touch[b, 0, count] = s.all[b, all_.clock] - tick
                s.touch[b, 1, count] = channel
                whole |= 1 << channel
                count += 1
        at += 1 if user >= 0 or j == 0 else 1 + int(2.0 * draw(paths, 32 * i + 3 * j + 3))
        if at >= TOUCHES:
            break
    for j in range(count // 2):
        for r in range(2):
            other = s.touch[b, r, count - 1 - j]
            s.touch[b, r, count - 1 - j] = s.touch[b, r, j]
            s.touch[b, r, j] = other
    return count, taken, whole


@inlined
def share_credit(p, s, b, a, count, whole):
    """Weights of the touches in s.touch, added to what the channels wait for."""
    if p.attribution == SHAPLEY:
        for subset in range(p.subsets):
            seen = s.met[b, a, subset, 0]
            s.value[b, subset] = (s.met[b, a, subset, 1] + 1.0) / (seen + 20.0) if subset > 0 and seen > 0 else 0.0
        by_channel(s.value[b], count, s.touch[b, 1], s.touch[b, 2])
    else:
        weights(p.attribution, count, s.touch[b, 0], p.half_life * p.ticks_per_day, s.touch[b, 2])
    for i in range(count):
        s.arm[b, a, int(s.touch[b, 1, i]), arm_.waiting] += s.touch[b, 2, i]


@inlined
def delay_of(p, u):
    """Whole ticks from click to conversion, the law's u-quantile."""
    if p.delay_scale <= 0.0:
        return 0
    x = -math.log(1.0 - u)
    if p.delay_law == WEIBULL:
        x = math.pow(x, 1.0 / p.delay_shape)
    return int(min(p.delay_scale * x, 1e9))


@inlined
def convert(p, s, b, a, g, user, stage, i):
    """A click of advertiser a converted: path, credit, delay. Number i of the tick. Returns whether it is tracked."""
    count, taken, whole = recall(p, s, b, a, g, user, stage, stream(s, b, PATHS), i)
    s.own[b, a, own_.drawn] += 1
    s.own[b, a, own_.tick_drawn] += 1
    s.mean[b, a, mean_.confidence] += 0.05 * (count / max(taken, 1) - s.mean[b, a, mean_.confidence])
    if p.attribution == SHAPLEY:
        s.met[b, a, whole, 1] += 1
    if user >= 0:
        s.user[b, user, user_.sales] += 1
        s.lifetime[b, user] += p.worth[a] * 1e-6
    move(p, s, b, a, g, user, stage, CONVERTED)
    wait = delay_of(p, draw(stream(s, b, DELAYS), i))
    cell = (s.t[b] + wait) % p.ring_cells
    for _ in range(p.ring_cells):
        if s.ring[b, a, cell, 0] < FULL:
            break
        cell = (cell + 1) % p.ring_cells
    if wait > p.window_ticks:
        s.own[b, a, own_.expired] += 1
    elif s.t[b] + wait >= p.horizon or s.ring[b, a, cell, 0] == FULL:
        s.own[b, a, own_.later] += 1
        s.own[b, a, own_.later_tracked] += 1 if count > 0 else 0
    else:
        s.ring[b, a, cell, 0] += 1
        if count > 0:
            s.ring[b, a, cell, 1] += 1
            s.own[b, a, own_.waiting] += 1
            share_credit(p, s, b, a, count, whole)
    return count > 0


@inlined
def met_path(p, s, b, a, g, user, stage, i):
    """A click: its path's set of channels is counted, whether it converts or not."""
    _, _, whole = recall(p, s, b, a, g, user, stage, stream(s, b, PATHS), i)
    s.met[b, a, whole, 0] += 1


@inlined
def due(p, s, b, a):
    """Conversions of the tick are seen, and the credit that they release."""
    cell = s.t[b] % p.ring_cells
    seen, tracked = s.ring[b, a, cell, 0], s.ring[b, a, cell, 1]
    s.ring[b, a, cell, 0] = s.ring[b, a, cell, 1] = 0
    s.own[b, a, own_.seen] += seen
    s.own[b, a, own_.tick_seen] = seen
    s.own[b, a, own_.tracked] += tracked
    s.own[b, a, own_.tick_tracked] = tracked
    share = tracked / s.own[b, a, own_.waiting] if tracked > 0 else 0.0
    s.own[b, a, own_.waiting] -= tracked
    for h in range(p.channels + 1):
        freed = share * s.arm[b, a, h, arm_.waiting]
        s.arm[b, a, h, arm_.waiting] -= freed
        s.arm[b, a, h, arm_.sales] += freed


@inlined
def flow(p, s, b):
    """What a tick does to users without an ad: pooled ones in proportion, rounded by chance; a cohort's once a day each."""
    flows = stream(s, b, FLOWS)
    if p.cohort_size > 0:
        lives(p, s, b, flows)
        return
    for a in range(p.n_agents):
        for g in range(p.segments):
            base = (a * p.segments + g) * STAGES
            for i in range(1, STAGES):
                gone = min(int(s.pool[b, a, g, i] * p.fade_tick + draw(flows, base + i)), s.pool[b, a, g, i])
                s.pool[b, a, g, i] -= gone
                s.pool[b, a, g, 0 if i == CONVERTED else i - 1] += gone
            come = min(int(s.pool[b, a, g, 0] * p.organic_tick + draw(flows, base)), s.pool[b, a, g, 0])
            s.pool[b, a, g, 0] -= come
            s.pool[b, a, g, 1] += come
            if come > 0:
                note(p, s, b, a, g, -1, 0, 0)


@inlined
def lives(p, s, b, flows):
    for user in range(s.t[b] % p.ticks_per_day, p.cohort_size, p.ticks_per_day):
        g = s.user[b, user, user_.segment]
        for a in range(p.n_agents):
            stage, u = s.stage[b, user, a], draw(flows, user * p.n_agents + a)
            if stage > 0 and u < p.fade:
                move(p, s, b, a, g, user, stage, 0 if stage == CONVERTED else stage - 1)
            elif stage == 0 and u < p.organic:
                move(p, s, b, a, g, user, 0, 1)
                note(p, s, b, a, g, user, 0, s.user[b, user, user_.mobile])


@inlined
def begin_users(p, s, b):
    """Everybody unaware without a touch; a persistent cohort stays as it was."""
    people = stream(s, b, PEOPLE)
    stays = p.persist and s.episode[b] > 0
    for a in range(p.n_agents):
        for g in range(p.segments):
            for i in range(STAGES):
                s.pool[b, a, g, i] = s.pool[b, a, g, i] if stays else 0
            if p.cohort_size == 0:
                s.pool[b, a, g, 0] = p.population
            for i in range(TOUCHES):
                s.ledger[b, a, g, i] = -1
    for user in range(0 if stays else p.cohort_size):
        g = p.cell_of[int(draw(people, 2 * user) * len(p.cell_of))] // p.channels
        s.user[b, user, user_.segment] = g
        s.user[b, user, user_.mobile] = 1 if draw(people, 2 * user + 1) < p.mobile else 0
        s.user[b, user, user_.touches] = s.user[b, user, user_.sales] = 0
        s.lifetime[b, user] = 0.0
        for i in range(TOUCHES):
            s.path[b, user, i] = -1
        for a in range(p.n_agents):
            s.stage[b, user, a] = 0
            s.pool[b, a, g, 0] += 1
