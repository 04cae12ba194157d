"""The rules of `auction` and `auction_log` in plain Python as PettingZoo environments, written apart from the compiled ones.

They draw from a numpy Generator; `draws(tick, purpose, shape)` in its place lets a test feed the compiled game's draws.
`Auction` is also the plain-Python side of the speed comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv

from envs.auction.params import AuctionParams
from envs.auction_log.params import AuctionLogParams

VALUES, TIES, RIVALS = 0, 1, 2
Draws = Callable[[int, int, tuple[int, ...]], Any]


def pick(bidders: list[int], best: int, bids: list[int], ties: Any) -> int:
    """One of those who bid `best`, uniformly: the j-th of them takes over from the one before with chance 1/j."""
    top = [a for a in bidders if bids[a] == best]
    winner = top[0]
    for j, a in enumerate(top[1:], 2):
        if ties[a] * j < 1:
            winner = a
    return winner


class Auction(ParallelEnv):  # type: ignore[misc]
    """Bidders for one slot; obs, rewards and money as in `envs.auction`."""

    metadata = {"name": "plain_auction", "render_modes": []}  # noqa: RUF012

    def __init__(self, params: AuctionParams, draws: Draws | None = None) -> None:
        self.p, self.draws = params, draws
        self.possible_agents = [f"advertiser_{i}" for i in range(params.n_agents)]
        self.agents: list[str] = []
        self.schedule, self.purse = params.schedule().tolist(), params.purse
        self.limited = params.limited
        self.table = np.rint(1e6 * params.value_quantiles())
        self.mean = [1e6 * w / 2 for w in params.widths] if params.kind == 0 else [1e6 * params.value_mean] * params.n_agents
        top = 4.0 if params.mode == "market" else 1.5
        low = 0.1 if params.mode == "market" else 0.0
        width = 14 + (params.auctions_per_tick == 1)
        self.action_spaces = {a: Box(np.float32(low), np.float32(top), (1,)) for a in self.possible_agents}
        self.observation_spaces = {a: Box(-np.inf, np.inf, (width,)) for a in self.possible_agents}
        self.generator = np.random.default_rng()

    def observation_space(self, agent: str) -> Box:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        return self.action_spaces[agent]

    def uniforms(self, purpose: int, shape: tuple[int, ...]) -> Any:
        return self.generator.random(shape) if self.draws is None else self.draws(self.t, purpose, shape)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        n = self.p.n_agents
        self.agents, self.t, self.passed, self.revenue = list(self.possible_agents), 0, 0, 0
        self.left, self.spent, self.won = [self.purse] * n, [0] * n, [0] * n
        self.last = [1.0] * n
        self.open_tick()
        self.coming = self.draw_values()
        return self.observe(), {a: {} for a in self.agents}

    def open_tick(self) -> None:
        n = self.p.n_agents
        self.tick_cost, self.tick_value, self.tick_wins = [0] * n, [0] * n, [0] * n
        self.seen: Any = np.zeros((0, n))

    def draw_values(self) -> Any:
        """Values of the coming tick's auctions [K, A], whole micro-dollars; one row more than none where there is no auction."""
        shape = (max(self.schedule[self.t], 1) if self.t < self.p.horizon else 1, self.p.n_agents)
        if self.p.kind == 0:
            return np.floor(self.uniforms(VALUES, shape) * [1e6 * w for w in self.p.widths]).astype(np.int64)
        if self.p.kind == 2:
            return self.table[(self.uniforms(VALUES, shape) * len(self.table)).astype(np.int64)].astype(np.int64)
        pairs = self.uniforms(VALUES, (*shape, 2))
        z = np.sqrt(-2 * np.log(1 - pairs[..., 0])) * np.cos(2 * math.pi * pairs[..., 1])
        return np.floor(np.exp(math.log(1e6 * self.p.value_mean) - self.p.sigma**2 / 2 + self.p.sigma * z)).astype(np.int64)

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        factors = [float(actions[a][0]) for a in self.agents]
        count = self.schedule[self.t]
        self.open_tick()
        self.seen = self.coming[:count]
        ties = self.uniforms(TIES, (count, self.p.n_agents)).tolist()
        reserves = [self.p.reserve_money] * count
        if self.p.mode == "pacing":
            reserves = np.floor(self.uniforms(RIVALS, (count,)) * 1e6).astype(np.int64).tolist()
        for values, tie, reserve in zip(self.seen.tolist(), ties, reserves):
            self.sell(values, factors, tie, reserve)
        self.last = factors
        self.t += 1
        self.passed += count
        done = self.t == self.p.horizon
        self.coming = self.draw_values()
        scale = 1e6 * self.p.auctions_per_tick
        reward = {a: (self.tick_value[i] - self.tick_cost[i]) / scale for i, a in enumerate(self.agents)}
        result = self.observe(), reward, dict.fromkeys(self.agents, done), dict.fromkeys(self.agents, False), {a: {} for a in self.agents}
        if done:
            self.agents = []
        return result

    def sell(self, values: list[int], factors: list[float], tie: list[float], reserve: int) -> None:
        """One auction: whoever bids the reserve and more than nothing takes part, with no more than the money left."""
        bids = [min(int(f * v), left) for f, v, left in zip(factors, values, self.left)]
        bidders = [a for a, bid in enumerate(bids) if bid >= reserve and bid > 0]
        if not bidders:
            return
        offers = sorted(bids[a] for a in bidders)
        winner = pick(bidders, offers[-1], bids, tie)
        self.won[winner] += values[winner]
        self.tick_value[winner] += values[winner]
        self.tick_wins[winner] += 1
        if self.p.format == "all_pay":
            for a in bidders:
                self.charge(a, bids[a])
        elif self.p.format == "first":
            self.charge(winner, offers[-1])
        else:
            self.charge(winner, offers[-2] if len(offers) > 1 else reserve)

    def charge(self, a: int, money: int) -> None:
        self.left[a] -= money
        self.spent[a] += money
        self.tick_cost[a] += money
        self.revenue += money

    def observe(self) -> dict[str, Any]:
        p, t, total = self.p, self.t, self.p.horizon * self.p.auctions_per_tick
        before = len(self.seen)
        now, ahead = (self.schedule[t] if t < p.horizon else 0), 1 - self.passed / total
        angle = 2 * math.pi * (t % 24) / 24
        means = self.seen.mean(0).tolist() if before else [0.0] * p.n_agents
        spreads = self.seen.std(0).tolist() if before else [0.0] * p.n_agents
        sine, cosine, widest, purse, limited = math.sin(angle), math.cos(angle), max(self.mean), self.purse, self.limited
        found = {}
        for a, name in enumerate(self.possible_agents):
            left, wins = self.left[a] / purse, self.tick_wins[a]
            row = [
                1 - t / p.horizon,
                left if limited else 1.0,
                self.tick_cost[a] / (purse * before / total) if limited and before else 0.0,
                left - ahead if limited else 0.0,
                self.last[a],
                wins / before if before else 0.0,
                self.tick_cost[a] / wins / self.mean[a] if wins else 0.0,
                means[a] / self.mean[a],
                spreads[a] / means[a] if means[a] else 0.0,
                now / p.auctions_per_tick,
                ahead,
                sine,
                cosine,
                self.mean[a] / widest,
            ]
            if p.auctions_per_tick == 1:
                row.append(self.coming[0, a] / (1e6 * p.widths[a] if p.kind == 0 else self.mean[a]))
            found[name] = np.array(row, np.float32)
        return found


