"""What allocation rules promise, on arbitrary tenants: feasible, efficient, envy-free, strategy-proof, worth sharing for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.resource_allocation import mechanisms, theory

NEAR = 1e-9
Array = np.ndarray[Any, np.dtype[np.float64]]
amounts = st.floats(0.0, 5.0).map(lambda x: round(x, 3))
needs = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 3.7])
single = st.lists(amounts, min_size=1, max_size=7).map(np.array)


@st.composite
def tasks_of(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """(demand [A, R], limit [A], capacity [R]): every tenant needs something, some need not all resources."""
    n, r = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    demand = np.array(draw(st.lists(st.lists(needs, min_size=r, max_size=r), min_size=n, max_size=n)))
    demand[demand.sum(1) == 0, 0] = 1.0
    limit = np.array(draw(st.lists(st.sampled_from([0.3, 1.0, 2.5, 1e6]), min_size=n, max_size=n)))
    return demand, limit, np.array(draw(st.lists(st.sampled_from([1.0, 4.0, 9.0, 18.0]), min_size=r, max_size=r)))


def split(rule: Any, demand: Array, capacity: float) -> Array:
    out = np.zeros(len(demand))
    rule(demand, capacity, out)
    return out


def fair(demand: Array, capacity: float, weight: Array | None = None) -> Array:
    out = np.zeros(len(demand))
    mechanisms.max_min(demand, np.ones(len(demand)) if weight is None else weight, capacity, out)
    return out


def dominant(demand: Array, limit: Array, capacity: Array) -> Array:
    tasks = np.zeros(len(demand))
    mechanisms.dominant_resource_fairness(demand, limit, capacity, np.zeros(len(capacity)), np.zeros(len(demand)), tasks)
    return tasks


def able(bundle: Array, demand: Array, limit: float) -> float:
    """Tasks that a bundle [R] of resources is good for."""
    needed = demand > 0
    return min(limit, float((bundle[needed] / demand[needed]).min()))


def test_water_filling_of_the_textbook() -> None:
    assert fair(np.array([2, 2.6, 4, 5]), 10.0) == pytest.approx([2, 2.6, 2.7, 2.7])
    assert fair(np.array([1.0, 9.0, 9.0]), 10.0, np.array([1.0, 1.0, 2.0])) == pytest.approx([1, 3, 6])


def test_dominant_resources_of_the_paper() -> None:
    tasks = dominant(np.array([[1.0, 4.0], [3.0, 1.0]]), np.array([np.inf, np.inf]), np.array([9.0, 18.0]))
    assert tasks == pytest.approx([3, 2])


@given(single, st.floats(0.1, 12.0), st.integers(0, 6), amounts)
def test_max_min_keeps_its_promises(demand: Array, capacity: float, who: int, lie: float) -> None:
    x, n, who = fair(demand, capacity), len(demand), who % len(demand)
    assert (x >= 0).all() and (x <= demand + NEAR).all()
    assert x.sum() == pytest.approx(min(capacity, demand.sum()))  # efficient
    assert (x >= np.minimum(demand, capacity / n) - NEAR).all()  # worth sharing for
    assert all(x[i] >= min(demand[i], x[j]) - NEAR for i in range(n) for j in range(n))  # no envy
    reported = demand.copy()
    reported[who] = lie
    assert min(demand[who], fair(reported, capacity)[who]) <= x[who] + NEAR  # strategy-proof


@given(single, st.data())
def test_weighted_max_min_has_one_level(demand: Array, data: st.DataObject) -> None:
    weight = np.array(data.draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=len(demand), max_size=len(demand))))
    x = fair(demand, 3.0, weight)
    assert x.sum() == pytest.approx(min(3.0, demand.sum()))
    short = x < demand - NEAR
    if short.any():
        level = x[short] / weight[short]
        assert np.ptp(level) < 1e-9 and (x <= level.max() * weight + NEAR).all()


@given(
    tasks_of(),
    st.integers(0, 4),
    st.lists(st.sampled_from([0.0, 0.1, 0.4, 1.0, 2.0, 5.0]), min_size=4, max_size=4),
    st.sampled_from([0.1, 1.0, 1e6]),
)
def test_dominant_resource_fairness_keeps_its_promises(found: tuple[Array, Array, Array], who: int, lie: list[float], most: float) -> None:
    demand, limit, capacity = found
    n, who = len(demand), who % len(demand)
    tasks = dominant(demand, limit, capacity)
    used = (tasks[:, None] * demand).sum(0)
    assert (tasks >= 0).all() and (tasks <= limit * (1 + NEAR)).all() and (used <= capacity * (1 + NEAR)).all()
    full = used >= capacity * (1 - 1e-9)
    for a in range(n):
        assert tasks[a] >= limit[a] * (1 - 1e-9) or (full & (demand[a] > 0)).any()  # efficient: nobody can have more
        assert tasks[a] >= able(capacity / n, demand[a], limit[a]) * (1 - 1e-9)  # worth sharing for
        for b in range(n):
            assert tasks[a] >= able(tasks[b] * demand[b], demand[a], limit[a]) * (1 - 1e-9)  # no envy
    reported, allowed = demand.copy(), limit.copy()
    reported[who], allowed[who] = np.array(lie)[: demand.shape[1]], most
    if reported[who].sum() > 0:
        gained = dominant(reported, allowed, capacity)[who] * reported[who]
        assert able(gained, demand[who], limit[who]) <= tasks[who] * (1 + 1e-9) + 1e-9  # strategy-proof


@settings(max_examples=50)
@given(tasks_of())
def test_dominant_shares_are_equal_where_all_need_everything(found: tuple[Array, Array, Array]) -> None:
    demand, _, capacity = found
    demand = demand + 0.1
    assert dominant(demand, np.full(len(demand), np.inf), capacity) == pytest.approx(theory.drf_shares(demand, capacity))


@given(single, st.floats(0.1, 12.0), st.integers(0, 6), amounts)
def test_equal_split_is_strategy_proof_and_wastes(demand: Array, capacity: float, who: int, lie: float) -> None:
    x, who = split(mechanisms.equal_split, demand, capacity), who % len(demand)
    assert x.sum() <= capacity * (1 + NEAR) and (x <= demand).all()
    reported = demand.copy()
    reported[who] = lie
    assert min(demand[who], split(mechanisms.equal_split, reported, capacity)[who]) <= x[who] + NEAR
    assert split(mechanisms.equal_split, np.array([1.0, 9.0]), 6.0).sum() == 4.0


@given(single, st.floats(0.1, 12.0))
def test_proportional_is_efficient_and_rewards_a_lie(demand: Array, capacity: float) -> None:
    x = split(mechanisms.proportional, demand, capacity)
    assert x.sum() == pytest.approx(min(capacity, demand.sum())) and (x <= demand + NEAR).all()
    honest, lied = (split(mechanisms.proportional, np.array([y, 4.0]), 6.0)[0] for y in (4.0, 8.0))
    assert (honest, lied) == (3.0, 4.0)


@given(st.lists(st.sampled_from([0.0, 0.2, 1.0, 3.0]), min_size=1, max_size=6).map(np.array))
def test_shares_of_bids(bid: Array) -> None:
    out = np.zeros(len(bid))
    mechanisms.shares_of_bids(bid, out)
    assert out.sum() == pytest.approx(1.0 if bid.sum() > 0 else 0.0)
    assert out * bid.sum() == pytest.approx(bid)
