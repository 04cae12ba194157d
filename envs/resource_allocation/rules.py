# mypy: allow-untyped-defs, allow-incomplete-defs
"""The cluster: tenants' jobs with demands for several resources wait, are started on nodes, and run without interruption.

A tick: 1 jobs arrive and nodes fail, jobs whose deadline has passed at the head of their queue are dropped; 2 tenants say what share
of each resource they want at most, how much of their credits they pay, and which share of their waiting jobs they hold back;
3 the mechanism names the tenant whose oldest job is started next, again and again, 4 each on the node that fits it best, until
nobody has a job that fits; 5 jobs work; 6 utility, payments, losses; 7 credits come in; 8 all see.

The mechanism takes the tenant with the lowest key (`price_of`): fcfs the oldest arrival (and nobody overtakes it), priority the most
valuable job, srpt the shortest, max_min the smallest share of the first resource, drf the smallest dominant share (Ghodsi et al. 2011),
proportional_fair the smallest that it has had of late, equal_split as drf within 1/A of each resource (a lone job may exceed it),
proportional_share the smallest dominant share for its payment, with the job (Kelly 1997, by jobs), arbiter the same for the
arbiter's weights. Equal keys go round from tick to tick. Credits are whole millionths, units and ticks whole numbers.

With arrivals `events` a tick is one event of M/M/c drawn with all servers on: an arrival, or the departure of a server, which is
nothing where that server is free (uniformisation: Jensen 1953). The state after the allocation then has the law of M/M/c exactly.
"""

from __future__ import annotations

import math

from envs.resource_allocation.accounts import record, settle
from envs.resource_allocation.arrivals import CLASSES, COUNTS, OFFSET, PHASES, WORKS, arrive, fail, join, leave, replay
from envs.resource_allocation.params import (
    ARBITER,
    BEST_FIT,
    EQUAL_SPLIT,
    EVENTS,
    FCFS,
    FIRST_FIT,
    MAX_MIN,
    MICRO,
    PRIORITY,
    PROPORTIONAL_FAIR,
    PROPORTIONAL_SHARE,
    SRPT,
    TRACE,
)  # fmt: skip
from envs.resource_allocation.state import ALL, BUCKETS, MEAN, OWN, RUN, WHOLE, all_, mean_, own_, run_, wait_, whole_
from marl.compiled import apart, rule
from marl.game import RUNNING, TERMINATED
from marl.rng import draw, stream, uniform

NEVER = 1e300
"""Key of a tenant that starts nothing."""
STALE = -1e300
"""Key that has to be found anew."""


@apart
def begin(p, s, b):
    for i in range(len(ALL)):
        s.all[b, i] = 0
    for i in range(len(WHOLE)):
        s.whole[b, i] = 0.0
    s.whole[b, whole_.fair] = 1.0
    s.all[b, all_.offset] = int(uniform(s, b, OFFSET, 0) * p.replay_ticks) if p.wanders else 0
    phases, often = stream(s, b, PHASES), p.enters_burst / (p.enters_burst + p.leaves_burst)
    for a in range(p.n_agents):
        for i in range(len(OWN)):
            s.own[b, a, i] = 0
        for i in range(len(MEAN)):
            s.mean[b, a, i] = 0.0
        s.own[b, a, own_.phase] = 1 if draw(phases, 0 if p.common else a) < often else 0
        s.own[b, a, own_.credit] = s.own[b, a, own_.issued] = p.purse_money
        s.mean[b, a, mean_.granted] = 1.0
        for r in range(p.resources):
            s.used[b, a, r] = 0
            s.sum_used[b, a, r] = 0.0
        for k in range(p.classes):
            s.queued_of[b, a, k] = 0
    for n in range(p.n_nodes):
        s.down[b, n] = 0
        for r in range(p.resources):
            s.free[b, n, r] = p.capacity[n, r]
    for i in range(BUCKETS):
        s.slow[b, i] = 0


@rule
def clear_tick(p, s, b):
    for a in range(p.n_agents):
        for i in range(own_.bid, len(OWN)):
            s.own[b, a, i] = 0
        s.mean[b, a, mean_.gained] = 0.0


@rule
def event(p, s, b):
    """An arrival, or the departure of one of the servers: the j-th running job, where there is one."""
    if uniform(s, b, COUNTS, 0) < p.arrival_chance:
        join(p, s, b, int(uniform(s, b, CLASSES, 0) * p.n_agents), 0, 1)
    else:
        server = int(uniform(s, b, WORKS, 0) * p.slots)
        if server < s.all[b, all_.running]:
            s.run[b, server, run_.left] = 0
            s.all[b, all_.work_done] += 1
            finish(p, s, b, server)


