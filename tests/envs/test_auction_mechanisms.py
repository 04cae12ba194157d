"""Mechanisms against their oracle and the page's known answers, and what always holds, over random auctions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.auction import mechanisms, theory
from envs.auction.params import FORMATS
from marl.rng import U, bits
from tests.envs import mechanism_oracle as oracle

clear = mechanisms.clear


@st.composite
def auctions(draw: st.DrawFn) -> dict[str, Any]:
    """Bids with ties and zeros, weights, exposures, reserve, soft floor, a word of ties."""
    n, slots = draw(st.integers(1, 12)), draw(st.integers(1, 10))
    g = np.random.default_rng(draw(st.integers(0, 2**32)))
    coarse = g.random() < 0.5
    bid = np.where(g.random(n) < 0.1, 0.0, g.integers(0, 5, n) / 4 if coarse else g.random(n))
    weight = np.ones(n) if coarse else g.uniform(0.2, 2.0, n) ** g.choice([0.0, 0.5, 1.0])
    exposure = np.sort(g.random(slots))[::-1] if g.random() < 0.7 else 0.7 ** np.arange(slots)
    reserve = float(g.choice([0.0, 0.0, 0.25, 0.6]))
    soft = float(g.choice([0.0, 0.0, reserve + 0.2]))
    return {"bid": bid, "weight": weight, "exposure": exposure, "reserve": reserve, "soft": soft, "ties": U(g.integers(0, 2**63))}


def run(format: str, bid: Any, weight: Any, exposure: Any, reserve: float, soft: float, ties: Any) -> tuple[list[int], Any]:
    """(winners by position, payment of every bidder)."""
    agents, scores, price = np.zeros(len(exposure) + 1, np.int64), np.zeros(len(exposure) + 1), np.zeros(len(bid))
    count = clear(FORMATS.index(format), bid, weight, exposure, reserve, soft, ties, 3, scores, agents, price)
    winners = agents[: min(count, len(exposure))].tolist()
    got = {a: exposure[j] for j, a in enumerate(winners)}
    return winners, np.array([price[a] * got.get(a, exposure[0]) for a in range(len(bid))])


def order_of(ties: Any, n: int) -> list[int]:
    """Place of each bidder in the random order that decides ties."""
    priority = [int(bits(ties, 3 + a)) for a in range(n)]
    return [sorted(range(n), key=lambda a: -priority[a]).index(a) for a in range(n)]


def compare(case: dict[str, Any]) -> None:
    for format in FORMATS:
        winners, paid = run(format, **case)
        soft = case["soft"] if format in ("second", "gsp") else 0.0
        arguments = (case["bid"].tolist(), case["weight"].tolist(), case["exposure"].tolist(), case["reserve"])
        rank = order_of(case["ties"], len(case["bid"]))
        expected, due = oracle.payments(format, *arguments, soft, rank)
        assert winners == expected
        assert paid == pytest.approx(due, abs=1e-9)
        if format == "vcg" and case["reserve"] == 0:
            assert [paid[a] for a in winners] == pytest.approx([oracle.harm(a, *arguments[:3], rank) for a in winners], abs=1e-9)


def properties(case: dict[str, Any]) -> None:
    """Rule 12: 0 <= price <= bid, own bid does not set the price, monotone allocation, one slot is second price, a lone bidder."""
    bid, exposure, n = case["bid"], case["exposure"], len(case["bid"])
    for format in FORMATS:
        winners, paid = run(format, **case)
        assert (paid >= 0).all() and (paid <= bid * exposure[0] + 1e-12).all()
        assert all(paid[a] <= bid[a] * exposure[j] + 1e-12 for j, a in enumerate(winners))
        for a in range(n):
            raised = {**case, "bid": np.where(np.arange(n) == a, bid * 1.3 + 0.01, bid)}
            after, pays = run(format, **raised)
            place, higher = (winners.index(a) if a in winners else 99), (after.index(a) if a in after else 99)
            assert higher <= place or raised["bid"][a] < case["reserve"]
            if format in ("second", "gsp", "vcg") and higher == place < 99 and case["soft"] == 0:
                assert pays[a] == pytest.approx(paid[a], abs=1e-12)
    single = {**case, "exposure": exposure[:1], "soft": 0.0}
    results = [run(format, **single) for format in ("second", "gsp", "vcg")]
    assert results[0][0] == results[1][0] == results[2][0]
    assert results[0][1] == pytest.approx(results[1][1], abs=1e-12) and results[0][1] == pytest.approx(results[2][1], abs=1e-12)
    lone = {**case, "bid": np.array([0.9]), "weight": case["weight"][:1], "soft": 0.0}
    for format in ("second", "gsp", "vcg"):
        assert run(format, **lone)[1][0] == pytest.approx(case["reserve"] * exposure[0], abs=1e-12)


@given(auctions())
@settings(max_examples=1_500)
def test_mechanisms_equal_their_oracle(case: dict[str, Any]) -> None:
    compare(case)


@given(auctions())
@settings(max_examples=400)
def test_what_always_holds(case: dict[str, Any]) -> None:
    properties(case)


@pytest.mark.slow
@given(auctions())
@settings(max_examples=100_000)
def test_mechanisms_equal_their_oracle_over_100_000_auctions(case: dict[str, Any]) -> None:
    compare(case)


@pytest.mark.slow
@given(auctions())
@settings(max_examples=100_000)
def test_what_always_holds_over_100_000_auctions(case: dict[str, Any]) -> None:
    properties(case)


TEN = np.arange(11.0, 0, -1)
DECAY = 0.7 ** np.arange(10)


@pytest.mark.parametrize(
    ("value", "exposure", "gsp", "vcg", "bids"),
    [
        ([10.0, 4, 2], [200.0, 100], [800, 200], [600, 200], [10, 3, 2]),
        ([10.0, 4, 2], [200.0, 199], [800, 398], [402, 398], None),
    ],
)
def test_positions_of_the_page(value: Any, exposure: Any, gsp: Any, vcg: Any, bids: Any) -> None:
    """Edelman, Ostrovsky and Schwarz 2007: truthful GSP, VCG, and the locally envy-free bids that pay VCG's payments in GSP."""
    v, x = np.array(value), np.array(exposure)
    rest = {"weight": np.ones(3), "exposure": x, "reserve": 0.0, "soft": 0.0, "ties": U(0)}
    assert run("gsp", v, **rest)[1][:2] == pytest.approx(gsp)
    assert run("vcg", v, **rest)[1][:2] == pytest.approx(vcg)
    free = theory.envy_free_bids(v, x)
    assert run("gsp", free, **rest)[1][:2] == pytest.approx(vcg)
    assert theory.vcg_payments(v, x) == pytest.approx(vcg)
    if bids is not None:
        assert free == pytest.approx(bids)


