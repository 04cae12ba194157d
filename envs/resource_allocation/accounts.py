# mypy: allow-untyped-defs, allow-incomplete-defs
"""What the cluster shows and counts: observations, rewards, metrics, and the laws that hold on every step."""

from __future__ import annotations

import math
from typing import Any

from envs.resource_allocation.params import MICRO, ClusterParams
from envs.resource_allocation.state import BUCKETS, all_, mean_, own_, run_, wait_, whole_
from marl.compiled import apart, rule
from marl.game import Column, Component, index, inf

LEAST = 1e-6
"""Smallest dominant share that the welfare counts, so that it is finite."""

TENANT = {
    "time_left": Column(0, 1, "share of the horizon"),
    "tenants": Column(0, 1, "logarithm of their number over that of 128"),
    "wait": Column(0, inf, "ticks that the oldest waiting job has waited, over its work"),
    "slack": Column(0, inf, "ticks to the oldest waiting job's deadline over its work, 0 without one"),
    "dominant_share": Column(0, 1, "own largest share of a resource"),
    "credits": Column(0, 1, "share of the purse"),
    "price": Column(0, inf, "credits that all bid in the last tick"),
    "granted": Column(0, 1, "average share of own waiting jobs that a tick started"),
    "arrivals": Column(0, inf, "average own jobs a tick"),
    "jain": Column(0, 1, "Jain's index of average dominant shares"),
    "outage": Column(0, 1, "share of nodes"),
    "season_sine": Column(-1, 1),
    "season_cosine": Column(-1, 1),
    "carbon": Column(0, 2, "carbon intensity over its mean"),
}
ARBITER_SEES = {name: TENANT[name] for name in ("time_left", "jain", "outage", "season_sine", "season_cosine", "carbon")}
OF_TENANT = {
    "queue": Column(0, 1, "share of the queue's limit"),
    "wait": TENANT["wait"],
    "need": Column(0, 1, "dominant share of the oldest waiting job"),
    "share": TENANT["dominant_share"],
    "recent": Column(0, 1, "average dominant share"),
}
"""What the arbiter sees of each tenant."""
REWARD = {
    "utility": Component(1.0, "utility"),
    "payment": Component(1.0, "credits, negative"),
    "delay": Component(0.01, "jobs that wait, negative"),
    "sla": Component(1.0, "jobs dropped or late, negative"),
    "carbon": Component(1.0, "utility, negative"),
    "fairness": Component(1.0, "change of Jain's index of average dominant shares"),
}
COST = {
    "sla": Column(0, inf, "jobs dropped or late"),
    "carbon": Column(0, 2, "own dominant share x carbon intensity"),
    "unfairness": Column(0, 1, "1 less Jain's index of average dominant shares"),
}
METRICS = {
    "utility": Column(0, inf, "a tick, the tenant's"),
    "payment": Column(0, inf, "credits a tick, the tenant's"),
    "throughput": Column(0, inf, "finished jobs a tick, the tenant's"),
    "sla_missed": Column(0, 1, "share of the tenant's finished and dropped jobs that were dropped or late"),
    "wait": Column(0, inf, "mean ticks to a job's start, the tenant's"),
    "delayed": Column(0, 1, "share of the tenant's started jobs that had to wait"),
    "queue": Column(0, inf, "mean waiting jobs, the tenant's"),
    "dominant_share": Column(0, 1 + 1e-9, "mean, the tenant's"),
    "envy": Column(0, inf, "mean jobs that another's resources would run beyond own, over those of an equal split"),
    "slowdown_p50": Column(0, inf, "ticks from arrival to end over work, median of all finished jobs"),
    "slowdown_p95": Column(0, inf, "the same, 95th percentile"),
    "slowdown_p99": Column(0, inf, "the same, 99th percentile"),
    "utilisation": Column(0, 1 + 1e-9, "mean share of all resources in use"),
    "jain": Column(0, 1, "Jain's index of the mean dominant shares"),
    "welfare": Column(-inf, inf, "mean alpha-fair utility of the mean dominant shares"),
    "fragmentation": Column(0, 1, "mean share of the free first resource that is not on the freest node"),
    "energy": Column(0, 1 + 1e-9, "mean share of full power"),
    "carbon": Column(0, 2 + 1e-9, "mean of power x carbon intensity"),
    "price": Column(0, inf, "mean credits that all bid in a tick"),
    "price_volatility": Column(0, inf, "standard deviation over mean of the price"),
}
AUDIT = ("capacity", "work", "jobs", "credits")
tenant_, arbiter_, reward_, cost_, metric_ = (index(table) for table in (TENANT, ARBITER_SEES, REWARD, COST, METRICS))
WIDTH, ARBITER_WIDTH, EACH = len(TENANT), len(ARBITER_SEES), len(OF_TENANT)


