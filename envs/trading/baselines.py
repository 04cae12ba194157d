"""Baselines of the market by name: each says what some roles do; the others act as the house, see `STRATEGIES`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.trading import strategies as does
from envs.trading import theory
from envs.trading.params import ROLES, TradingParams
from envs.trading.tables import global_, portfolio_columns
from marl.game import F4, F8


def held_weights(p: TradingParams, obs: F4, weights: F8) -> F8:
    """Target weights [N, D]: those of the assets where desks cover all of them, else their mean for each of the desk's."""
    if p.seats < p.assets:
        return np.full((len(obs), p.seats), weights.mean())
    first = np.rint(obs[:, len(portfolio_columns(p)) - 1].astype(np.float64) * p.assets).astype(np.int64)
    return np.clip(weights[(first[:, None] + np.arange(p.seats)) % p.assets], -2, 2)


def kelly(p: TradingParams) -> F8:
    """Growth-optimal weights of the assets, [M]."""
    return theory.kelly_weights(*p.year_moments)


def markowitz(p: TradingParams, aversion: float = 3.0) -> F8:
    """Mean-variance weights of the assets, [M]."""
    return theory.markowitz_weights(*p.year_moments, aversion)


def equal_weights(p: TradingParams) -> F8:
    """The equity in equal parts."""
    return np.full(p.assets, 1 / p.seats)


def nothing(p: TradingParams) -> F8:
    """Cash alone."""
    return np.zeros(p.assets)


HOUSE: dict[str, Any] = {
    "market_maker": does.leaning, "executor": does.posted, "informed": does.informed_beta, "momentum": does.momentum, "portfolio": kelly,
}  # fmt: skip
"""What each role does where a baseline says nothing of it."""
NAIVE: dict[str, Any] = {
    "market_maker": does.random, "executor": does.sell_at_once, "informed": does.stay, "momentum": does.stay, "portfolio": nothing,
}  # fmt: skip
IDLE_TRADERS: dict[str, Any] = {
    "market_maker": does.quote_nothing, "executor": does.sell_at_once, "informed": does.stay, "momentum": does.stay, "portfolio": nothing,
}  # fmt: skip
"""Of each role: doing nothing. An executor may not, what it leaves goes in the last tick (see `wait`): it gets rid of all at once."""
STRATEGIES: dict[str, dict[str, Any]] = {
    "house": {},
    "naive": NAIVE,
    "idle": IDLE_TRADERS,
    "wait": {"executor": does.wait},
    "twap": {"executor": does.twap},
    "pov": {"executor": does.pov},
    "almgren_chriss": {"executor": does.almgren_chriss},
    "all_at_once": {"executor": does.sell_at_once},
    "avellaneda_stoikov": {"market_maker": does.avellaneda_stoikov},
    "cartea_jaimungal": {"market_maker": does.cartea_jaimungal},
    "leaning": {"market_maker": does.leaning},
    "posted": {"executor": does.posted},
    "momentum": {"momentum": does.momentum, "informed": does.momentum},
    "mean_reversion": {"momentum": does.mean_reversion, "informed": does.mean_reversion},
    "buy_and_hold": {"momentum": does.buy_and_hold, "informed": does.buy_and_hold, "portfolio": equal_weights},
    "informed_beta": {"informed": does.informed_beta},
    "markowitz": {"portfolio": markowitz},
    "kelly": {"portfolio": kelly},
}
"""Baseline -> role -> what it does; other roles act as the house."""


