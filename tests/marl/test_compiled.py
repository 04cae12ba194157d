"""Rules of wide states: fields are read once, and what is compiled is what the source says; games of two worlds."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import numpy as np
import pytest

import envs
from marl import UserError, VectorGame
from marl.compiled import apart, inlined, unpacked, wide
from marl.driver import numbers_of


class Numbers(NamedTuple):
    n: int
    rate: float


class World(NamedTuple):
    stock: np.ndarray
    spare: np.ndarray


def grow(p, s, b):  # type: ignore[no-untyped-def]
    """Doc."""
    for i in range(p.n):
        s.stock[b, i] += p.rate * s.stock[b, i]
        s.spare[b] = s.stock[b, i]
    return s.stock[b, p.n - 1]


@wide(inlined)
def grown(p, s, b):  # type: ignore[no-untyped-def]
    for i in range(p.n):
        s.stock[b, i] += p.rate * s.stock[b, i]


@wide(apart)
def grow_twice(p, s, b):  # type: ignore[no-untyped-def]
    grown(p, s, b)
    grown(p, s, b)


def test_fields_are_read_once_and_lines_stay() -> None:
    made = unpacked(grow)
    assert made.__doc__ == "Doc." and made.__code__.co_filename == grow.__code__.co_filename
    assert {"p_n", "p_rate", "s_stock", "s_spare"} <= set(made.__code__.co_varnames)
    first, last = (max(line for _, _, line in code.co_lines() if line) for code in (grow.__code__, made.__code__))
    assert first == last == inspect.getsourcelines(grow)[1] + len(inspect.getsourcelines(grow)[0]) - 1


def test_what_is_compiled_is_what_the_source_says() -> None:
    p = Numbers(3, 0.5)
    s, t = (World(np.arange(6.0).reshape(2, 3), np.zeros(2)) for _ in range(2))
    assert unpacked(grow)(p, s, 1) == grow(p, t, 1)
    assert (s.stock == t.stock).all() and (s.spare == t.spare).all()
    grow_twice(p, s, 0)
    assert s.stock[0] == pytest.approx([0, 1 * 2.25, 2 * 2.25])


def test_a_driver_carries_only_what_rules_read() -> None:
    auction = envs.game("auction")
    plain, market = numbers_of(auction), numbers_of(auction.variants["market"])
    assert "n_agents" in plain and "population" not in plain and "population" in market
    assert not set(plain) - set(auction.params.number_names())


def test_parameters_choose_the_variant() -> None:
    auction = envs.game("auction")
    market = auction.variants["market"]
    assert auction.at(auction.make_params()) is auction
    assert auction.at(auction.make_params("tiny")) is market and market.at(market.make_params()) is market
    assert {"profit", "placement"} <= set(auction.components())
    with pytest.raises(UserError, match="no component 'placement'"):
        VectorGame(auction, 1, weights={"placement": 1.0})