def tenant_columns(p: ClusterParams) -> dict[str, Any]:
    """What tenants see: the fixed columns, then by class and by resource."""
    classes, resources = range(p.classes), range(p.resources)
    seen = dict(TENANT)
    seen |= {f"queue_{k}": Column(0, 1, f"own waiting jobs of class {k}, share of the queue's limit") for k in classes}
    seen |= {f"need_{r}": Column(0, 1, f"oldest waiting job's share of resource {r}") for r in resources}
    seen |= {f"used_{r}": Column(0, 1, f"own share of resource {r}") for r in resources}
    return seen | {f"utilisation_{r}": Column(0, 1, f"share of resource {r} in use") for r in resources}


def arbiter_columns(p: ClusterParams) -> dict[str, Any]:
    """What the arbiter sees: the fixed columns, the use of resources, and of each tenant the columns of OF_TENANT.

    Where these are as many as a tenant's, `tenants` stands behind them, so that a row's width tells whose it is.
    """
    seen = ARBITER_SEES | {f"utilisation_{r}": Column(0, 1, f"share of resource {r} in use") for r in range(p.resources)}
    seen |= {f"{name}_{a}": column for a in range(p.n_agents) for name, column in OF_TENANT.items()}
    return seen | ({"tenants": TENANT["tenants"]} if len(seen) == len(tenant_columns(p)) else {})


@rule
def record(p, s, b):
    """Count the tick after its allocation: what jobs hold while they work."""
    counts, season = 1.0 if s.t[b] >= p.warm_up else 0.0, s.t[b] % p.period
    total, squares, first = 0.0, 0.0, 0.0
    for a in range(p.n_agents):
        share = 0.0
        for r in range(p.resources):
            share = max(share, s.used[b, a, r] / p.total[r])
            s.sum_used[b, a, r] += counts * s.used[b, a, r]
        s.mean[b, a, mean_.share] = share
        first += s.used[b, a, 0] / p.total[0]
        s.mean[b, a, mean_.recent] = p.decay * s.mean[b, a, mean_.recent] + (1.0 - p.decay) * share
        s.mean[b, a, mean_.arriving] = p.decay * s.mean[b, a, mean_.arriving] + (1.0 - p.decay) * s.own[b, a, own_.came]
        ratio = s.own[b, a, own_.started] / s.own[b, a, own_.wanted] if s.own[b, a, own_.wanted] > 0 else s.mean[b, a, mean_.granted]
        s.mean[b, a, mean_.granted] = p.decay * s.mean[b, a, mean_.granted] + (1.0 - p.decay) * ratio
        total += s.mean[b, a, mean_.recent]
        squares += s.mean[b, a, mean_.recent] * s.mean[b, a, mean_.recent]
        s.mean[b, a, mean_.sum_share] += counts * share
        s.mean[b, a, mean_.sum_queue] += counts * s.own[b, a, own_.queued]
        s.mean[b, a, mean_.sum_paid] += counts * s.own[b, a, own_.bid] / MICRO
    fair = min(1.0, total * total / (p.n_agents * squares)) if squares > 0.0 else 1.0
    s.whole[b, whole_.change] = fair - s.whole[b, whole_.fair]
    s.whole[b, whole_.fair] = fair
    power = p.idle_power + (1.0 - p.idle_power) * first
    s.whole[b, whole_.sum_energy] += counts * power
    s.whole[b, whole_.sum_carbon] += counts * power * p.intensity[season]
    s.whole[b, whole_.sum_price] += counts * s.whole[b, whole_.price]
    s.whole[b, whole_.sum_square] += counts * s.whole[b, whole_.price] * s.whole[b, whole_.price]
    s.whole[b, whole_.sum_fragmented] += counts * fragmentation(p, s, b)


@rule
def fragmentation(p, s, b):
    """Share of the free first resource that is not on the freest node; nodes that are down have none."""
    free, most = 0, 0
    for n in range(p.n_nodes):
        here = s.free[b, n, 0] if s.down[b, n] == 0 else 0
        free += here
        most = max(most, here)
    return 1.0 - most / free if free > 0 else 0.0