@rule
def price_of(p, s, b, a, action):
    """Set tenant a's key: expired jobs leave first; NEVER where it has no job, holds it back, or would exceed what it asked for."""
    while s.own[b, a, own_.queued] > 0:
        due = s.wait[b, a, s.own[b, a, own_.head], wait_.due]
        if due == 0 or due > s.t[b]:
            break
        s.all[b, all_.work_gone] += s.wait[b, a, s.own[b, a, own_.head], wait_.work]
        leave(p, s, b, a)
        s.own[b, a, own_.dropped] += 1
        s.own[b, a, own_.missed] += 1
        s.own[b, a, own_.lost] += 1
    s.mean[b, a, mean_.rank] = NEVER
    if s.own[b, a, own_.queued] == 0 or s.own[b, a, own_.quota] <= 0:
        return
    place = s.own[b, a, own_.head]
    k = s.wait[b, a, place, wait_.kind]
    now, then = 0.0, 0.0
    for r in range(p.resources):
        after = s.used[b, a, r] + p.demand[k, r]
        cap = action[b, a, r] * p.total[r] if action[b, a, r] < 1.0 else NEVER  # who asks for everything is never too greedy to queue
        if p.mechanism == EQUAL_SPLIT:
            cap = min(cap, p.total[r] / p.n_agents)
        cap = max(cap, float(p.demand[k, r]))  # a job alone is never too much, or one that is would shut its tenant's queue for good
        if p.demand[k, r] > 0 and after > cap + 1e-9:
            return
        now = max(now, s.used[b, a, r] / p.total[r])
        then = max(then, after / p.total[r])
    s.mean[b, a, mean_.rank] = key_of(p, s, b, a, k, place, now, then, action)


@rule
def key_of(p, s, b, a, k, place, now, then, action):
    """The mechanism's key of a tenant whose oldest job would raise its dominant share from `now` to `then`."""
    if p.mechanism == FCFS:
        return float(s.wait[b, a, place, wait_.since])
    if p.mechanism == PRIORITY:
        return -p.worth[k]
    if p.mechanism == SRPT:
        return float(s.wait[b, a, place, wait_.work])
    if p.mechanism == MAX_MIN:
        return s.used[b, a, 0] / p.total[0]
    if p.mechanism == PROPORTIONAL_FAIR:
        return p.decay * s.mean[b, a, mean_.recent] + (1.0 - p.decay) * now
    if p.mechanism == PROPORTIONAL_SHARE:
        return then * MICRO / s.own[b, a, own_.bid] if s.own[b, a, own_.bid] > 0 else NEVER
    if p.mechanism == ARBITER:
        return then / action[b, p.n_agents, a]
    return now


@rule
def fit(p, s, b, k):
    """The node for a job of class k: the one with the least left over, the first, or the one with the most; -1 where none has room."""
    chosen, best = -1, NEVER
    for n in range(p.n_nodes):
        room, left = s.down[b, n] == 0, 0.0
        for r in range(p.resources):
            rest = s.free[b, n, r] - p.demand[k, r]
            room = room and rest >= 0
            left += rest / p.total[r]
        score = left if p.placement == BEST_FIT else float(n) if p.placement == FIRST_FIT else -left
        if room and score < best:
            chosen, best = n, score
    return chosen


@rule
def start(p, s, b, a, node):
    """The oldest job of tenant a starts on a node."""
    place = leave(p, s, b, a)
    k, i = s.wait[b, a, place, wait_.kind], s.all[b, all_.running]
    s.run[b, i, run_.tenant], s.run[b, i, run_.node], s.run[b, i, run_.kind] = a, node, k
    s.run[b, i, run_.left] = s.run[b, i, run_.work] = s.wait[b, a, place, wait_.work]
    s.run[b, i, run_.since], s.run[b, i, run_.due] = s.wait[b, a, place, wait_.since], s.wait[b, a, place, wait_.due]
    s.all[b, all_.running] += 1
    s.own[b, a, own_.running] += 1
    for r in range(p.resources):
        s.free[b, node, r] -= p.demand[k, r]
        s.used[b, a, r] += p.demand[k, r]
    s.own[b, a, own_.started] += 1
    s.own[b, a, own_.quota] -= 1
    waited = s.t[b] - s.wait[b, a, place, wait_.since]
    counts = 1.0 if s.t[b] >= p.warm_up else 0.0
    s.mean[b, a, mean_.sum_started] += counts
    s.mean[b, a, mean_.sum_wait] += counts * waited
    s.mean[b, a, mean_.sum_delayed] += counts if waited > 0 else 0.0


