"""Parameters: ranges, kinds, units and names are refused by name, at construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from marl import UserError
from marl.params import Params, choice, derived, param, text


@dataclass(frozen=True)
class StallParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ("prices",)

    n_agents: int = param(2, 1, 8, "agents")
    reserve: float = param(0.5, 0.0, 1e6, "$ per impression")
    rain: bool = param(False, 0, 1, "")
    format: str = choice("second", ("first", "second"))
    log: str = text("", "a path")
    cap: float = param(4.0, 0.0, 9.0, "")

    def validate(self) -> None:
        if self.reserve > self.cap:
            raise UserError(f"StallParams.reserve = {self.reserve} above cap = {self.cap}")

    @derived
    def share(self) -> float:
        return 1.0 / self.n_agents

    def tables(self) -> Mapping[str, Any]:
        return {"prices": np.arange(self.n_agents)}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"reserve": -1.0}, "StallParams.reserve = -1.0 $ per impression: legal range is [0, 1e+06]"),
        ({"reserve": 1e7}, "StallParams.reserve = 10000000.0 $ per impression: legal range is [0, 1e+06]"),
        ({"reserve": float("nan")}, "StallParams.reserve = nan $ per impression: a number is expected, legal range is [0, 1e+06]"),
        ({"reserve": "free"}, "StallParams.reserve = 'free' $ per impression: a number is expected"),
        ({"reserve": None}, "StallParams.reserve = None"),
        ({"reserve": float("inf")}, "StallParams.reserve = inf $ per impression: legal range is"),
        ({"n_agents": 2.5}, "StallParams.n_agents = 2.5 agents: a whole number is expected, legal range is [1, 8]"),
        ({"n_agents": 0}, "StallParams.n_agents = 0 agents: legal range is [1, 8]"),
        ({"n_agents": True}, "StallParams.n_agents = True agents: a whole number is expected"),
        ({"n_agents": float("inf")}, "StallParams.n_agents = inf agents"),
        ({"rain": 1}, "StallParams.rain = 1: a truth value is expected, legal range is true or false"),
        ({"format": "third"}, "StallParams.format = 'third': legal are first, second"),
        ({"log": 3}, "StallParams.log = 3: a text is expected"),
        ({"reserve": 5.0}, "StallParams.reserve = 5.0 above cap = 4.0"),
        ({"resrve": 1}, "StallParams has no parameter 'resrve' (given: 1): legal are n_agents, reserve, rain, format, log, cap"),
    ],
)
def test_what_is_illegal_is_refused_by_name(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        StallParams.build(given)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_bounds_are_legal_and_kinds_are_exact() -> None:
    low, high = StallParams(n_agents=1, reserve=0), StallParams(n_agents=8, reserve=4)
    assert type(low.reserve) is float and type(high.n_agents) is int
    assert type(StallParams(n_agents=np.int64(3)).n_agents) is int and StallParams(n_agents=3.0).n_agents == 3
    assert StallParams(rain=np.bool_(True)).rain is True
    with pytest.raises(FrozenInstanceError):
        low.n_agents = 2  # type: ignore[misc]


def test_rules_see_numbers_positions_derived_values_and_tables() -> None:
    seen = StallParams(n_agents=4, rain=True).numbers()
    prices = seen.pop("prices")
    assert seen == {"n_agents": 4, "reserve": 0.5, "rain": 1, "format": 1, "cap": 4.0, "share": 0.25}
    assert prices.tolist() == [0, 1, 2, 3] and not prices.flags.writeable
    assert list(StallParams().numbers()) == StallParams.number_names()
