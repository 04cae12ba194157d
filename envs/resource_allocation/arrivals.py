# mypy: allow-untyped-defs, allow-incomplete-defs
"""Jobs that come to the cluster's queues and leave them, and nodes that fail."""

from __future__ import annotations

import math

from envs.resource_allocation.params import GEOMETRIC
from envs.resource_allocation.state import all_, own_, wait_
from marl.compiled import apart, rule
from marl.rng import draw, stream

COUNTS, CLASSES, WORKS, PHASES, OUTAGES, REPAIRS, OFFSET = range(7)
MOST_ARRIVALS = 2_000
"""Of a tenant in a tick: where the inversion stops, far beyond the busiest rate that is legal."""


@apart
def join(p, s, b, a, k, work):
    """A job of class k arrives at tenant a; a full queue drops it."""
    s.own[b, a, own_.arrived] += 1
    s.own[b, a, own_.came] += 1
    fits = 1 if s.own[b, a, own_.queued] < p.queue_limit else 0
    place = (s.own[b, a, own_.head] + s.own[b, a, own_.queued]) % p.queue_limit
    if fits == 1:
        s.wait[b, a, place, wait_.kind] = k
        s.wait[b, a, place, wait_.work] = work
        s.wait[b, a, place, wait_.since] = s.t[b]
        s.wait[b, a, place, wait_.due] = s.t[b] + math.ceil(p.slack * work) if p.slack > 0.0 else 0
    s.own[b, a, own_.queued] += fits
    s.queued_of[b, a, k] += fits
    s.all[b, all_.work_in] += fits * work
    s.all[b, all_.work_waiting] += fits * work
    s.own[b, a, own_.dropped] += 1 - fits
    s.own[b, a, own_.missed] += 1 - fits
    s.own[b, a, own_.lost] += 1 - fits


@rule
def leave(p, s, b, a):
    """The oldest job of tenant a leaves its queue; returns its place."""
    place = s.own[b, a, own_.head]
    s.own[b, a, own_.head] = (place + 1) % p.queue_limit
    s.own[b, a, own_.queued] -= 1
    s.queued_of[b, a, s.wait[b, a, place, wait_.kind]] -= 1
    s.all[b, all_.work_waiting] -= s.wait[b, a, place, wait_.work]
    return place


@rule
def switch_phases(p, s, b):
    phases = stream(s, b, PHASES)
    for a in range(p.n_agents):
        u = draw(phases, 0 if p.common else a)
        s.own[b, a, own_.phase] = (0 if u < p.leaves_burst else 1) if s.own[b, a, own_.phase] == 1 else (1 if u < p.enters_burst else 0)


@rule
def arrive(p, s, b):
    """Poisson arrivals at the phase's and the season's rate: the count by inversion, class and work of the tick's i-th job by draw i."""
    if p.burst > 1.0 and s.t[b] > 0:
        switch_phases(p, s, b)
    counts, classes, works = stream(s, b, COUNTS), stream(s, b, CLASSES), stream(s, b, WORKS)
    season, number = s.t[b] % p.period, 0
    for a in range(p.n_agents):
        rate, term = p.rate[s.own[b, a, own_.phase], season], p.idle[s.own[b, a, own_.phase], season]
        u, count = draw(counts, a), 0
        reached = term
        while u >= reached and count < MOST_ARRIVALS:
            count += 1
            term *= rate / count
            reached += term
        for _ in range(count):
            v, k = draw(classes, number), 0
            while k < p.classes - 1 and v >= p.mixture[a, k]:
                k += 1
            work = math.ceil(p.mean_work[k])
            if p.service == GEOMETRIC:
                work = 1 + int(math.log(1.0 - draw(works, number)) / p.log_stay[k])
            join(p, s, b, a, k, work)
            number += 1


@rule
def replay(p, s, b):
    """The trace's requests of this tick, each of a tenant that is drawn; behind its last tick the trace begins again.

    In a burst the trace runs `burst` times as fast, in whole ticks: a shift of the regime that all tenants share.
    """
    tenants, number, speed = stream(s, b, COUNTS), 0, 1
    if p.burst > 1.0:
        if s.t[b] > 0:
            switch_phases(p, s, b)
        speed = int(p.burst) if s.own[b, 0, own_.phase] == 1 else 1
    for step in range(speed):
        tick = (s.all[b, all_.offset] + s.t[b] + step) % p.replay_ticks
        for i in range(p.first[tick], p.first[tick + 1]):
            u, a = draw(tenants, number), 0
            while a < p.n_agents - 1 and u >= p.owner[a]:
                a += 1
            join(p, s, b, a, p.kinds[i], p.works[i])
            number += 1
    s.all[b, all_.offset] += speed - 1


@rule
def fail(p, s, b):
    """Nodes come back or fail; the length of an outage is geometric."""
    outages, repairs = stream(s, b, OUTAGES), stream(s, b, REPAIRS)
    for n in range(p.n_nodes):
        if s.down[b, n] > 0:
            s.down[b, n] -= 1
        elif draw(outages, n) < p.outage:
            s.down[b, n] = 1 + int(math.log(1.0 - draw(repairs, n)) / p.log_repair) if p.log_repair < 0.0 else 1
