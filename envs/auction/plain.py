"""Parameters that every mode of the auction has, what follows from them, and the tables that the rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, isinf, log
from typing import Any, ClassVar

import numpy as np

from envs.auction.data import FLAT, traffic_profile
from envs.auction.laws import lognormal_quantiles, positions_spend, truthful_spend, uniform_quantiles
from marl.errors import UserError
from marl.game import F8, I8
from marl.params import Params, choice, data_file, derived, param, text

MODES = ("uniform_ipv", "asym_uniform", "pacing", "market", "position", "fppe", "advertising")
LISTED = ("position", "fppe")
"""Modes whose bidders have fixed values."""
FORMATS = ("first", "second", "all_pay", "gsp", "vcg")
LAWS = ("uniform", "lognormal", "lognormal_table")
FIRST, SECOND, ALL_PAY, GSP, VCG = 0, 1, 2, 3, 4
UNIFORM, LOGNORMAL, TABLE = 0, 1, 2
MICRO = 1_000_000
"""Micro-dollars of a dollar: the rules count money in whole micro-dollars."""

UNLIMITED = 1 << 62
"""Money of a bidder without a budget, micro-dollars; an episode cannot spend it (checked at construction)."""

FARTHEST = 8.6
"""Standard deviations that an exact normal draw cannot exceed: sqrt(-2 log 2^-53)."""


MOST_SLOTS = 10
"""Positions of an auction, at most."""


@dataclass(frozen=True)
class PlainParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = (
        "auctions", "auctions_left", "sine", "cosine", "quantiles", "mean", "top", "purses", "exposures", "fixed",
    )  # fmt: skip

    n_agents: int = param(8, 1, 1024, "bidders")
    horizon: int = param(24, 1, 10_000, "ticks", "one decision a tick; a tick is an hour of the traffic profile")
    auctions_per_tick: int = param(32, 1, 100_000, "auctions", "mean over the horizon")
    mode: str = choice("market", MODES, "known-answer modes have values in U[0, 1] $ (asym_uniform: U[0, w1] and U[0, w2])")
    format: str = choice("second", FORMATS)
    slots: int = param(1, 1, MOST_SLOTS, "positions", "second with several is gsp")
    exposure: str = text("", "of each position, one number a position; empty: exposure_decay to the power of the position")
    exposure_decay: float = param(0.7, 0.01, 1.0, "", "exposure of a position over that of the one above")
    reserve: float = param(0.0, 0.0, 1e6, "$ per auction", "a bid below it is none")
    soft_floor: float = param(0.0, 0.0, 1e6, "$ per auction", "second and gsp: a bid below it pays itself, one above at least it")
    budget: float = param(inf, 1e-6, inf, "$ per episode and agent", "inf: none, but budget_tightness in market and rho in pacing")
    budget_tightness: float = param(0.5, 0.01, 1e6, "share of expected truthful spend", "market mode where budget is inf")
    rho: float = param(1 / 24, 1e-6, 1.0, "$ per auction", "budget of mode pacing where budget is inf")
    w1: float = param(1.0, 1e-3, 1e3, "$", "asym_uniform: highest value of bidder 0")
    w2: float = param(2.0, 1e-3, 1e3, "$", "asym_uniform: highest value of bidder 1")
    values: str = text("10 4 2", "modes position and fppe: value of each bidder, $ per unit of exposure")
    budgets: str = text("", "budget of each bidder, $ per auction, instead of budget; empty: budget")
    law: str = choice("lognormal_table", LAWS, "of values in market mode; the other modes are uniform")
    value_mean: float = param(1.0, 1e-3, 1e4, "$", "market mode")
    sigma: float = param(0.87, 0.01, 3.0, "sd of log value", "market mode; .87 as log-prices of iPinYou campaign 1458")
    traffic: str = data_file(FLAT, "a traffic file", "flat, or the path of a traffic file: region_id, dow, hour, traffic_share")
    region: int = param(0, 0, 10**12, "region_id", "region of the traffic file")

    def validate(self) -> None:
        name = type(self).__name__
        if self.mode == "pacing" and (self.n_agents != 1 or self.format != "second" or self.reserve > 0):
            raise UserError(
                f"{name}.mode = 'pacing' with n_agents = {self.n_agents}, format = {self.format!r}, reserve = {self.reserve} $:"
                " legal are 1 bidder, format second and no reserve, as one learner meets a random price"
            )
        if self.mode == "asym_uniform" and self.n_agents != 2:
            raise UserError(f"{name}.n_agents = {self.n_agents} bidders: legal in mode asym_uniform is 2")
        if self.mode in LISTED and self.n_agents != len(self.listed):
            raise UserError(f"{name}.n_agents = {self.n_agents} bidders with values = {self.values!r}: legal are {len(self.listed)}")
        if (self.exposures()[1:] > self.exposures()[:-1]).any():
            raise UserError(f"{name}.exposure = {self.exposure!r}: it may not rise from a position to the next")
        if self.budgets and len(self._numbers("budgets")) != self.n_agents:
            raise UserError(f"{name}.budgets = {self.budgets!r}: {self.n_agents} numbers are expected, one a bidder")
        if self.traffic != FLAT and self.auctions_per_tick == 1:
            raise UserError(f"{name}.auctions_per_tick = 1 auction with traffic = {self.traffic!r}: legal with a profile is 2 or more")
        self.profile()
        most = 5.0 * MICRO * self.dearest * self.horizon * self.auctions_per_tick * self.n_agents
        if most >= UNLIMITED:
            raise UserError(
                f"{name}: horizon x auctions_per_tick x n_agents x highest value = {most / MICRO:.3g} $ at stake:"
                f" legal is up to {UNLIMITED / MICRO:.3g} $, make one of them smaller"
            )

    def _numbers(self, name: str) -> F8:
        """The numbers above 0 in the text of a parameter. Raises UserError."""
        given = getattr(self, name)
        try:
            found = np.array([float(cell) for cell in given.split()])
        except ValueError:
            found = np.zeros(1)
        if not ((found > 0) & (found <= 1e6)).all() or not len(found):
            raise UserError(f"{type(self).__name__}.{name} = {given!r}: numbers in (0, 1e6] are expected")
        return found

    @property
    def listed(self) -> F8:
        """Fixed values of the bidders, $."""
        return self._numbers("values")

    def exposures(self) -> F8:
        """Exposure of each position [slots]. Raises UserError."""
        if not self.exposure:
            return np.asarray(self.exposure_decay ** np.arange(self.slots))
        found = self._numbers("exposure")
        if len(found) != self.slots:
            raise UserError(f"{type(self).__name__}.exposure = {self.exposure!r}: {self.slots} numbers are expected, one a position")
        return found

    @derived
    def positions(self) -> int:
        """1 where an auction is more than one position in first price, second price or all-pay."""
        several = self.slots > 1 or self.exposure or self.soft_floor > 0 or self.format in ("gsp", "vcg")
        return int(bool(several) or self.mode in LISTED)

    @property
    def ranks(self) -> int:
        """Bidders that an auction ranks: its positions and one more."""
        return self.slots + 1

    @property
    def dearest(self) -> float:
        """The highest value a bidder can have, $ (in a position: of its exposure)."""
        if self.mode in LISTED or self.kind == UNIFORM:
            return max(self.widths) * float(self.exposures().sum())
        return self.value_mean * exp(FARTHEST * self.sigma) * float(self.exposures().sum())

    @property
    def widths(self) -> list[float]:
        """Highest value of each bidder's uniform law, $; in market mode 2 value_mean, so that value_mean is the mean."""
        if self.mode == "asym_uniform":
            return [self.w1, self.w2]
        if self.mode in LISTED:
            return [float(x) for x in self.listed]
        return [2 * self.value_mean if self.mode == "market" else 1.0] * self.n_agents

    @derived
    def kind(self) -> int:
        """Law of values: UNIFORM, LOGNORMAL or TABLE."""
        return LAWS.index(self.law) if self.mode == "market" else UNIFORM

    @derived
    def rival(self) -> int:
        """1 where a random price ~ U[0, 1] $ stands in for the rivals."""
        return int(self.mode == "pacing")

    @derived
    def reserve_money(self) -> int:
        """The reserve, micro-dollars."""
        return round(self.reserve * MICRO)

    @derived
    def soft_money(self) -> float:
        """The soft floor, micro-dollars."""
        return float(round(self.soft_floor * MICRO))

    @derived
    def log_location(self) -> float:
        """Mean of the logarithm of a lognormal value in micro-dollars."""
        return log(self.value_mean * MICRO) - self.sigma**2 / 2

    @derived
    def purse(self) -> int:
        """Budget of each bidder for the episode, micro-dollars; UNLIMITED where there is none."""
        return self._plain_purse()

    def _plain_purse(self) -> int:
        money = self.budget
        if isinf(money) and self.mode == "pacing":
            money = self.rho * self.horizon * self.auctions_per_tick
        if isinf(money) and self.mode == "market":
            spend = self.truthful_spend  # nothing where a lone bidder pays nothing: then there is no budget
            money = self.budget_tightness * self.horizon * self.auctions_per_tick * spend if spend > 0 else inf
        return UNLIMITED if money * MICRO >= UNLIMITED else max(1, round(money * MICRO))

    def purses(self) -> I8:
        """Budget of every bidder, micro-dollars [A]; UNLIMITED where there is none."""
        if not self.budgets:
            return np.full(self.n_agents, self.purse, np.int64)
        money = self._numbers("budgets") * self.horizon * self.auctions_per_tick
        return np.maximum(1, np.rint(money * MICRO)).astype(np.int64)

    @property
    def limited(self) -> bool:
        """Whether bidders have a budget."""
        return bool(self.budgets) or self.purse < UNLIMITED

    @property
    def rate(self) -> float:
        """Budget an auction, $; inf without one."""
        return self.purse / MICRO / (self.horizon * self.auctions_per_tick) if self.limited else inf

    def value_quantiles(self, agent: int = 0) -> F8:
        """Quantile table [4096] of a bidder's value, $."""
        return uniform_quantiles(self.widths[agent]) if self.kind == UNIFORM else lognormal_quantiles(self.value_mean, self.sigma)

    @property
    def truthful_spend(self) -> float:
        """Expected spend of bidder 0 an auction where all bid their value, $; of symmetric bidders."""
        if self.positions:
            return positions_spend(self.value_quantiles(), self.n_agents, self.format, self.exposures(), self.reserve)
        return truthful_spend(self.value_quantiles(), self.n_agents, self.format, self.reserve)

    def profile(self) -> F8:
        """Share of the horizon's auctions at each tick [T]."""
        if self.traffic == FLAT:
            return np.full(self.horizon, 1 / self.horizon)
        week = traffic_profile(self.traffic, self.region, self.mark("traffic"))
        shares = week[np.arange(self.horizon) % len(week)]
        if shares.sum() <= 0:
            raise UserError(f"{self.traffic}: region {self.region} has no traffic in the first {self.horizon} hours of the week")
        return np.asarray(shares / shares.sum())

    def schedule(self) -> I8:
        """Auctions at each tick [T]: the profile in whole auctions whose sum is horizon x auctions_per_tick exactly."""
        total = self.horizon * self.auctions_per_tick
        if self.traffic == FLAT:
            return np.full(self.horizon, self.auctions_per_tick, np.int64)
        return np.diff(np.rint(np.cumsum(self.profile()) * total), prepend=0.0).astype(np.int64)

    def tables(self) -> Mapping[str, Any]:
        """Per tick, with one row more for the end: auctions, share of auctions left, sine and cosine of the hour.

        Per bidder, micro-dollars: mean value, and the top of the law (the mean again where it has no top).
        """
        schedule = np.append(self.schedule(), 0)
        hour = 2 * np.pi * (np.arange(self.horizon + 1) % 24) / 24
        width = MICRO * np.array(self.widths)
        mean = width if self.mode in LISTED else width / 2 if self.kind == UNIFORM else np.full(self.n_agents, MICRO * self.value_mean)
        return {
            "auctions": schedule,
            "auctions_left": np.append(1.0, 1 - np.cumsum(schedule[:-1]) / schedule.sum()),
            "sine": np.sin(hour),
            "cosine": np.cos(hour),
            "quantiles": np.rint(MICRO * self.value_quantiles()).astype(np.int64),
            "mean": mean,
            "top": width if self.kind == UNIFORM else mean,
            "purses": self.purses(),
            "exposures": self.exposures(),
            "fixed": np.rint(width if self.mode in LISTED else np.zeros(self.n_agents)).astype(np.int64),
        }