SEARCHED: dict[str, dict[str, tuple[float, ...]]] = {
    "avellaneda_stoikov": {"gamma": (0.01, 0.1, 0.3, 1.0, 3.0), "size": (0.1, 0.2, 0.4, 1.0)},
    "cartea_jaimungal": {"phi": (0.001, 0.01, 0.1, 1.0, 10.0), "size": (0.1, 0.2, 0.4, 1.0)},
    "almgren_chriss": {"urgency": (0.25, 0.5, 1.0, 2.0, 4.0)},
    "pov": {"share": (0.05, 0.1, 0.2, 0.3, 0.5)},
    "leaning": {"half": (0.5, 0.8, 1.2), "skew": (0.05, 0.1, 0.3), "lean": (0.0, 0.2, 0.5), "size": (0.5, 1.0)},
    "posted": {"offset": (0.0, 0.5, 1.0), "patience": (0.0, 0.5, 0.8), "lean": (0.0, 0.25, 0.5)},
    "momentum": {"beta": (0.25, 0.75, 1.5), "edge": (1.0, 1.5, 2.0), "skew": (0.1, 0.5, 1.0)},
    "mean_reversion": {"threshold": (1.0, 2.0, 3.0, 4.0, 5.0), "share": (0.02, 0.1, 0.4, 0.8)},
    "informed_beta": {"beta": (0.25, 0.75, 1.5), "edge": (1.0, 1.5, 2.0), "skew": (0.1, 0.5, 1.0)},
}
"""Strategy -> setting -> values that `marl traders --search` tries."""


def by_role(name: str, **settings: float) -> Any:
    """The baseline of that name, for rows of any roles; those of portfolios, whose width is another, come by themselves.

    `settings` go to what the baseline names, instead of its defaults.
    """
    named = {role: partial(act, **settings) if settings else act for role, act in STRATEGIES[name].items()}
    chosen = HOUSE | named

    def act(p: TradingParams, obs: F4, generator: np.random.Generator) -> F8:
        if obs.shape[1] == len(portfolio_columns(p)):
            return held_weights(p, obs, chosen["portfolio"](p))
        role = np.rint(obs[:, global_.role] * (len(ROLES) - 1)).astype(np.int64)
        each = {i: chosen[ROLES[i]](p, does.Sight(p, obs[role == i]), generator) for i in np.unique(role)}
        found = np.zeros((len(obs), max((said.shape[1] for said in each.values()), default=p.action_columns)))
        for i, said in each.items():
            found[role == i, : said.shape[1]] = said
        return found

    return act


def distinct(p: TradingParams) -> list[str]:
    """Names of the baselines, in their order, without those that for every role there is do what an earlier one does."""
    present = [role for role, n in zip(ROLES, p.counts) if n > 0]
    first: dict[tuple[Any, ...], str] = {}
    for name, named in STRATEGIES.items():
        first.setdefault(tuple((HOUSE | named)[role] for role in present), name)
    return list(first.values())


BASELINES: Mapping[str, Any] = {name: by_role(name) for name in STRATEGIES}


def action_grid(p: TradingParams) -> Mapping[str, npt.NDArray[Any]]:
    """9 actions of each role, the same for all seats: nothing; buy or sell much or little; quote near, far, or one side only."""
    none, near, far = p.farthest + 1.0, min(1, p.farthest), min(3, p.farthest)
    little, much, shown = does.said(0.05), does.said(0.5), 0.4 ** (1 / 3)
    makers = [
        [none, none, 0, 0], [none, none, 0, little], [none, none, 0, -little], [none, none, 0, much], [none, none, 0, -much],
        [near, near, shown, 0], [far, far, shown, 0], [near, none, shown, 0], [none, near, shown, 0],
    ]  # fmt: skip
    executors = [[none, 0, 0], *([none, 0, does.said(q)] for q in (0.01, 0.04, 0.2, 1.0)), *([k, shown, 0] for k in (near, far))]
    executors += [[near, shown, does.said(0.04)], [far, shown, does.said(0.04)]]
    takers = [[does.said(q)] for q in (-1.0, -0.3, -0.1, -0.02, 0.0, 0.02, 0.1, 0.3, 1.0)]
    rows = dict(zip(ROLES, (makers, executors, takers, takers, np.linspace(-2, 2, 9)[:, None])))
    return {role: np.tile(np.array(rows[role], np.float64), (1, p.seats)) for role, n in zip(ROLES, p.counts) if n > 0}
