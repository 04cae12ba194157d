"""Draws by given uniform numbers: their frequencies are the distribution's, and every algorithm has one or says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import algorithms
from algorithms import ALGORITHMS
from algorithms.quantiles import choice, normal
from marl.assemble import make_learner
from marl.game import Discrete
from marl.opinion import opinion_of
from marl.sample import draws, reasons
from marl.team import seen
from tests.lanes import SMALL, TABLES, paid, part_of, rows_of

GRID = (torch.arange(20_000, dtype=torch.float32) + 0.5) / 20_000
"""Uniform numbers one after another: a frequency over them is a probability to a twenty-thousandth."""
DRAWING = {"ippo", "ippo_lagrangian", "ia2c", "reinforce", "mappo", "isac", "hybrid"}
GREEDY = {"idqn", "rainbow", "vdn", "qmix"}


def made(name: str, table: str, masked: bool = False, **given: Any) -> Any:
    """(policy of that algorithm with parameters of some size, its part)."""
    torch.manual_seed(3)
    part = part_of(table, masked)
    part = type(part)(**{**part.__dict__, "reward": paid(name), "state_width": 4, "costs": ("harm",)})
    policy = make_learner(algorithms.load(name), algorithms.settings_of(name)(**{**SMALL[name], **given}), part, 10).policy
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(0.5 * torch.randn_like(p))
    policy.is_within_training_step = False
    return policy.eval(), part


def units(policy: Any, rows: torch.Tensor, u: torch.Tensor) -> Any:
    """Actions in units of one row [1, width], drawn by each of u [N, U]."""
    with torch.no_grad():
        here = rows.expand(len(u), -1)
        state = policy.initial(len(u)) if policy.state_width else None
        out = policy(seen(here)) if state is None else policy(seen(here), state)
        return policy.map_action(policy.drawn(here, out, u))


def spread(columns: int) -> torch.Tensor:
    """[N, U]: every column runs over the grid in an order of its own."""
    shuffled = torch.Generator().manual_seed(1)
    return torch.stack([GRID[torch.randperm(len(GRID), generator=shuffled)] for _ in range(columns)], 1)


def test_choices_have_their_probabilities() -> None:
    p = torch.tensor([0.2, 0.0, 0.5, 0.3, 0.0])
    for weights in (p, 7.0 * p):
        counts = torch.bincount(choice(weights.expand(len(GRID), -1), GRID), minlength=5)
        assert counts.tolist() == [4_000, 0, 10_000, 6_000, 0]
    edges = torch.tensor([2.0**-24, 0.2, 1.0 - 2.0**-24])
    assert choice(p.expand(3, -1), edges).tolist() == [0, 2, 3]


def test_normals_are_scipys() -> None:
    found = normal(torch.tensor(1.5), torch.tensor(0.7), GRID)
    assert found.numpy() == pytest.approx(scipy.stats.norm.ppf(GRID.double(), 1.5, np.exp(0.7)), abs=2e-4)


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("name", "table"),
    [("ippo", "hybrid"), ("ippo", "choice"), ("ippo", "discrete"), ("mappo", "discrete"), ("isac", "choice"), ("isac", "hybrid"),
     ("reinforce", "choice"), ("maddpg", "hybrid"), ("matd3", "discrete")],
)  # fmt: skip
def test_what_is_drawn_is_the_distribution(name: str, table: str, masked: bool, memory: str) -> None:
    """Frequencies of choices are the probabilities that the policy tells of; the middle of a continuous column is its mode."""
    if memory == "gru" and name not in ("ippo", "mappo", "reinforce"):
        pytest.skip("without memory")
    policy, part = made(name, table, masked, **({"memory": memory} if memory == "gru" else {}))
    row = rows_of(part, 1, seed=5)
    told, _ = opinion_of(policy, row, 1.0, policy.initial(1) if policy.state_width else None)
    assert told.chances is not None
    found, discrete = units(policy, row, spread(len(TABLES[table]))), 0
    for u, column in enumerate(TABLES[table].values()):
        if isinstance(column, Discrete):
            shares = np.bincount(found[:, u].astype(int), minlength=column.k) / len(found)
            assert shares == pytest.approx(told.chances[discrete][0], abs=2e-4)
            assert (shares[told.chances[discrete][0] == 0.0] == 0.0).all()
            discrete += 1
        else:
            assert np.median(found[:, u]) == pytest.approx(told.action[0, u], rel=2e-3)
            assert (np.ptp(found[:, u]) > 0.0) == (name != "maddpg")  # whose continuous columns are what they are


@pytest.mark.parametrize("name", ["ippo", "isac"])
def test_draws_outside_training_are_those_of_training(name: str) -> None:
    """The distribution that a policy explores with is the one that it learned: both samples by Kolmogorov and Smirnov's test."""
    policy, part = made(name, "line")
    row = rows_of(part, 1)
    policy.is_within_training_step = True
    with torch.no_grad():
        explored = policy.map_action(policy(seen(row.expand(4_000, -1))).act)[:, 0]
    policy.is_within_training_step = False
    assert scipy.stats.ks_2samp(explored, units(policy, row, GRID[::5, None])[:, 0]).pvalue > 0.01


def test_a_hybrid_draws_its_policy_and_bids_the_best_level_beside_it() -> None:
    policy, part = made("hybrid", "hybrid", column="b")
    row = rows_of(part, 1)
    found = units(policy, row, spread(4))
    with torch.no_grad():
        chances = [l.exp()[0].numpy() for l in policy(seen(row)).dist.log_probs]
        for act in np.unique(found[:, [0, 2]], axis=0):
            same = (found[:, [0, 2]] == act).all(1)
            raw = torch.zeros(int(same.sum()), 3)
            raw[:, 0], raw[:, 1] = act[0], act[1]
            raw[:, 2] = torch.from_numpy((found[same, 3] - 4.0) / 2.0)
            best = policy.values(row.expand(len(raw), -1), raw).argmax(1)
            inside = np.abs(raw[:, 2].numpy()) < 1.0  # what is clipped into the column was valued where it was drawn
            assert found[same, 1][inside] == pytest.approx(policy.bid.levels[best.numpy()][inside])
    for u, p in zip((0, 2), chances, strict=True):
        assert np.bincount(found[:, u].astype(int), minlength=len(p)) / len(found) == pytest.approx(p, abs=2e-4)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_draws_or_says_why_not(name: str, table: str) -> None:
    part = part_of(table)
    try:
        algorithms.check_serves(name, "all", part.group.action, None)
    except algorithms.UserError:
        return
    policy, _ = made(name, table, **({"column": "b"} if name == "hybrid" else {}))
    chooses = any(isinstance(c, Discrete) for c in TABLES[table].values())
    assert draws(policy) == (name in DRAWING or (name in ("maddpg", "matd3") and chooses))
    told = reasons({"all": policy})
    assert told == ({} if draws(policy) else {"all": policy.certain})
    if not draws(policy):
        assert ("value" in policy.certain) == (name in GREEDY)
        assert ("actor" in policy.certain) == (name not in GREEDY)
