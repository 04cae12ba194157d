"""Parameters that make no market: one line that names them, their value and what is legal."""

from __future__ import annotations

from typing import Any

import pytest

import envs
from marl.errors import UserError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"market_makers": 0, "executors": 0, "informed": 0, "momentum": 0}, "= 0 agents: legal is"),
        ({"market_makers": 128}, "= 131 agents: legal is"),
        ({"half_spread": 0.5}, "half_spread = 0.5 ticks with mechanism = 'book'"),
        ({"tick": 1.0}, "tick = 1.0 [$] with price = 100.0 [$]: legal is up to 0.390625 on the book"),
        ({"source": "bars"}, "mechanism = 'book' with source = 'bars'"),
        ({"latency": 3}, "latency = 3 ticks: legal range is"),
    ],
)
def test_refusals(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        envs.make("trading", **given)