@rule
def settle(p, s, b, components, cost):
    """Rewards and costs of the tick. The arbiter's are the tenants' means."""
    counts, intensity = 1.0 if s.t[b] >= p.warm_up else 0.0, p.intensity[s.t[b] % p.period]
    each = 1.0 / p.n_agents
    for a in range(p.n_agents):
        footprint = s.mean[b, a, mean_.share] * intensity
        components[b, a, reward_.utility] = s.mean[b, a, mean_.gained]
        components[b, a, reward_.payment] = -s.own[b, a, own_.bid] / MICRO
        components[b, a, reward_.delay] = -float(s.own[b, a, own_.queued])
        components[b, a, reward_.sla] = -float(s.own[b, a, own_.missed])
        components[b, a, reward_.carbon] = -p.carbon_price * footprint
        components[b, a, reward_.fairness] = s.whole[b, whole_.change]
        cost[b, a, cost_.sla] = s.own[b, a, own_.missed]
        cost[b, a, cost_.carbon] = footprint
        cost[b, a, cost_.unfairness] = 1.0 - s.whole[b, whole_.fair]
        if p.agents > p.n_agents:
            for i in range(components.shape[2]):
                components[b, p.n_agents, i] += each * components[b, a, i]
            for i in range(cost.shape[2]):
                cost[b, p.n_agents, i] += each * cost[b, a, i]
        s.mean[b, a, mean_.sum_gained] += counts * s.mean[b, a, mean_.gained]
        s.mean[b, a, mean_.sum_ended] += counts * s.own[b, a, own_.ended]
        s.mean[b, a, mean_.sum_missed] += counts * s.own[b, a, own_.missed]
        s.mean[b, a, mean_.sum_settled] += counts * (s.own[b, a, own_.ended] + s.own[b, a, own_.lost])
    if p.agents > p.n_agents:
        components[b, p.n_agents, reward_.payment] = 0.0


@apart
def observe(p, s, b, obs):
    season = s.t[b] % p.period
    down = 0
    for n in range(p.n_nodes):
        down += 1 if s.down[b, n] > 0 else 0
    crowd, wide = math.log(p.n_agents) / math.log(128.0), p.agents > p.n_agents
    place = WIDTH + p.classes
    for a in range(p.n_agents):
        obs[b, a, tenant_.time_left] = 1.0 - s.t[b] / p.horizon
        obs[b, a, tenant_.tenants] = crowd
        obs[b, a, tenant_.dominant_share] = s.mean[b, a, mean_.share]
        obs[b, a, tenant_.credits] = s.own[b, a, own_.credit] / p.purse_money
        obs[b, a, tenant_.price] = s.whole[b, whole_.price]
        obs[b, a, tenant_.granted] = s.mean[b, a, mean_.granted]
        obs[b, a, tenant_.arrivals] = s.mean[b, a, mean_.arriving]
        obs[b, a, tenant_.jain] = s.whole[b, whole_.fair]
        obs[b, a, tenant_.outage] = down / p.n_nodes
        obs[b, a, tenant_.season_sine] = p.sine[season]
        obs[b, a, tenant_.season_cosine] = p.cosine[season]
        obs[b, a, tenant_.carbon] = p.intensity[season]
        for k in range(p.classes):
            obs[b, a, WIDTH + k] = s.queued_of[b, a, k] / p.queue_limit
        observe_head(p, s, b, a, obs)
    for r in range(p.resources):
        used = 0
        for a in range(p.n_agents):
            used += s.used[b, a, r]
        for a in range(p.n_agents):
            obs[b, a, place + p.resources + r] = s.used[b, a, r] / p.total[r]
            obs[b, a, place + 2 * p.resources + r] = used / p.total[r]
        if wide:
            obs[b, p.n_agents, ARBITER_WIDTH + r] = used / p.total[r]
    if wide:
        oversee(p, s, b, down, season, obs)


