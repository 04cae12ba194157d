"""The rules of the supply chain in plain Python as a PettingZoo environment, written apart from the compiled ones: lists of orders and
shipments with their due ticks instead of rings, histories instead of running sums.

It draws from a numpy Generator; `draws(tick, purpose, shape)` in its place lets a test feed the compiled game's draws. It is also the
plain-Python side of the speed comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv

from envs.supply_chain import sight
from envs.supply_chain.params import SupplyChainParams
from tests.envs.supply_laws import Forecaster, Link, asked_for, counted, divided, season_of, spread_of

DEMANDS, COMMON, WAVES, REGIMES, OFFSET, OUTAGES, REPAIRS, LEADS, SUPPLY = range(9)
Draws = Callable[[int, int, tuple[int, ...]], Any]


class SupplyChain(ParallelEnv):  # type: ignore[misc]
    """Nodes of one network; observations and rewards as in `envs.supply_chain`."""

    metadata = {"name": "plain_supply_chain", "render_modes": []}  # noqa: RUF012

    def __init__(self, params: SupplyChainParams, draws: Draws | None = None) -> None:
        self.p, self.draws, self.n, self.products = params, draws, params.n_agents, range(params.products)
        self.table, self.net = params.tables(), params.layout
        self.possible_agents = [f"node_{i}" for i in range(self.n)]
        self.agents: list[str] = []
        self.generator = np.random.default_rng()
        self.hold, self.short = (x.tolist() for x in params.costs)
        self.flow = (params.flow * params.parts).tolist()
        self.means = (params.mean * params.parts).tolist()
        self.cover = params.cover.tolist()
        self.spread = [[spread_of(params, j, k) for k in self.products] for j in range(self.n)]
        width = len(sight.observation(params))
        acts = list(sight.action(params).values())
        low, high = (np.array([getattr(c, end) for c in acts]) for end in ("low", "high"))
        self.spaces = (Box(-np.inf, np.inf, (width,)), Box(low, high, dtype=np.float64))

    def observation_space(self, agent: str) -> Box:
        return self.spaces[0]

    def action_space(self, agent: str) -> Box:
        return self.spaces[1]

    def uniforms(self, purpose: int, count: int) -> list[float]:
        if self.draws is None:
            return self.generator.random(count).tolist()  # type: ignore[no-any-return]
        return self.draws(self.t, purpose, (count,)).tolist()  # type: ignore[no-any-return]

    def normals(self, purpose: int, count: int) -> list[float]:
        u = self.uniforms(purpose, 2 * count)
        return [math.sqrt(-2 * math.log(1 - u[2 * i])) * math.cos(2 * math.pi * u[2 * i + 1]) for i in range(count)]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        p, n = self.p, self.n
        self.agents, self.t = list(self.possible_agents), 0
        self.links = []
        for e, (buyer, up) in enumerate(zip(self.net.buyer.tolist(), self.net.up.tolist())):
            self.links.append(Link(buyer, up, *self.table["links"][e, 2:].tolist()))
        self.into = [[x for x in self.links if x.buyer == j] for j in range(n)]
        self.out = [[x for x in self.links if x.supplier == j] for j in range(n + 1)]
        self.retailers = [j for j in range(n) if not self.out[j]]
        opening = self.table["opening"].tolist()
        self.stock = [[opening[j][k][0] for k in self.products] for j in range(n)]
        self.debt = [[0 for _ in self.products] for _ in range(n)]  # to customers
        for j in range(n):
            for number, link in enumerate(self.into[j]):
                for k in self.products:
                    self.fill_up(link, k, opening[j][k][1], number, len(self.into[j]))
        usual = [[int(x + 0.5) for x in row] for row in self.flow]
        self.history = [[[usual[j][k]] * p.window for k in self.products] for j in range(n)]
        self.placed = [[0 for _ in self.products] for _ in range(n)]
        self.memory: list[list[Any]] = [[Forecaster(p, self.flow[j][k]) for k in self.products] for j in range(n)]
        self.fill, self.took = (
            [[x for _ in self.products] for x in xs] for xs in ([1.0] * n, [self.into[j][0].lead + 0.5 * p.lead_noise for j in range(n)])
        )
        self.down, self.cash, self.shipped = [0] * n, [0] * n, [0] * n
        self.tariff = self.table["nodes"][:, 9].tolist()
        waves, spread = self.normals(WAVES, n * p.products), p.demand_sd * p.parts / math.sqrt(1 - p.persistence**2)
        self.wave = [[spread * waves[j * p.products + k] for k in self.products] for j in range(n)]
        self.regime = p.regime != 1 and self.uniforms(REGIMES, 1)[0] < p.regime_length / (p.regime_length + p.calm_length)
        self.offset = int(self.uniforms(OFFSET, 1)[0] * p.replay_days) if p.wanders else 0
        self.told: list[Any] = []
        return self.observe(), {a: {} for a in self.agents}

    def fill_up(self, link: Link, k: int, units: int, number: int, count: int) -> None:
        each = units if self.p.assembles else units * (number + 1) // count - units * number // count
        link.moving += [(i, k, each) for i in range(link.lead)]
        link.orders += [(i, k, each) for i in range(link.lag)]

    def shift(self) -> None:
        p = self.p
        if p.regime != 1 and self.t > 0 and self.uniforms(REGIMES, 1)[0] < 1 / (p.regime_length if self.regime else p.calm_length):
            self.regime = not self.regime
        if p.disruption > 0:
            outages, repairs = self.uniforms(OUTAGES, self.n), self.uniforms(REPAIRS, self.n)
            for j in range(self.n):
                if self.down[j]:
                    self.down[j] -= 1
                elif outages[j] < p.disruption:
                    self.down[j] = 1 + (int(math.log(1 - repairs[j]) / math.log1p(-1 / p.outage)) if p.outage > 1 else 0)

    def wanted(self) -> list[list[int]]:
        """Customers' demand [N][P]."""
        p, count = self.p, self.n * self.p.products
        if p.demand == "trace":
            day, found = (self.offset + self.t) % p.replay_days, [[0 for _ in self.products] for _ in range(self.n)]
            for i, j in enumerate(self.retailers):
                found[j] = [int(self.table["series"][day, i * p.products + k]) for k in self.products]
            return found
        own, common, plain = self.normals(DEMANDS, count), self.normals(COMMON, p.products), self.uniforms(DEMANDS, count)
        found = []
        for j in range(self.n):
            row = []
            for k in self.products:
                mean = self.means[j][k] * (1 + p.amplitude * math.sin(2 * math.pi * (self.t % p.period) / p.period))
                mean *= (p.regime if self.regime else 1) * (p.step_to if 0 < p.step_at <= self.t else 1)
                i, c = j * p.products + k, p.correlation
                z = math.sqrt(c) * common[k] + math.sqrt(1 - c) * own[i] if c > 0 else own[i]
                u = NormalDist().cdf(z) if c > 0 else plain[i]
                row.append(self.law(j, k, mean, u, z) if j in self.retailers else 0)
            found.append(row)
        return found

    def law(self, j: int, k: int, mean: float, u: float, z: float) -> int:
        p = self.p
        if p.demand == "constant" or mean <= 0:
            return int(mean + 0.5)
        if p.demand == "normal":
            return max(0, math.floor(mean + z * p.demand_sd * p.parts + 0.5))
        if p.demand == "ar1":
            self.wave[j][k] = p.persistence * self.wave[j][k] + z * p.demand_sd * p.parts
            return max(0, math.floor(mean + self.wave[j][k] + 0.5))
        return counted(p, mean / p.parts, u) * p.parts

    def coming(self, j: int, k: int) -> int:
        found = [x.ordered(k) + x.owed(k) + x.pipeline(k) + x.kits.get(k, 0) for x in self.into[j]]
        return found[0] if self.p.assembles else sum(found)

    def owed(self, j: int, k: int) -> int:
        return self.debt[j][k] if j in self.retailers else sum(x.owed(k) for x in self.out[j])

    def position(self, j: int, k: int) -> int:
        return self.stock[j][k] + self.coming(j, k) - self.owed(j, k)

    def place(self, j: int, row: Any) -> None:
        p, links = self.p, self.into[j]
        weights = [max(0.01, float(row[p.shown + i])) if p.choose_sources else 1.0 for i in range(len(links))]
        for k in self.products:
            q = asked_for(p, float(row[k]), self.flow[j][k], self.spread[j][k], self.cover[j], self.history[j][k][-1], self.position(j, k))
            self.placed[j][k] = q
            given = 0
            for i, link in enumerate(links):
                upto = q if i == len(links) - 1 else int(q * (sum(weights[: i + 1]) / sum(weights)))
                link.orders.append((self.t + link.lag, k, q if p.assembles else upto - given))
                given = upto

    def deliver(self, i: int) -> None:
        came = list(self.asked[i]) if i < self.n else [0 for _ in self.products]
        for link in self.out[i]:
            for k in self.products:
                link.old[k], link.new[k] = link.owed(k), 0
            for due, k, units in link.orders:
                if due == self.t:
                    link.new[k] += units
                    came[k] += units
            link.orders = [x for x in link.orders if x[0] != self.t]
        if i < self.n:
            for k in self.products:
                self.before[i][k] = sum(x.old[k] for x in self.out[i]) if self.out[i] else self.debt[i][k]
                self.history[i][k].append(came[k])
                if i in self.retailers:
                    self.debt[i][k] += came[k]

    def ready(self, i: int, k: int) -> int:
        return sum(x.owed(k) for x in self.out[i]) if i == self.n else min(self.stock[i][k], self.owed(i, k))

    def closed(self) -> bool:
        return self.p.closure > 0 and self.p.closure_at <= self.t < self.p.closure_at + self.p.closure

    def limit(self, i: int, wanted: int) -> int:
        p = self.p
        if i < self.n:
            cap = int(self.table["nodes"][i, 7])
            return 0 if self.down[i] else min(wanted, cap) if cap else wanted
        if self.closed():
            return 0
        if p.supply_high == 0:
            return wanted
        return min(wanted, int((p.supply_low + (p.supply_high - p.supply_low) * self.uniforms(SUPPLY, 1)[0]) * p.outside_mean))

    def ship(self, i: int, rows: Any) -> None:
        if self.p.assembles and i < self.n:
            for k in self.products:
                made = min(x.kits.get(k, 0) for x in self.into[i])
                self.stock[i][k] += made
                for link in self.into[i]:
                    link.kits[k] = link.kits.get(k, 0) - made
        wanted = [self.ready(i, k) for k in self.products]
        limit, given, reached = self.limit(i, sum(wanted)), 0, 0
        for k in self.products:
            reached += wanted[k]
            upto = reached if limit == sum(wanted) else int(limit * (reached / sum(wanted)))
            units, given = min(wanted[k], upto - given), upto
            if i < self.n:
                self.served[i][k] = max(0, units - self.before[i][k])
                self.shipped[i] += units
                self.stock[i][k] -= units
            if i in self.retailers:
                self.debt[i][k] -= units
                self.revenue[i] += units
                if self.p.unmet == "lost":
                    self.lost[i] += self.debt[i][k]
                    self.debt[i][k] = 0
            else:
                for link, part in self.ration(i, k, units, rows):
                    self.send(link, k, part, rows)

    def ration(self, i: int, k: int, units: int, rows: Any) -> list[tuple[Link, int]]:
        """Who gets what of so many units."""
        links = self.out[i]
        if len(links) == 1:
            return [(links[0], units)]
        got, old = [0] * len(links), sum(x.old[k] for x in links)
        for claims, before, supply in (
            ([x.old[k] for x in links], [0] * len(links), min(units, old)),
            ([x.new[k] for x in links], [x.old[k] for x in links], units - min(units, old)),
        ):
            if supply > 0:
                self.divide(i, supply, claims, before, got, rows)
        return list(zip(links, got))

    def divide(self, i: int, supply: int, claims: list[int], before: list[int], got: list[int], rows: Any) -> None:
        p, count = self.p, len(claims)
        learned = p.rationing == "learned" and i < self.n
        weights = [max(0.01, float(rows[i][p.ration_column + c])) if learned else 1.0 for c in range(count)]
        order = list(range(count)) if p.rationing == "priority" else [(self.t + c) % count for c in range(count)]
        divided(supply, claims, before, got, weights, order, p.rationing == "priority")

    def send(self, link: Link, k: int, units: int, rows: Any) -> None:
        p, j, i, debt = self.p, link.buyer, link.supplier, link.owed(k)
        paid = min(units, link.old[k])
        link.old[k] -= paid
        link.new[k] -= units - paid
        if debt > 0:
            self.fill[j][k] += 0.1 * (units / debt - self.fill[j][k])
        if units == 0:
            return
        lead = link.lead
        if p.lead_noise and lead:
            lead += int(self.uniforms(LEADS, len(self.links))[self.links.index(link)] * (p.lead_noise + 1))
        self.took[j][k] += 0.1 * (lead - self.took[j][k])
        fast = int(float(rows[j][p.fast_column]) * units) if p.expedite and lead > 1 else 0
        price = self.tariff[i] * units
        self.money[j] -= price + fast * round(p.expedite_cost * 1_000)
        self.freight[j] += 5 * fast + (units - fast) * lead
        if i < self.n:
            self.money[i] += price
        if lead == 0:
            self.receive(link, k, units)
        else:
            link.moving += [(self.t + lead, k, units - fast), (self.t + 1, k, fast)]

    def receive(self, link: Link, k: int, units: int) -> None:
        if self.p.assembles:
            link.kits[k] = link.kits.get(k, 0) + units
        else:
            self.stock[link.buyer][k] += units

    def scrap(self, i: int) -> None:
        room, sizes = int(self.table["nodes"][i, 8]), self.table["size"].tolist()
        if not room:
            return
        for c in self.products:
            k = (self.t + c) % self.p.products
            over = sum(x * size for x, size in zip(self.stock[i], sizes)) - room
            if over > 0 and sizes[k]:
                units = min(self.stock[i][k], math.ceil(over / sizes[k]))
                self.stock[i][k] -= units
                self.wasted[i] += units

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        rows, p, n = [actions[a] for a in self.agents], self.p, self.n
        self.money, self.revenue, self.lost, self.wasted, self.freight, self.shipped = ([0] * n for _ in range(6))
        self.served, self.before = ([[0 for _ in self.products] for _ in range(n)] for _ in range(2))
        self.shift()
        for link in self.links:
            for due, k, units in link.moving:
                if due == self.t:
                    self.receive(link, k, units)
            link.moving = [x for x in link.moving if x[0] != self.t]
        self.asked = self.wanted()
        if p.pricing:
            self.tariff = [int(float(rows[j][p.price_column]) * int(self.table["nodes"][j, 9]) + 0.5) for j in range(n)] + self.tariff[n:]
        if p.timing == "before":
            for j in range(n):
                self.place(j, rows[j])
        for j in range(n + 1):
            self.deliver(j)
            if p.timing == "after" and j < n:
                self.place(j, rows[j])
        for i in (n, *range(n)):
            self.ship(i, rows)
            if i < n:
                self.scrap(i)
        parts = np.array([self.cost_of(j) for j in range(n)])
        self.components = (1 - p.cooperation) * parts + p.cooperation * parts.mean(0)
        for j in range(n):
            self.cash[j] += self.money[j]
            for k in self.products:
                self.memory[j][k].learn(self.t, self.history[j][k])
        self.told.append((parts.sum(1), [sum(x) for x in self.placed], [sum(h[-1] for h in x) for x in self.history]))
        self.t += 1
        over, acted = self.t >= p.horizon, self.agents
        self.agents = [] if over else acted
        rewards = dict(zip(acted, self.components.sum(1).tolist()))
        ended = dict.fromkeys(acted, over and not p.continuing)
        return self.observe(), rewards, ended, dict.fromkeys(acted, over and p.continuing), {a: {} for a in acted}

    def cost_of(self, j: int) -> list[float]:
        p, parts = self.p, self.p.parts
        holding = self.hold[j] * sum(self.stock[j])
        for link in self.into[j]:
            rate = self.hold[link.supplier] if link.supplier < self.n else 0.0
            holding += rate * sum(link.kits.get(k, 0) + p.transit * link.pipeline(k) for k in self.products)
        short = self.short[j] * (sum(self.owed(j, k) for k in self.products) + self.lost[j])
        trade = self.money[j] / 1_000 + p.revenue * self.revenue[j]
        return [
            -holding / parts,
            -short / parts,
            -p.fixed * sum(q > 0 for q in self.placed[j]),
            -p.scrap_cost * self.wasted[j] / parts,
            trade / parts,
        ]

    def shared(self, j: int, k: int) -> tuple[float, float]:
        """Forecast of customers' demand downstream of a node, and its echelon's stock."""
        if j in self.retailers:
            return self.memory[j][k].value, self.stock[j][k] - self.debt[j][k]
        end, stock = 0.0, float(self.stock[j][k])
        for link in self.out[j]:
            part = 1.0 if self.p.assembles else 1.0 / len(self.into[link.buyer])
            below = self.shared(link.buyer, k)
            end += part * below[0]
            stock += part * below[1] + link.pipeline(k) + link.kits.get(k, 0)
        return end, stock

    def observe(self) -> dict[str, Any]:
        p, season, seen = self.p, 2 * math.pi * season_of(self.p, self.offset, self.t) / self.p.period, {}
        for j in range(self.n):
            cap, room = self.table["nodes"][j, 7:9].tolist()
            used = sum(x * size for x, size in zip(self.stock[j], self.table["size"].tolist()))
            up = [not self.closed() if x.supplier == self.n else not self.down[x.supplier] for x in self.into[j]]
            row = [
                1.0 if p.continuing else 1 - self.t / p.horizon, (j + 1) / self.n, self.net.depth[j] / max(1, self.net.depth.max()),
                math.sin(season), math.cos(season), 1 - self.shipped[j] / cap if cap else 1.0, max(0.0, 1 - used / room) if room else 1.0,
                self.cash[j] / (1_000 * sum(self.flow[j]) * p.horizon), float(not self.down[j]), sum(up) / len(up),
                sum(self.tariff[x.supplier] for x in self.into[j]) / len(up) / 1_000,
            ]  # fmt: skip
            for k in self.products:
                row += self.product(j, k)
            each = sight.width_of(p)
            seen[f"node_{j}"] = np.array(row + [0.0] * each * (p.shown - p.products))
        return seen

    def product(self, j: int, k: int) -> list[float]:
        p, flow, links = self.p, self.flow[j][k], self.into[j]
        past = np.array(self.history[j][k][-p.window :], float)
        units = [
            self.stock[j][k], self.position(j, k), self.owed(j, k), sum(x.owed(k) + x.ordered(k) for x in links), past[-1],
            self.placed[j][k], past[-p.window_short :].mean(), past.mean(),
        ]  # fmt: skip
        row = [x / flow for x in units] + [past.std() / past.mean() if past.mean() > 0 else 0.0, self.took[j][k], self.fill[j][k]]
        row.append(self.memory[j][k].value / flow)
        for i in range(p.slots - 1):
            row.append(sum(units for x in links for due, product, units in x.moving if due == self.t + i and product == k) / flow)
        if p.share_forecasts:
            end, stock = self.shared(j, k)
            row += [end / flow, (stock + self.coming(j, k)) / flow]
        return row
