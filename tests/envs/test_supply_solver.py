"""Plans of the supply chain by one model that is written once, against `scipy.optimize.linprog`; levels that are searched once."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize  # noqa: F401
from scipy.sparse import coo_array

import envs
from envs.supply_chain import baselines, tuning
from envs.supply_chain.planning import programme
from envs.supply_chain.solver import Solver
from marl import cache


def test_plans_are_those_of_linprog_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders of some ticks of two networks, and programmes without a solution."""
    orders = {}
    for way in ("solve", "plain"):
        monkeypatch.setattr(Solver, "solve", getattr(Solver, way))
        for nodes in (4, 6):
            copies = envs.make("supply_chain", 2, n_agents=nodes)
            copies.reset(0)
            found = []
            for _ in range(6):
                obs = np.ascontiguousarray(copies.groups["node"].obs).reshape(-1, copies.groups["node"].group.width)
                found.append(baselines.mpc(copies.params, obs, np.random.default_rng(0)))  # type: ignore[arg-type]
                copies.step(found[-1].reshape(copies.action.shape))
            orders[way, nodes] = np.array(found)
        drawn = np.random.default_rng(0).normal(20.0, 30.0, (20, programme(copies.params).matrix.shape[0]))  # type: ignore[arg-type]
        orders[way, 0] = np.array([x is not None for x in map(programme(copies.params).solver.solve, drawn)])  # type: ignore[arg-type]
    for case in (4, 6, 0):
        np.testing.assert_array_equal(orders["solve", case], orders["plain", case])
    assert 0 < orders["solve", 0].sum() < 20 and np.abs(orders["solve", 6]).sum() > 0


def test_plans_where_scipy_has_its_solver_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize._highspy", None)
    solver = Solver(np.ones(2), coo_array(np.array([[1.0, 2.0]])))
    assert solver._highs is None
    assert solver.solve(np.array([4.0])) == pytest.approx([0.0, 2.0])


def test_levels_are_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over processes, which have no memory of one another but the cache; other parameters, and a damaged file, are searched anew."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    searched: list[str] = []
    by_level = tuning.by_level
    monkeypatch.setattr(tuning, "by_level", lambda p, act, values: searched.append(act.__name__) or by_level(p, act, values))
    params = envs.make("supply_chain", topology="serial", n_agents=2, products=1, horizon=20).params

    def asked(p: object) -> list[float]:
        baselines.local_levels.cache_clear()  # as in another process
        return list(baselines.local_levels(p).ravel())  # type: ignore[arg-type]

    first = asked(params)
    assert asked(params) == first and searched == ["_levels_of_rows"]
    asked(replace(params, penalty="40"))  # type: ignore[type-var]
    assert len(searched) == 2
    for file in tmp_path.rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    assert asked(params) == first and len(searched) == 3
    assert asked(params) == first and len(searched) == 3
    baselines.local_levels.cache_clear()