@rule
def allocate(p, s, b, action):
    """Start jobs in the order of the mechanism until none fits. With fcfs nobody overtakes the oldest that does not."""
    for a in range(p.n_agents):
        queued = s.own[b, a, own_.queued]
        s.own[b, a, own_.wanted] = queued
        released = (1.0 - action[b, a, p.resources + 1]) * queued + s.mean[b, a, mean_.released]
        s.own[b, a, own_.quota] = int(released + 1e-9)
        s.mean[b, a, mean_.released] = max(0.0, released - s.own[b, a, own_.quota])  # parts of a job add up to one
        s.mean[b, a, mean_.rank] = STALE
    turn = s.t[b] % p.n_agents
    while True:
        best, low = -1, NEVER
        for i in range(p.n_agents):
            a = turn + i
            a -= p.n_agents if a >= p.n_agents else 0
            if s.mean[b, a, mean_.rank] == STALE:
                price_of(p, s, b, a, action)
            if s.mean[b, a, mean_.rank] < low:
                best, low = a, s.mean[b, a, mean_.rank]
        if best < 0:
            break
        node = fit(p, s, b, s.wait[b, best, s.own[b, best, own_.head], wait_.kind])
        if node >= 0:
            start(p, s, b, best, node)
        elif p.mechanism == FCFS:
            break
        s.mean[b, best, mean_.rank] = STALE if node >= 0 else NEVER


@rule
def work(p, s, b):
    """A tick of work of every job whose node is up."""
    for i in range(s.all[b, all_.running] - 1, -1, -1):  # from the last, who takes a finished job's place and has had its tick
        if s.down[b, s.run[b, i, run_.node]] == 0:
            s.run[b, i, run_.left] -= 1
            s.all[b, all_.work_done] += 1
            if s.run[b, i, run_.left] == 0:
                finish(p, s, b, i)


@apart
def finish(p, s, b, i):
    """Running job i is done: its tenant gains the value, less where it is late; its place is taken by the last."""
    a, node, k, last = s.run[b, i, run_.tenant], s.run[b, i, run_.node], s.run[b, i, run_.kind], s.all[b, all_.running] - 1
    late = s.run[b, i, run_.due] > 0 and s.t[b] + 1 > s.run[b, i, run_.due]
    s.mean[b, a, mean_.gained] += p.worth[k] * (p.late if late else 1.0)
    s.own[b, a, own_.missed] += 1 if late else 0
    s.own[b, a, own_.done] += 1
    s.own[b, a, own_.ended] += 1
    slowdown = max(1.0, (s.t[b] + 1 - s.run[b, i, run_.since]) / s.run[b, i, run_.work])
    bucket = min(BUCKETS - 1, int(8.0 * math.log(slowdown) / math.log(2.0)))
    s.slow[b, bucket] += 1 if s.t[b] >= p.warm_up else 0
    for r in range(p.resources):
        s.free[b, node, r] += p.demand[k, r]
        s.used[b, a, r] -= p.demand[k, r]
    s.own[b, a, own_.running] -= 1
    for c in range(len(RUN)):
        s.run[b, i, c] = s.run[b, last, c]
    s.all[b, all_.running] = last


@rule
def pay(p, s, b, action):
    """Bids are paid, won or lost; only proportional sharing takes any."""
    s.whole[b, whole_.price] = 0.0
    for a in range(p.n_agents):
        bid = int(action[b, a, p.resources] * s.own[b, a, own_.credit]) if p.mechanism == PROPORTIONAL_SHARE else 0
        s.own[b, a, own_.bid] = bid
        s.own[b, a, own_.credit] -= bid
        s.own[b, a, own_.paid] += bid
        s.all[b, all_.collected] += bid
        s.whole[b, whole_.price] += bid / MICRO


@rule
def regenerate(p, s, b):
    for a in range(p.n_agents):
        more = min(p.income_money, p.purse_money - s.own[b, a, own_.credit])
        s.own[b, a, own_.credit] += more
        s.own[b, a, own_.issued] += more


@rule
def step(p, s, b, action, components, cost):
    clear_tick(p, s, b)
    if p.arrivals == EVENTS:
        event(p, s, b)
    elif p.arrivals == TRACE:
        replay(p, s, b)
    else:
        arrive(p, s, b)
    if p.outage > 0.0:
        fail(p, s, b)
    pay(p, s, b, action)
    allocate(p, s, b, action)
    record(p, s, b)
    if p.arrivals != EVENTS:
        work(p, s, b)
    settle(p, s, b, components, cost)
    regenerate(p, s, b)
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING
