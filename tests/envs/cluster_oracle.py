"""The rules of the cluster in plain Python as a PettingZoo environment, written apart from the compiled ones: jobs are objects in lists.

It draws from a numpy Generator; `draws(tick, purpose, shape)` in its place lets a test feed the compiled game's draws. It is also the
plain-Python side of the speed comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv

from envs.resource_allocation.params import ClusterParams

COUNTS, CLASSES, WORKS, PHASES, OUTAGES, REPAIRS, OFFSET = range(7)
ENOUGH = 4_096
Draws = Callable[[int, int, tuple[int, ...]], Any]


@dataclass(eq=False)
class Job:
    tenant: int
    kind: int
    work: int
    since: int
    due: float
    left: int = 0
    node: int = -1


class Cluster(ParallelEnv):  # type: ignore[misc]
    """Tenants of one cluster, and an arbiter where the mechanism has one; observations and rewards as in `envs.resource_allocation`."""

    metadata = {"name": "plain_cluster", "render_modes": []}  # noqa: RUF012

    def __init__(self, params: ClusterParams, draws: Draws | None = None, weights: Any = (1.0, 1.0, 0.01, 1.0, 1.0, 1.0)) -> None:
        self.p, self.draws, self.weights = params, draws, weights
        self.table = params.tables()
        self.n, self.shape = params.n_agents, params.layout
        self.total = self.shape.capacity.sum(0).tolist()
        self.resources = len(self.total)
        self.possible_agents = [f"tenant_{i}" for i in range(self.n)] + (["arbiter_0"] if params.mechanism == "arbiter" else [])
        self.agents: list[str] = []
        self.generator = np.random.default_rng()
        width = 14 + params.classes + 3 * self.resources
        low = np.array([0.03] * self.resources + [0.001, 0.0])
        acts = Box(low, np.ones_like(low), dtype=np.float64)
        self.spaces = {a: (Box(-np.inf, np.inf, (width,)), acts) for a in self.possible_agents}
        if params.mechanism == "arbiter":
            wide = 6 + self.resources + 5 * self.n
            wide += wide == width
            self.spaces["arbiter_0"] = Box(-np.inf, np.inf, (wide,)), Box(0.05, 1, (self.n,), np.float64)

    def observation_space(self, agent: str) -> Box:
        return self.spaces[agent][0]

    def action_space(self, agent: str) -> Box:
        return self.spaces[agent][1]

    def uniforms(self, purpose: int, count: int) -> list[float]:
        if self.draws is None:
            return self.generator.random(count).tolist()  # type: ignore[no-any-return]
        return self.draws(self.t, purpose, (count,)).tolist()  # type: ignore[no-any-return]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        p, n = self.p, self.n
        self.agents, self.t = list(self.possible_agents), 0
        self.waiting: list[list[Job]] = [[] for _ in range(n)]
        self.running: list[Job] = []
        self.free, self.down = self.shape.capacity.tolist(), [0] * len(self.shape.capacity)
        self.credit = [p.purse_money] * n
        self.recent, self.granted, self.arriving, self.fair = [0.0] * n, [1.0] * n, [0.0] * n, 1.0
        self.share, self.price, self.released = [0.0] * n, 0.0, [0.0] * n
        often = p.enters_burst / (p.enters_burst + p.leaves_burst)
        phases = self.uniforms(PHASES, n)
        self.phase = [int(phases[0 if p.common else a] < often) for a in range(n)]
        self.offset = int(self.uniforms(OFFSET, 1)[0] * p.replay_ticks) if p.wanders else 0
        self.slowdowns: list[float] = []
        self.waits: list[int] = []
        self.done, self.dropped, self.queue_sum = [0] * n, [0] * n, [0] * n
        return self.observe(), {a: {} for a in self.agents}

    def arrive(self, a: int, kind: int, work: int) -> None:
        self.came[a] += 1
        if len(self.waiting[a]) >= self.p.queue_limit:
            self.lose(a)
            return
        due = self.t + math.ceil(self.p.slack * work) if self.p.slack > 0 else math.inf
        self.waiting[a].append(Job(a, kind, work, self.t, due))

    def lose(self, a: int) -> None:
        self.dropped[a] += 1
        self.missed[a] += 1

    def switch_phases(self) -> None:
        phases = self.uniforms(PHASES, self.n)
        for a in range(self.n):
            u = phases[0 if self.p.common else a]
            self.phase[a] = int(u >= self.p.leaves_burst) if self.phase[a] else int(u < self.p.enters_burst)

    def poisson(self) -> None:
        p = self.p
        if p.burst > 1 and self.t > 0:
            self.switch_phases()
        counts, kinds, works, i = self.uniforms(COUNTS, self.n), self.uniforms(CLASSES, ENOUGH), self.uniforms(WORKS, ENOUGH), 0
        for a in range(self.n):
            rate = float(self.table["rate"][self.phase[a], self.t % p.period])
            cumulated = np.cumsum(
                [math.exp(-rate + k * math.log(rate) - math.lgamma(k + 1)) if rate > 0 else float(k == 0) for k in range(300)]
            )
            for _ in range(int((cumulated <= counts[a]).sum())):
                kind = int((self.table["mixture"][a][:-1] <= kinds[i]).sum())
                mean = float(self.shape.work[kind])
                work = math.ceil(mean)
                if p.service == "geometric":
                    work = 1 + int(math.log(1 - works[i]) / math.log(1 - 1 / mean)) if mean > 1 else 1
                self.arrive(a, kind, work)
                i += 1

    def replay(self) -> None:
        first, speed = self.table["first"], 1
        if self.p.burst > 1 and self.t > 0:
            self.switch_phases()
        if self.p.burst > 1 and self.phase[0]:
            speed = int(self.p.burst)
        rows = [i for j in range(speed) for i in self.rows(first, (self.offset + self.t + j) % self.p.replay_ticks)]
        for u, i in zip(self.uniforms(COUNTS, len(rows)), rows, strict=True):
            self.arrive(self.owner(u), int(self.table["kinds"][i]), int(self.table["works"][i]))
        self.offset += speed - 1

    def owner(self, u: float) -> int:
        """The tenant whose part of [0, 1) holds u, parts as (a + 1)^-skew."""
        weights = [(a + 1.0) ** -self.p.skew for a in range(self.n)]
        return next((a for a in range(self.n) if u * sum(weights) < sum(weights[: a + 1])), self.n - 1)

    @staticmethod
    def rows(first: Any, tick: int) -> range:
        return range(first[tick], first[tick + 1])

    def event(self) -> None:
        if self.uniforms(COUNTS, 1)[0] < self.p.load / (self.p.load + 1):
            self.arrive(int(self.uniforms(CLASSES, 1)[0] * self.n), 0, 1)
            return
        server = int(self.uniforms(WORKS, 1)[0] * self.p.slots)
        if server < len(self.running):
            self.finish(self.running[server])

    def fail(self) -> None:
        outages, repairs = self.uniforms(OUTAGES, len(self.down)), self.uniforms(REPAIRS, len(self.down))
        for n in range(len(self.down)):
            if self.down[n]:
                self.down[n] -= 1
            elif outages[n] < self.p.outage:
                self.down[n] = 1 + int(math.log(1 - repairs[n]) / math.log1p(-1 / self.p.repair)) if self.p.repair > 1 else 1

    def used(self, a: int) -> list[int]:
        return [sum(int(self.shape.demand[j.kind, r]) for j in self.running if j.tenant == a) for r in range(self.resources)]

    def expire(self, a: int) -> None:
        while self.waiting[a] and self.waiting[a][0].due <= self.t:
            self.waiting[a].pop(0)
            self.lose(a)

    def key(self, a: int, actions: Any) -> float | None:
        """The mechanism's key of tenant a; None where it starts nothing."""
        self.expire(a)
        if not self.waiting[a] or self.quota[a] <= 0:
            return None
        p, job = self.p, self.waiting[a][0]
        now, need = self.used(a), self.shape.demand[job.kind].tolist()
        for r in range(self.resources):
            cap = actions[a][r] * self.total[r] if actions[a][r] < 1 else math.inf
            if p.mechanism == "equal_split":
                cap = min(cap, self.total[r] / self.n)
            if need[r] and now[r] and now[r] + need[r] > cap + 1e-9:
                return None
        before = max(u / c for u, c in zip(now, self.total))
        after = max((u + d) / c for u, d, c in zip(now, need, self.total))
        if p.mechanism == "proportional_share":
            return after * 1e6 / self.bid[a] if self.bid[a] else None
        found = {
            "fcfs": float(job.since),
            "priority": -float(self.shape.worth[job.kind]),
            "srpt": float(job.work),
            "max_min": now[0] / self.total[0],
            "drf": before,
            "equal_split": before,
            "proportional_fair": p.decay * self.recent[a] + (1 - p.decay) * before,
        }
        return found[p.mechanism] if p.mechanism != "arbiter" else after / actions[self.n][a]

    def node_for(self, job: Job) -> int | None:
        need = self.shape.demand[job.kind].tolist()
        fits = [n for n in range(len(self.free)) if not self.down[n] and all(f >= d for f, d in zip(self.free[n], need))]
        if not fits:
            return None
        left = {n: sum((f - d) / c for f, d, c in zip(self.free[n], need, self.total)) for n in fits}
        return {"best_fit": min(fits, key=lambda n: left[n]), "first_fit": fits[0], "worst_fit": max(fits, key=lambda n: left[n])}[
            self.p.placement
        ]

    def allocate(self, actions: Any) -> None:
        self.wanted = [len(q) for q in self.waiting]
        self.released = [x + (1 - actions[a][self.resources + 1]) * w for a, (x, w) in enumerate(zip(self.released, self.wanted))]
        self.quota = [int(x + 1e-9) for x in self.released]
        self.released = [max(0.0, x - q) for x, q in zip(self.released, self.quota)]
        keys = {a: self.key(a, actions) for a in range(self.n)}
        while True:
            open_to = [(k, (a - self.t) % self.n, a) for a, k in keys.items() if k is not None]
            if not open_to:
                return
            a = min(open_to)[2]
            node = self.node_for(self.waiting[a][0])
            if node is None:
                if self.p.mechanism == "fcfs":
                    return
                keys[a] = None
                continue
            job = self.waiting[a].pop(0)
            job.node, job.left = node, job.work
            self.free[node] = [f - d for f, d in zip(self.free[node], self.shape.demand[job.kind].tolist())]
            self.running.append(job)
            self.started[a] += 1
            self.quota[a] -= 1
            self.waits.append(self.t - job.since)
            keys[a] = self.key(a, actions)

    def finish(self, job: Job) -> None:
        a = job.tenant
        late = self.t + 1 > job.due
        self.gained[a] += float(self.shape.worth[job.kind]) * (self.p.late if late else 1.0)
        self.missed[a] += late
        self.done[a] += 1
        self.slowdowns.append(max(1.0, (self.t + 1 - job.since) / job.work))
        self.free[job.node] = [f + d for f, d in zip(self.free[job.node], self.shape.demand[job.kind].tolist())]
        at = self.running.index(job)
        self.running[at] = self.running[-1]  # the compiled rules number running jobs like this, which events draw from
        self.running.pop()

    def record(self) -> float:
        """Averages after the allocation; returns the change of Jain's index."""
        p = self.p
        for a in range(self.n):
            self.share[a] = max(u / c for u, c in zip(self.used(a), self.total))
            self.recent[a] = p.decay * self.recent[a] + (1 - p.decay) * self.share[a]
            self.arriving[a] = p.decay * self.arriving[a] + (1 - p.decay) * self.came[a]
            ratio = self.started[a] / self.wanted[a] if self.wanted[a] else self.granted[a]
            self.granted[a] = p.decay * self.granted[a] + (1 - p.decay) * ratio
            self.queue_sum[a] += len(self.waiting[a])
        squares = sum(x * x for x in self.recent)
        before, self.fair = self.fair, min(1.0, sum(self.recent) ** 2 / (self.n * squares)) if squares > 0 else 1.0
        return self.fair - before

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        rows, p, n = [actions[a] for a in self.agents], self.p, self.n
        self.came, self.missed, self.started, self.gained = [0] * n, [0] * n, [0] * n, [0.0] * n
        {"events": self.event, "trace": self.replay, "poisson": self.poisson}[p.arrivals]()
        if p.outage > 0:
            self.fail()
        pays = p.mechanism == "proportional_share"
        self.bid = [int(rows[a][self.resources] * self.credit[a]) if pays else 0 for a in range(n)]
        self.credit = [c - x for c, x in zip(self.credit, self.bid)]
        self.price = sum(self.bid) / 1e6
        self.allocate(rows)
        change = self.record()
        if p.arrivals != "events":
            for job in reversed(list(self.running)):
                if not self.down[job.node]:
                    job.left -= 1
                    if job.left == 0:
                        self.finish(job)
        parts = [self.parts(a, change) for a in range(n)]
        if p.mechanism == "arbiter":
            mean = [sum(x) / n for x in zip(*parts)]
            parts.append([mean[0], 0.0, *mean[2:]])
        self.credit = [c + min(p.income_money, p.purse_money - c) for c in self.credit]
        self.t += 1
        over, acted = self.t >= p.horizon, self.agents
        self.agents = [] if over else acted
        self.components = parts
        rewards = {agent: sum(w * x for w, x in zip(self.weights, part)) for agent, part in zip(acted, parts)}
        return self.observe(), rewards, dict.fromkeys(acted, over), dict.fromkeys(acted, False), {a: {} for a in acted}

    def parts(self, a: int, change: float) -> list[float]:
        carbon = -self.p.carbon_price * self.share[a] * float(self.table["intensity"][self.t % self.p.period])
        return [self.gained[a], -self.bid[a] / 1e6, -float(len(self.waiting[a])), -float(self.missed[a]), carbon, change]

    def observe(self) -> dict[str, Any]:
        p, n, season = self.p, self.n, self.t % self.p.period
        sky = [sum(x > 0 for x in self.down) / len(self.down), *(float(self.table[k][season]) for k in ("sine", "cosine", "intensity"))]
        used = [self.used(a) for a in range(n)]
        busy = [sum(u[r] for u in used) / self.total[r] for r in range(self.resources)]
        clock = 1 - self.t / p.horizon
        seen, rows = {}, [clock, self.fair, *sky, *busy]
        for a in range(n):
            job = self.waiting[a][0] if self.waiting[a] else None
            wait = (self.t - job.since) / job.work if job else 0.0
            slack = max(0, job.due - self.t) / job.work if job and job.due < math.inf else 0.0
            need = [d / c for d, c in zip(self.shape.demand[job.kind].tolist(), self.total)] if job else [0.0] * self.resources
            kinds = [sum(j.kind == k for j in self.waiting[a]) / p.queue_limit for k in range(p.classes)]
            own = [u / c for u, c in zip(used[a], self.total)]
            first = [clock, math.log(n) / math.log(128), wait, slack, self.share[a], self.credit[a] / p.purse_money, self.price]
            seen[f"tenant_{a}"] = np.array([*first, self.granted[a], self.arriving[a], self.fair, *sky, *kinds, *need, *own, *busy])
            rows += [len(self.waiting[a]) / p.queue_limit, wait, max(need), self.share[a], self.recent[a]]
        if p.mechanism == "arbiter":
            same = len(rows) == len(seen["tenant_0"])
            seen["arbiter_0"] = np.array(rows + [math.log(n) / math.log(128)] * same)
        return seen