def test_the_top_bidder_gains_by_bidding_below_the_second() -> None:
    """a = (200, 199): 1200 truthful, 1592 below 4."""
    x, rest = np.array([200.0, 199]), {"weight": np.ones(3), "reserve": 0.0, "soft": 0.0, "ties": U(0)}
    for own, gain, place in ((10.0, 1200.0, 0), (3.9, 1592.0, 1)):
        winners, paid = run("gsp", np.array([own, 4, 2]), exposure=x, **rest)
        assert winners.index(0) == place and 10 * x[place] - paid[0] == pytest.approx(gain)


def test_ten_positions_of_the_page() -> None:
    rest = {"weight": np.ones(11), "exposure": DECAY, "reserve": 0.0, "soft": 0.0, "ties": U(0)}
    free = theory.envy_free_bids(TEN, DECAY)
    assert free == pytest.approx([11, 7.7608, 6.8012, 5.8588, 4.9412, 4.0588, 3.2269, 2.4670, 1.81, 1.3, 1], abs=5e-5)
    assert run("gsp", TEN, **rest)[1].sum() == pytest.approx(25.775, abs=5e-4)
    assert run("vcg", TEN, **rest)[1].sum() == pytest.approx(19.159, abs=5e-4)
    assert run("gsp", free, **rest)[1].sum() == pytest.approx(19.159, abs=5e-4)
    assert (TEN[:10] * DECAY).sum() == pytest.approx(29.014, abs=5e-4)


