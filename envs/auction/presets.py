"""Named settings of the auction: modes with known answers, and markets of mode advertising."""

from __future__ import annotations

from typing import Any

KNOWN: dict[str, Any] = {"mode": "uniform_ipv", "horizon": 1, "auctions_per_tick": 256}
VALUED: dict[str, Any] = {"mode": "uniform_ipv", "horizon": 1, "auctions_per_tick": 1}
POSITION: dict[str, Any] = {"mode": "position", "horizon": 1, "auctions_per_tick": 16}
TEN = " ".join(str(v) for v in range(11, 0, -1))
PLAIN: dict[str, dict[str, Any]] = {
    "first_price_two": {**KNOWN, "n_agents": 2, "format": "first"},
    "first_price_five": {**KNOWN, "n_agents": 5, "format": "first"},
    "second_price_two": {**KNOWN, "n_agents": 2, "format": "second"},
    "all_pay_two": {**VALUED, "n_agents": 2, "format": "all_pay"},
    "reserve_two": {**VALUED, "n_agents": 2, "format": "first", "reserve": 0.5},
    "asymmetric": {**VALUED, "n_agents": 2, "format": "first", "mode": "asym_uniform"},
    "pacing": {"mode": "pacing", "n_agents": 1, "horizon": 48, "auctions_per_tick": 64},
    "pacing_four": {"mode": "uniform_ipv", "n_agents": 4, "horizon": 48, "auctions_per_tick": 64, "budget": 0.075 * 48 * 64},
    "position_gsp": {**POSITION, "n_agents": 3, "format": "gsp", "slots": 2, "exposure": "200 100"},
    "position_vcg": {**POSITION, "n_agents": 3, "format": "vcg", "slots": 2, "exposure": "200 100"},
    "position_ten": {**POSITION, "n_agents": 11, "format": "gsp", "slots": 10, "values": TEN},
    "fppe": {
        "mode": "fppe", "n_agents": 2, "format": "first", "values": "2 1", "budgets": "0.5 1", "horizon": 16, "auctions_per_tick": 64,
    },
    "market": {},
}  # fmt: skip
ADS: dict[str, Any] = {"mode": "advertising", "format": "gsp", "traffic_swing": 0.6, "sigma": 0.5}
BIDDERS: dict[str, dict[str, Any]] = {
    "tiny": {**ADS, "n_agents": 4, "auctions_per_tick": 64, "slots": 1, "horizon": 48, "creatives": 1, "segments": 2, "channels": 1},
    "train": {**ADS, "n_agents": 8, "auctions_per_tick": 256, "slots": 3, "horizon": 48, "exposure": "1 .8 .6"},
    "search": {**ADS, "n_agents": 16, "auctions_per_tick": 256, "slots": 10, "horizon": 48, "channels": 1, "exposure_decay": 0.7},
    "ipinyou": {
        "mode": "market", "format": "second", "n_agents": 2, "law": "lognormal_table", "value_mean": 0.07, "sigma": 0.87, "horizon": 48,
        "auctions_per_tick": 256,
    },
    "auctionnet": {
        **ADS, "n_agents": 48, "categories": 6, "auctions_per_tick": 10_416, "slots": 3, "exposure": "1 .8 .6", "horizon": 48,
        "reserve": 1e-4, "budget": 3_425.0, "budget_spread": 0.416, "cpa_low": 60.0, "cpa_high": 130.0, "sale_value": 95.0,
        "click_low": 0.03, "click_high": 0.03, "sale_rate": 0.016, "sale_spread": 0.35, "sigma": 0.63, "segments": 1, "channels": 1,
        "creatives": 1, "objective": "value", "correlation": 0.5,
    },
}  # fmt: skip
DAILY: dict[str, Any] = {
    "mode": "advertising", "actions": "campaign", "format": "gsp", "n_agents": 4, "slots": 3, "ticks_per_day": 1, "horizon": 30,
    "auctions_per_tick": 2_000, "creatives": 6, "segments": 6, "channels": 3, "pricing": "cpc", "budget": 3_000.0, "journeys": True,
    "population": 5_000, "fatigue": 0.5, "delay": 3.0, "window": 14.0, "attribution": "time_decay", "drift": 0.05, "season": 0.2,
    "shift_rate": 0.02, "pay": "weighted", "sale_value": 40.0, "identity": 0.8, "tracking": 0.9,
}  # fmt: skip
CAMPAIGNS: dict[str, dict[str, Any]] = {
    "campaign": DAILY,
    "campaign_small": {**DAILY, "day_cap": 50.0},
    "journey": {
        **DAILY, "actions": "hybrid", "format": "gsp", "slots": 10, "creatives": 50, "channels": 2, "segments": 10, "ticks_per_day": 48,
        "horizon": 672, "auctions_per_tick": 128, "users": "cohort", "cohort": 1_000, "persist": True, "delay": 5.0,
        "attribution": "time_decay", "half_life": 7.0, "pay": "four_part", "budget": 20_000.0,
    },
}  # fmt: skip
PRESETS = PLAIN | BIDDERS | CAMPAIGNS