@rule
def observe_head(p, s, b, a, obs):
    """The oldest waiting job of tenant a; nothing where none waits."""
    here, oldest = 1.0 if s.own[b, a, own_.queued] > 0 else 0.0, s.own[b, a, own_.head]
    due, work, k = s.wait[b, a, oldest, wait_.due], max(1, s.wait[b, a, oldest, wait_.work]), s.wait[b, a, oldest, wait_.kind]
    obs[b, a, tenant_.wait] = (s.t[b] - s.wait[b, a, oldest, wait_.since]) / work if here else 0.0
    obs[b, a, tenant_.slack] = here * max(0, due - s.t[b]) / work if due > 0 else 0.0
    for r in range(p.resources):
        obs[b, a, WIDTH + p.classes + r] = here * p.job_share[k, r]


@rule
def oversee(p, s, b, down, season, obs):
    """The arbiter's row."""
    me = p.n_agents
    obs[b, me, arbiter_.time_left] = 1.0 - s.t[b] / p.horizon
    obs[b, me, arbiter_.jain] = s.whole[b, whole_.fair]
    obs[b, me, arbiter_.outage] = down / p.n_nodes
    obs[b, me, arbiter_.season_sine] = p.sine[season]
    obs[b, me, arbiter_.season_cosine] = p.cosine[season]
    obs[b, me, arbiter_.carbon] = p.intensity[season]
    for a in range(p.n_agents):
        need, at = 0.0, ARBITER_WIDTH + p.resources + EACH * a
        for r in range(p.resources):
            need = max(need, float(obs[b, a, WIDTH + p.classes + r]))
        obs[b, me, at] = s.own[b, a, own_.queued] / p.queue_limit
        obs[b, me, at + 1] = obs[b, a, tenant_.wait]
        obs[b, me, at + 2] = need
        obs[b, me, at + 3] = s.mean[b, a, mean_.share]
        obs[b, me, at + 4] = s.mean[b, a, mean_.recent]
    wide = ARBITER_WIDTH + p.resources + EACH * p.n_agents
    if wide == WIDTH + p.classes + 3 * p.resources:
        obs[b, me, wide] = math.log(p.n_agents) / math.log(128.0)


@apart
def percentile(s, b, share):
    """Slowdown that `share` of the finished jobs do not exceed, geometric inside its bucket; 0 where none was finished."""
    whole, below = 0, 0
    for i in range(BUCKETS):
        whole += s.slow[b, i]
    if whole == 0:
        return 0.0
    for i in range(BUCKETS):
        if below + s.slow[b, i] >= share * whole and s.slow[b, i] > 0:
            return math.exp((i + (share * whole - below) / s.slow[b, i]) * math.log(2.0) / 8.0)
        below += s.slow[b, i]
    return math.exp(BUCKETS * math.log(2.0) / 8.0)


@rule
def jobs_from(p, s, b, a, i):
    """Mean jobs of tenant a's mean demand that the resources of tenant i would run."""
    most = 1e300
    for r in range(p.resources):
        if p.typical[a, r] > 0.0:
            most = min(most, s.sum_used[b, i, r] / p.typical[a, r])
    return most


@apart
def envy(p, s, b, a, ticks):
    """Mean jobs that the best of the others' resources would run beyond own, over those of an equal split."""
    most, split = 0.0, 1e300
    own = jobs_from(p, s, b, a, a)
    for i in range(p.n_agents):
        most = max(most, jobs_from(p, s, b, a, i) - own)
    for r in range(p.resources):
        if p.typical[a, r] > 0.0:
            split = min(split, p.total[r] / (p.n_agents * p.typical[a, r]))
    return most / (ticks * split)


@apart
def welfare(p, s, b, ticks):
    """Mean over tenants of x^(1 - alpha)/(1 - alpha), log x for alpha = 1, of mean dominant shares x (Mo and Walrand 2000)."""
    total = 0.0
    for a in range(p.n_agents):
        x = max(LEAST, s.mean[b, a, mean_.sum_share] / ticks)
        total += math.log(x) if p.alpha == 1.0 else x ** (1.0 - p.alpha) / (1.0 - p.alpha)
    return total / p.n_agents


