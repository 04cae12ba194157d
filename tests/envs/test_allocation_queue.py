"""M/M/c: the cluster's arrivals by events against Erlang C, within 4.5 standard errors over independent copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.resource_allocation import theory

FAST = [(1, 0.8, 256, 4_000, 1_000), (2, 1.6, 256, 4_000, 1_000), (4, 3.2, 256, 4_000, 1_000)]
LONG = [(1, 0.8, 512, 20_000, 2_000), (2, 1.6, 512, 20_000, 2_000), (4, 3.2, 512, 20_000, 2_000), (10, 8.0, 512, 20_000, 4_000),
        (100, 80.0, 256, 40_000, 10_000), (100, 95.0, 256, 60_000, 20_000)]  # fmt: skip


def simulated(servers: int, load: float, copies: int, ticks: int, warm_up: int) -> dict[str, Any]:
    """Metrics [B] of one episode of copies that begin empty and count after the warm-up; `Wq` in units of the mean service."""
    game = envs.make(
        "cluster", copies, preset="mm1", nodes=f"1 {servers}", load=load / servers, horizon=ticks, warm_up=warm_up, queue_limit=4096
    )
    game.reset(servers)
    game.action[:] = 0.0
    game.action[:, :, 0] = 1.0
    for _ in range(ticks):
        game.tick()
    found = {name: game.metrics[:, 0, i].copy() for i, name in enumerate(game.metric_names)}
    assert not game.residual.any()
    known = game.game.known(game.params)  # type: ignore[misc]
    assert known["delayed"] == theory.erlang_c(servers, load)
    return found | {"Wq": found["queue"] / load, "known wait": np.array(known["wait"])}


def agrees(sample: Any, expected: float, name: str) -> str:
    error = float(sample.std(ddof=1) / np.sqrt(len(sample)))
    assert abs(sample.mean() - expected) <= 4.5 * error, (name, sample.mean(), expected, error)
    assert error < 0.1 * expected + 1e-4
    return f"{name} {sample.mean():.5f} +- {error:.5f} (theory {expected:.5f})"


@pytest.mark.parametrize(("servers", "load", "copies", "ticks", "warm_up"), FAST)
def test_erlang_c(servers: int, load: float, copies: int, ticks: int, warm_up: int) -> None:
    check(servers, load, copies, ticks, warm_up)


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "load", "copies", "ticks", "warm_up"), LONG)
def test_erlang_c_at_the_six_points(servers: int, load: float, copies: int, ticks: int, warm_up: int) -> None:
    check(servers, load, copies, ticks, warm_up)


def check(servers: int, load: float, copies: int, ticks: int, warm_up: int) -> None:
    found = simulated(servers, load, copies, ticks, warm_up)
    said = [
        agrees(found["delayed"], theory.erlang_c(servers, load), "C"),
        agrees(found["Wq"], theory.mmc_wait(servers, load), "Wq"),
        agrees(found["wait"], float(found["known wait"]), "wait in ticks"),
        agrees(found["utilisation"], load / servers, "utilisation"),
    ]
    print(f"M/M/{servers} at {load:g}: " + ", ".join(said))