def test_ties_are_broken_uniformly() -> None:
    """Three equal bids, two positions: each order one time in six."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(6_000):
        winners, _ = run("gsp", np.ones(3), np.ones(3), np.array([1.0, 0.5]), 0.0, 0.0, U(bits(U(9), seed)))
        counts[tuple(winners)] = counts.get(tuple(winners), 0) + 1
    assert len(counts) == 6 and max(abs(c - 1000) for c in counts.values()) < 4.5 * np.sqrt(6_000 * 5 / 36)


@pytest.mark.parametrize("soft", [0.0, 0.2, 0.35])
@pytest.mark.parametrize("n", [2, 4])
def test_a_soft_floor_leaves_the_revenue_of_symmetric_bidders_as_it_is(n: int, soft: float) -> None:
    """Zeithammer 2019: bids below the floor are first price's, above it truthful; the revenue is (n-1)/(n+1) whatever the floor."""
    value = np.random.default_rng(1).random((200_000, n))
    bid = theory.soft_floor_bid(n, value, soft)
    high, second = np.sort(bid, 1)[:, -1], np.sort(bid, 1)[:, -2]
    revenue = np.where(high < soft, high, np.maximum(second, soft))
    assert revenue.mean() == pytest.approx(theory.revenue(n), abs=4 * revenue.std() / np.sqrt(len(revenue)))
    for row in range(200):
        paid = run("second", bid[row], np.ones(n), np.ones(1), 0.0, soft, U(row))[1]
        assert paid.sum() == pytest.approx(revenue[row])


def test_nobody_gains_by_leaving_the_soft_floors_equilibrium() -> None:
    """n = 2, floor .2: no bid against the equilibrium's earns more than the equilibrium bid's v^2/2 by more than the grid's step."""
    soft, rival = 0.2, (np.arange(20_000) + 0.5) / 20_000
    other = theory.soft_floor_bid(2, rival, soft)
    for v in (0.1, 0.3, 0.41, 0.7, 1.0):
        gains = [np.mean((other < b) * (v - (b if b < soft else np.maximum(other, soft)))) for b in np.linspace(0.001, 1.2, 600)]
        assert max(gains) <= v * v / 2 + 2e-3


def test_first_price_pacing_equilibrium_of_the_page() -> None:
    """v = (2, 1), B = (.5, 1), one divisible good: multipliers (.5, 1), price 1, split in halves (Conitzer et al. 2022)."""
    found = theory.first_price_pacing(np.array([[2.0], [1.0]]), np.array([0.5, 1.0]))
    assert found.multiplier == pytest.approx([0.5, 1.0], abs=1e-6)
    assert found.price == pytest.approx([1.0], abs=1e-6)
    assert found.share[:, 0] == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_first_price_pacing_equilibria_keep_their_conditions(seed: int) -> None:
    """Conitzer et al. 2022: goods go to the highest paced bids at that price, budgets hold, whoever has money left does not pace."""
    g = np.random.default_rng(seed)
    value, budget = g.random((4, 6)), g.uniform(0.05, 1.0, 4)
    found = theory.first_price_pacing(value, budget)
    bids = found.multiplier[:, None] * value
    spend = (found.share * found.price).sum(1)
    assert found.share.sum(0) == pytest.approx(np.ones(6), abs=1e-9)
    assert found.price == pytest.approx(bids.max(0), rel=1e-3)
    assert (spend <= budget * (1 + 1e-9)).all() and (found.multiplier <= 1 + 1e-9).all()
    assert np.all((found.multiplier > 1 - 1e-3) | (spend > budget * (1 - 1e-3)))
    assert (found.share[bids < found.price * (1 - 1e-2)] < 1e-3).all()