def replay(p: AuctionLogParams, share: float, start: int, actions: Any, ties: Draws) -> dict[str, list[Any]]:
    """Plain replay of a log: actions [T, A, 2]; totals of each bidder over the episode. A bid below the price gets nothing."""
    log, train = p.log(p.split), p.log("train")
    n, lines = p.n_agents, len(log.price)
    base, mean = float(np.mean(train.price)), float(np.mean(train.pctr))
    scale = float(train.click.sum() / train.pctr.sum())
    left = [max(1, int(share * int(log.price.sum())))] * n
    total: dict[str, list[Any]] = {name: [0] * n for name in ("spent", "wins", "clicks", "expected")}
    ticks = [t for t in range(p.horizon) for _ in range(t * lines // p.horizon, (t + 1) * lines // p.horizon)]
    for k, t in enumerate(ticks):
        i = (start + k) % lines
        price, ratio = int(log.price[i]), log.pctr[i] / mean
        bids = [min(int(m * base * ((1 - slope) + slope * ratio) + 1e-3), money) for (m, slope), money in zip(actions[t], left)]
        bidders = [a for a in range(n) if bids[a] >= price and bids[a] > 0]
        if not bidders:
            continue
        offers = sorted(bids[a] for a in bidders)
        row = [ties(t, 0, (k * n + a + 1,))[k * n + a] for a in range(n)] if offers.count(offers[-1]) > 1 else []
        winner = pick(bidders, offers[-1], bids, row)
        paid = max(price, offers[-2]) if len(offers) > 1 else price
        left[winner] -= paid
        total["spent"][winner] += paid
        total["wins"][winner] += 1
        total["clicks"][winner] += int(log.click[i])
        total["expected"][winner] += min(log.pctr[i] * scale, 1.0)
    return total
