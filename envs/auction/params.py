"""Parameters of the auction: those of every mode (`plain`) and those of mode advertising, declared once each with range and unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, gamma, isinf, log
from typing import Any, ClassVar

import numpy as np

from envs.auction.plain import (
    ALL_PAY,
    FIRST,
    FORMATS,
    GSP,
    LAWS,
    LISTED,
    LOGNORMAL,
    MICRO,
    MODES,
    MOST_SLOTS,
    SECOND,
    TABLE,
    UNIFORM,
    UNLIMITED,
    VCG,
    PlainParams,
)  # fmt: skip
from envs.auction.world import CELLS, World, world
from marl.errors import UserError
from marl.game import F8, I8
from marl.params import choice, derived, param

ACTIONS = ("multiplier", "segment", "hybrid", "campaign")
MULTIPLIER, SEGMENT, HYBRID, CAMPAIGN = 0, 1, 2, 3
PRICINGS = ("cpm", "cpc", "cpa")
CPM, CPC, CPA = 0, 1, 2
PACINGS = ("none", "throttle", "pid", "dual")
THROTTLE, PID, DUAL = 1, 2, 3
SELECTORS = ("uniform", "eps_greedy", "ucb1", "thompson", "linucb")
EPS_GREEDY, UCB1, THOMPSON, LINUCB = 1, 2, 3, 4
DELAYS = ("exponential", "weibull")
WEIBULL = 1
ATTRIBUTIONS = ("last", "linear", "time_decay", "position", "shapley")
LAST, LINEAR, TIME_DECAY, POSITION, SHAPLEY = 0, 1, 2, 3, 4
FEEDBACKS = ("full", "winner", "aggregate", "min_to_win")
REWARDS = ("profit", "attributed", "weighted", "four_part", "target_cpa", "target_roas")
AIM_CPA, AIM_ROAS = 1, 2
TOUCHES = 8
"""Touches that a path keeps, the latest."""
STAGES = 5
"""Stages of a journey: unaware, aware, considering, intent, converted."""
STRATEGIES = 27
"""Strategy cells: creative type x audience x pricing, three of each."""
MOST_DELAY = 14.0
"""Days."""


@dataclass(frozen=True)
class AuctionParams(PlainParams):
    TABLES: ClassVar[tuple[str, ...]] = (
        *PlainParams.TABLES,
        "cell_of", "cell_share", "shared_q", "own_q", "seen_q", "rate_of_click", "rate_of_sale", "channel_click", "safety", "worth",
        "target", "season_of", "profile_of",
    )  # fmt: skip

    ticks_per_day: int = param(48, 1, 1_440, "ticks", "mode advertising, as all that follows")
    segments: int = param(4, 1, 16, "segments", "of users")
    channels: int = param(3, 1, 3, "channels", "paid: search, social, display; organic is no auction, see organic")
    creatives: int = param(3, 1, 64, "creatives", "of each advertiser")
    categories: int = param(1, 1, 64, "categories", "of advertisers, who share click and conversion rates within one")
    world: int = param(0, 0, 10**9, "", "seed of the rates, shares, values and safety scores of the market, which all copies share")
    click_low: float = param(0.02, 1e-5, 1.0, "clicks per exposure", "of a fresh creative")
    click_high: float = param(0.05, 1e-5, 1.0, "clicks per exposure", "of a fresh creative")
    sale_rate: float = param(0.05, 1e-6, 1.0, "conversions per click", "mean over segments and creatives")
    sale_spread: float = param(0.3, 0.0, 2.0, "sd of the logarithm", "of the conversion rate over segments and creatives")
    sale_value: float = param(20.0, 1e-3, 1e5, "$", "mean value of a conversion")
    sale_value_spread: float = param(0.2, 0.0, 2.0, "sd of the logarithm", "over advertisers")
    correlation: float = param(0.3, 0.0, 1.0, "share of variance", "of an impression's log value that all advertisers share")
    estimate_noise: float = param(0.2, 0.0, 3.0, "sd of the logarithm", "of an advertiser's estimate of an impression's value")
    estimate_bias: float = param(1.0, 0.1, 10.0, "estimate over truth", "the same for everybody")
    quality_power: float = param(0.0, 0.0, 2.0, "beta", "bids are ranked by bid x click rate^beta, relative to the mean rate")
    traffic_swing: float = param(0.0, 0.0, 0.95, "share", "traffic flat: sine over the day on top")
    drift: float = param(0.0, 0.0, 1.0, "sd of the logarithm per day", "of conversion rates by segment, mean-reverting within a week")
    shift_rate: float = param(0.0, 0.0, 1.0, "chance per day", "that conversion rates shift to another regime")
    shift_size: float = param(0.3, 0.0, 2.0, "sd of the logarithm", "of a regime's conversion rates")
    season: float = param(0.0, 0.0, 0.95, "share", "sine over the week on conversion rates")
    journeys: bool = param(False, 0, 1, "", "users move through stages, which decide their conversion rate")
    population: int = param(2_000, 1, 10**6, "users", "of each segment, toward each advertiser")
    push: float = param(0.05, 0.0, 1.0, "chance", "that an exposure moves an unaware or aware user on")
    push_click: float = param(0.6, 0.0, 1.0, "chance", "that a click moves a user on")
    fade: float = param(0.1, 0.0, 1.0, "share per day", "of users that fall back by a stage; converted ones begin anew")
    organic: float = param(0.01, 0.0, 1.0, "share per day", "of unaware users that become aware without an auction")
    users: str = choice("pooled", ("pooled", "cohort"), "cohort: individuals with devices, stages and touch paths")
    cohort: int = param(1_000, 1, 10**6, "users", "users = cohort")
    persist: bool = param(False, 0, 1, "", "cohort: individuals stay from episode to episode")
    mobile: float = param(0.6, 0.0, 1.0, "share", "of impressions on mobile, the rest on desktop")
    identity: float = param(1.0, 0.0, 1.0, "confidence", "chance that a touch on another device is linked to the conversion's")
    tracking: float = param(1.0, 0.0, 1.0, "chance", "that a touch is recorded at all")
    fatigue: float = param(0.0, 0.0, 1_000.0, "per thousand exposures", "share of its freshness that a creative loses")
    fatigue_depth: float = param(0.6, 0.0, 1.0, "share", "of the click rate that a worn-out creative loses")
    recovery: float = param(0.3, 0.0, 1.0, "share per day", "of what it lost that a creative regains")
    selector: str = choice("thompson", SELECTORS, "of creatives, where the action does not choose")
    explore: float = param(0.1, 0.0, 10.0, "", "epsilon of eps_greedy, width of ucb1 and linucb over its usual one")
    delay_law: str = choice("exponential", DELAYS, "of the time from click to conversion")
    delay: float = param(0.0, 0.0, MOST_DELAY, "days", "mean")
    delay_shape: float = param(0.7, 0.2, 5.0, "", "of weibull")
    window: float = param(7.0, 0.01, MOST_DELAY, "days", "in which a conversion is seen, later ones are lost")
    attribution: str = choice("last", ATTRIBUTIONS, "shapley: on the conversion rates of the ledger's sets of channels")
    half_life: float = param(7.0, 0.01, 100.0, "days", "attribution time_decay")
    actions: str = choice("multiplier", ACTIONS)
    pricing: str = choice("cpm", PRICINGS, "what is paid for, where the action does not choose; bids are ranked by expected payment")
    pacing: str = choice("none", PACINGS, "a layer on everybody's bids that keeps spend with the traffic")
    pacing_step: float = param(0.1, 1e-4, 10.0, "", "gain of the layer")
    outcomes: str = choice("sampled", ("sampled", "expected"), "expected: exposures, value and money of positions in expectation")
    feedback: str = choice("winner", FEEDBACKS, "what bidders see of auctions beyond their own wins")
    padded: bool = param(False, 0, 1, "", "columns of every feedback and of journeys are there, 0 where not shown: for curricula")
    pay: str = choice("profit", REWARDS, "the named reward: default weights of the components")
    risk_adjusted: bool = param(False, 0, 1, "", "the reward over its running downside deviation, pay weighted")
    shaping: str = choice("potential", ("raw", "potential"), "of the components pending, fresh and unspent")
    discount: float = param(0.99, 0.0, 1.0, "per tick", "gamma of the shaping: take the learner's")
    objective: str = choice("utility", ("utility", "value"), "value: the money spent is no loss, the targets are")
    team_share: float = param(0.0, 0.0, 1.0, "share", "of the reward that is the mean over advertisers")
    cpa_low: float = param(0.0, 0.0, 1e6, "$ per conversion", "target of the first advertiser; 0: none")
    cpa_high: float = param(0.0, 0.0, 1e6, "$ per conversion", "target of the last advertiser, those between evenly")
    roas_target: float = param(0.0, 0.0, 100.0, "value over spend", "0: none")
    target_band: float = param(0.1, 0.0, 10.0, "share of the target", "by which pay target_* lets what is reached differ from it")
    budget_spread: float = param(0.0, 0.0, 0.95, "share", "budgets lie evenly in 1 -+ this times their mean")
    day_cap: float = param(0.0, 0.0, 1e6, "$ per day", "hard limit of a day's spend; 0: none")
    record: bool = param(False, 0, 1, "", "every bid of the last tick stays in the state, for marl export")

    def validate(self) -> None:
        super().validate()
        name = type(self).__name__
        if self.click_low > self.click_high:
            raise UserError(f"{name}.click_low = {self.click_low} clicks per exposure: legal is up to click_high = {self.click_high}")
        if self.mode != "advertising":
            if self.record:
                raise UserError(f"{name}.record = True in mode {self.mode}: legal in mode advertising")
            return
        if self.delay > self.window and self.delay > 0:
            raise UserError(f"{name}.delay = {self.delay} days with window = {self.window} days: legal is a mean within the window")
        if (self.pay == "target_cpa" and not self.cpa_low) or (self.pay == "target_roas" and not self.roas_target):
            missing = "cpa_low and cpa_high" if self.pay == "target_cpa" else "roas_target"
            raise UserError(f"{name}.pay = {self.pay!r} without a target: legal with {missing} above 0")
        if self.aim and self.team_share:
            raise UserError(f"{name}.team_share = {self.team_share} with pay = {self.pay!r}: legal is 0, a target is everybody's own")
        if bool(self.cpa_low) != bool(self.cpa_high):
            raise UserError(f"{name}.cpa_low = {self.cpa_low}, cpa_high = {self.cpa_high}: both are given, or none")

    @derived
    def advertising(self) -> int:
        """1 in mode advertising."""
        return int(self.mode == "advertising")

    @derived
    def aim(self) -> int:
        """What pay target_* asks for: 1 spend per conversion, 2 value over spend; 0: another pay."""
        return {"target_cpa": AIM_CPA, "target_roas": AIM_ROAS}.get(self.pay, 0)

    @property
    def dearest(self) -> float:
        """The highest value that an impression can have, $."""
        return super().dearest if self.mode != "advertising" else 4 * self.sale_value * exp(4 * self.sale_value_spread)

    @derived
    def cells(self) -> int:
        """Kinds of impressions: segments x channels."""
        return self.segments * self.channels

    @derived
    def subsets(self) -> int:
        """Sets of channels, organic among them."""
        return int(2 ** (self.channels + 1))

    @derived
    def ring_cells(self) -> int:
        """Ticks that conversions may wait, as far as an episode sees them, and the present one."""
        return int(min(self.window_ticks, self.horizon)) + 1 if self.delay > 0 else 1

    @derived
    def window_ticks(self) -> int:
        """The window in whole ticks."""
        return int(self.window * self.ticks_per_day)

    @derived
    def cohort_size(self) -> int:
        """Individuals, 0 where users are pooled."""
        return self.cohort if self.users == "cohort" else 0

    @derived
    def delay_scale(self) -> float:
        """Scale of the delay's law, ticks; its mean is delay x ticks_per_day."""
        mean = self.delay * self.ticks_per_day
        return mean / gamma(1 + 1 / self.delay_shape) if self.delay_law == "weibull" else mean

    @derived
    def keep(self) -> float:
        """Part of the expected conversions that is still pending a tick later, by the exponential law."""
        return exp(-1.0 / (self.delay * self.ticks_per_day)) if self.delay > 0 else 0.0

    @derived
    def wear(self) -> float:
        """Share of its freshness that a creative loses by an exposure."""
        return min(self.fatigue / 1_000, 1.0)

    @derived
    def rest(self) -> float:
        """Part of the lost freshness that a tick leaves lost."""
        return float((1 - self.recovery) ** (1 / self.ticks_per_day))

    @derived
    def arms(self) -> int:
        """Channels, organic first, then three creative types, audiences and pricings where the action names them."""
        return 1 + self.channels + 9 * self.wide

    @derived
    def wide(self) -> int:
        """1 where the action names creatives and audiences."""
        return int(self.actions in ("hybrid", "campaign"))

    @derived
    def strategies(self) -> int:
        """Strategy cells: creative type x audience x pricing where the action names them, else one."""
        return STRATEGIES if self.wide else 1

    @derived
    def recorded(self) -> int:
        """Auctions of the busiest tick where every bid is kept, else 0."""
        return int(self.schedule().max()) if self.record else 0

    @derived
    def sets(self) -> int:
        """Sets of channels whose paths are counted, one where attribution does not ask for them."""
        return self.subsets if self.attribution == "shapley" else 1

    @derived
    def least(self) -> float:
        """Lowest bid that counts, micro-dollars."""
        return float(max(self.reserve_money, 1))

    @derived
    def splits(self) -> int:
        """1 where the action splits impressions between two creatives."""
        return int(self.actions == "campaign")

    @derived
    def limited_money(self) -> int:
        """1 where advertisers have a budget."""
        return int(self.limited)

    @derived
    def coin(self) -> float:
        """Micro-dollars of a unit of reward: a tick's share of the mean budget; without one of $1 a hundred auctions."""
        return self.purse / self.horizon if self.limited else MICRO * self.auctions_per_tick / 100

    @derived
    def thins(self) -> int:
        """1 where an advertiser may take part in some auctions only."""
        return int(self.pacing == "throttle" or self.actions == "campaign")

    @derived
    def fade_tick(self) -> float:
        """Share of users that fall back in a tick."""
        return float(1 - (1 - self.fade) ** (1 / self.ticks_per_day))

    @derived
    def organic_tick(self) -> float:
        """Share of unaware users that become aware in a tick without an auction."""
        return float(1 - (1 - self.organic) ** (1 / self.ticks_per_day))

    @derived
    def per_day(self) -> float:
        """Days of a tick."""
        return 1.0 / self.ticks_per_day

    @derived
    def mean_click(self) -> float:
        """Mean click rate of fresh creatives."""
        return float(self.land.click.mean())

    @derived
    def mean_worth(self) -> float:
        """Mean value of a conversion over advertisers, micro-dollars."""
        return float(MICRO * self.land.worth.mean())

    @derived
    def individual(self) -> int:
        """1 where advertisers see the wide view of single users' journeys."""
        return int(self.actions == "hybrid" and self.users == "cohort")

    @derived
    def cap_money(self) -> int:
        """The hard limit of a day's spend, micro-dollars; UNLIMITED without one."""
        return round(self.day_cap * MICRO) if self.day_cap else UNLIMITED

    @property
    def land(self) -> World:
        """Rates, shares and values of the market."""
        return world(
            self.world, self.n_agents, self.creatives, self.segments, self.channels, self.categories,
            (self.click_low, self.click_high), (self.sale_rate, self.sale_spread), (self.sale_value, self.sale_value_spread),
        )  # fmt: skip

    @derived
    def purse(self) -> int:
        """Budget of each bidder, micro-dollars: as in the other modes; in advertising of truthful bidders, who are tried out."""
        if self.mode != "advertising" or not isinf(self.budget):
            return self._plain_purse()
        from envs.auction.pilot import truthful_spend_of

        spend = truthful_spend_of(self)
        return max(1, round(self.budget_tightness * spend * MICRO)) if spend > 0 else UNLIMITED

    def purses(self) -> I8:
        """Budget of every bidder, micro-dollars [A], spread evenly around the mean."""
        flat = super().purses()
        if not self.advertising or self.purse >= UNLIMITED or self.n_agents == 1:
            return flat
        return np.rint(flat * np.linspace(1 - self.budget_spread, 1 + self.budget_spread, self.n_agents)).astype(np.int64)

    def profile(self) -> F8:
        """Share of the horizon's auctions at each tick [T]."""
        shares = super().profile()
        if self.mode != "advertising" or self.traffic != "flat" or self.traffic_swing == 0:
            return shares
        phase = 2 * np.pi * (np.arange(self.horizon) % self.ticks_per_day + 0.5) / self.ticks_per_day
        swung = shares * (1 - self.traffic_swing * np.cos(phase))
        return np.asarray(swung / swung.sum())

    def schedule(self) -> I8:
        """Auctions at each tick [T]."""
        if self.mode != "advertising" or self.traffic != "flat" or self.traffic_swing == 0:
            return super().schedule()
        total = self.horizon * self.auctions_per_tick
        return np.diff(np.rint(np.cumsum(self.profile()) * total), prepend=0.0).astype(np.int64)

    def tables(self) -> Mapping[str, Any]:
        """Beside those of every mode, see `world.World`: unit-mean quantile tables [1024] of what values share, have alone, and of
        estimates; conversion targets [A] in micro-dollars, 0 without one; factor of the week on conversion rates [T + 1]."""
        from envs.auction.world import unit_quantiles

        land, day = self.land, 1 + np.arange(self.horizon + 1) / self.ticks_per_day
        share, own = self.sigma * np.sqrt(self.correlation), self.sigma * np.sqrt(1 - self.correlation)
        if self.mode != "advertising":
            share = own = 0.0
        return {
            **super().tables(),
            "cell_of": land.cell_of,
            "cell_share": land.cell_share,
            "shared_q": unit_quantiles(float(share)),
            "own_q": unit_quantiles(float(own)),
            "seen_q": self.estimate_bias * unit_quantiles(self.estimate_noise),
            "rate_of_click": land.click,
            "rate_of_sale": land.sale,
            "channel_click": land.channel,
            "safety": land.safety,
            "profile_of": land.profile,
            "worth": np.rint(MICRO * land.worth).astype(np.int64),
            "target": MICRO * np.linspace(self.cpa_low, self.cpa_high, self.n_agents),
            "season_of": 1 + self.season * np.sin(2 * np.pi * day / 7),
        }


__all__ = [
    "ALL_PAY", "CELLS", "FIRST", "FORMATS", "GSP", "LAWS", "LISTED", "LOGNORMAL", "MICRO", "MODES", "MOST_SLOTS", "SECOND", "TABLE",
    "UNIFORM", "UNLIMITED", "VCG", "AuctionParams", "PlainParams", "log",
]  # fmt: skip
