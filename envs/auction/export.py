"""Logs of mode advertising in the columns of AuctionNet's public data (Su et al. 2024, its traffic files), money in dollars.

Impressions: a row for each advertiser and auction. Ticks: a row for each advertiser and tick, with sums over its auctions instead of
`pvIndex`, `pValue` ..., and the observation and action columns beside them. What differs: `conversionAction` counts conversions when they
are drawn, which may be seen later; `pValue` is the estimate of a conversion per exposure, click and sale together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.auction.params import MICRO, AuctionParams
from envs.auction.state import own_, sale_
from marl.copies import Copies

Columns = dict[str, np.ndarray[Any, Any]]


class Export:
    """Turns every tick of a play of one copy into rows, which `take` is given: a `marl.evaluate.Watch`."""

    def __init__(self, p: AuctionParams, level: str, period: int, take: Any) -> None:
        self._p, self._ticks, self._take = p, level == "ticks", take
        self._auctions, a = p.schedule(), np.arange(p.n_agents)
        target = p.tables()["target"] / MICRO
        self._always: Columns = {  # [A], the same on every tick; no target and no budget are infinite
            "deliveryPeriodIndex": np.full(len(a), period),
            "advertiserNumber": a,
            "advertiserCategoryIndex": a % p.categories if p.categories > 1 else a,
            "budget": p.purses() / MICRO if p.limited else np.full(len(a), np.inf),
            "CPAConstraint": np.where(target > 0, target, np.inf),
        }
        self._left: Any = None
        self._seen: Any = None
        self._t = 0

    def before(self, copies: Copies) -> None:
        """Keep what the tick begins with."""
        world: Any = copies.world  # type: ignore[attr-defined]
        self._t = int(world.t[0])
        self._left, self._seen = world.own[0, :, own_.left] / MICRO, copies.obs[0].copy()

    def after(self, copies: Copies) -> None:
        """Hand on the tick's rows."""
        sale = copies.world.sale[0, : self._auctions[self._t]]  # type: ignore[attr-defined]
        self._take(self._tick(copies, sale) if self._ticks else self._impressions(sale))

    def _head(self) -> Columns:
        """Columns [A] of a tick's advertisers."""
        n = self._p.n_agents
        left = self._left if self._p.limited else np.full(n, np.inf)
        return self._always | {"timeStepIndex": np.full(n, self._t), "remainingBudget": left}

    def _impressions(self, sale: Any) -> Columns:
        p, (count, n) = self._p, sale.shape[:2]
        head = {name: np.tile(values, count) for name, values in self._head().items()}
        rows = sale.reshape(count * n, -1)
        estimate, won = rows[:, sale_.estimate], rows[:, sale_.position]
        return head | {
            "pvIndex": np.repeat(np.arange(count), n),
            "pValue": estimate,
            "pValueSigma": estimate * p.estimate_noise,
            "bid": rows[:, sale_.bid] / MICRO,
            "xi": (won > 0).astype(np.int64),
            "adSlot": won.astype(np.int64),
            "cost": rows[:, sale_.paid] / MICRO,
            "isExposed": rows[:, sale_.exposed].astype(np.int64),
            "conversionAction": rows[:, sale_.converted],
            "leastWinningCost": rows[:, sale_.least] / MICRO,
            "isEnd": np.full(count * n, int(self._t + 1 == p.horizon)),
        }

    def _tick(self, copies: Copies, sale: Any) -> Columns:
        p, total = self._p, sale.sum(0)
        (group,) = (view.group for view in copies.groups.values())
        told = {
            "auctions": np.full(p.n_agents, len(sale)),
            "won": (sale[:, :, sale_.position] > 0).sum(0),
            "exposed": total[:, sale_.exposed],
            "cost": total[:, sale_.paid] / MICRO,
            "conversionAction": total[:, sale_.converted],
            "leastWinningCost": sale[:, :, sale_.least].mean(0) / MICRO if len(sale) else np.zeros(p.n_agents),
            "reward": copies.reward[0].copy(),
            "isEnd": np.full(p.n_agents, int(self._t + 1 == p.horizon)),
        }
        seen = {f"observation.{name}": self._seen[:, i] for i, name in enumerate(group.observation)}
        done = {f"action.{name}": copies.action[0, :, i].copy() for i, name in enumerate(group.action)}
        return self._head() | told | seen | done