@apart
def measure(p, s, b, metrics):
    ticks = float(p.horizon - p.warm_up)
    shares, squares, used = 0.0, 0.0, 0.0
    for a in range(p.n_agents):
        shares += s.mean[b, a, mean_.sum_share]
        squares += s.mean[b, a, mean_.sum_share] * s.mean[b, a, mean_.sum_share]
        for r in range(p.resources):
            used += s.sum_used[b, a, r] / (p.total[r] * p.resources * ticks)
    price = s.whole[b, whole_.sum_price] / ticks
    spread = math.sqrt(max(0.0, s.whole[b, whole_.sum_square] / ticks - price * price))
    for a in range(p.n_agents):
        own(p, s, b, a, ticks, metrics)
    p50, p95, p99, fair = percentile(s, b, 0.5), percentile(s, b, 0.95), percentile(s, b, 0.99), welfare(p, s, b, ticks)
    for a in range(p.agents):
        metrics[b, a, metric_.slowdown_p50] = p50
        metrics[b, a, metric_.slowdown_p95] = p95
        metrics[b, a, metric_.slowdown_p99] = p99
        metrics[b, a, metric_.utilisation] = used
        metrics[b, a, metric_.jain] = min(1.0, shares * shares / (p.n_agents * squares)) if squares > 0.0 else 1.0
        metrics[b, a, metric_.welfare] = fair
        metrics[b, a, metric_.fragmentation] = s.whole[b, whole_.sum_fragmented] / ticks
        metrics[b, a, metric_.energy] = s.whole[b, whole_.sum_energy] / ticks
        metrics[b, a, metric_.carbon] = s.whole[b, whole_.sum_carbon] / ticks
        metrics[b, a, metric_.price] = price
        metrics[b, a, metric_.price_volatility] = over(spread, price)
    if p.agents > p.n_agents:
        for i in range(metric_.envy + 1):  # the arbiter's row: means of the tenants'
            metrics[b, p.n_agents, i] = 0.0
            for a in range(p.n_agents):
                metrics[b, p.n_agents, i] += metrics[b, a, i] / p.n_agents


@rule
def over(part, whole):
    return part / whole if whole > 0.0 else 0.0


@rule
def own(p, s, b, a, ticks, metrics):
    """The metrics that are a tenant's own."""
    metrics[b, a, metric_.utility] = s.mean[b, a, mean_.sum_gained] / ticks
    metrics[b, a, metric_.payment] = s.mean[b, a, mean_.sum_paid] / ticks
    metrics[b, a, metric_.throughput] = s.mean[b, a, mean_.sum_ended] / ticks
    started = s.mean[b, a, mean_.sum_started]
    metrics[b, a, metric_.sla_missed] = over(s.mean[b, a, mean_.sum_missed], s.mean[b, a, mean_.sum_settled])
    metrics[b, a, metric_.wait] = over(s.mean[b, a, mean_.sum_wait], started)
    metrics[b, a, metric_.delayed] = over(s.mean[b, a, mean_.sum_delayed], started)
    metrics[b, a, metric_.queue] = s.mean[b, a, mean_.sum_queue] / ticks
    metrics[b, a, metric_.dominant_share] = s.mean[b, a, mean_.sum_share] / ticks
    metrics[b, a, metric_.envy] = envy(p, s, b, a, ticks)


@apart
def balance(p, s, b, residual):
    """Held and free units are the capacity, on every node between 0 and its own; work done, left and dropped is what came; so are
    jobs queued, running, done and dropped; credits issued are held or paid, and what was paid was collected."""
    for q in range(len(AUDIT)):
        residual[b, q] = 0.0
    for r in range(p.resources):
        units = -p.total[r]
        for a in range(p.n_agents):
            units += s.used[b, a, r]
        for n in range(p.n_nodes):
            units += s.free[b, n, r]
            residual[b, 0] += max(0, -s.free[b, n, r]) + max(0, s.free[b, n, r] - p.capacity[n, r])
        residual[b, 0] += abs(units)
    left = s.all[b, all_.work_waiting] + s.all[b, all_.work_done] + s.all[b, all_.work_gone] - s.all[b, all_.work_in]
    for i in range(s.all[b, all_.running]):
        left += s.run[b, i, run_.left]
    residual[b, 1] = left
    running, paid = s.all[b, all_.running], s.all[b, all_.collected]
    for a in range(p.n_agents):
        here = s.own[b, a, own_.queued] + s.own[b, a, own_.running]
        residual[b, 2] += abs(s.own[b, a, own_.arrived] - here - s.own[b, a, own_.done] - s.own[b, a, own_.dropped])
        residual[b, 3] += abs(s.own[b, a, own_.issued] - s.own[b, a, own_.credit] - s.own[b, a, own_.paid])
        running -= s.own[b, a, own_.running]
        paid -= s.own[b, a, own_.paid]
    residual[b, 2] += abs(running)
    residual[b, 3] += abs(paid)
