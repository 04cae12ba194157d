"""Known answers of shared capacity, learned: over five seeds (slow), and that each preset runs at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import algorithms
import envs
from envs.resource_allocation.commons import COMMONS
from experiments import run_folder
from experiments.build import copies_of, run_of
from experiments.compose import compose
from experiments.training import execute
from marl.evaluate import evaluate
from marl.exploit import exploitability

SEEDS = range(5)
NEAR = 0.05
"""Farthest that a learned rent, payoff or bid may lie from the textbook's, as a share of it."""
RESPONSE, GAIN = 61_440, 0.01
"""Environment steps of a best response's training, and the most that it may gain of a truthful payoff."""
TINY = ["n_envs=4", "algorithm.rollout=4", "algorithm.hidden=[8]", "evaluation.episodes=4", "evaluation.every=1000"]
PRESETS = {
    "commons": ["env.preset=steady_five"],
    "bids_for_shares": ["env.preset=bids_five"],
    "misreport": ["env.preset=proportional"],
    "resource_allocation_demo": ["curriculum=none", "env.horizon=20", "algorithm.minibatches=1", "total_episodes=null"],
}


@pytest.fixture(autouse=True)
def fishery(toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The game, not the toy of its name."""
    monkeypatch.setitem(envs.GAMES, "commons", COMMONS)


def trained(experiment: str, path: Path, *overrides: str) -> Any:
    """(setup, run with its last policies) of a finished run."""
    setup = compose([f"experiment={experiment}", f"run_dir='{path}'", *overrides])
    execute(setup, run_folder.create(path, setup.config), quiet=True)
    run = run_of(setup, run_folder.RunFolder(path))
    run.load("last.pt")
    return setup, run


def metric(setup: Any, run: Any, name: str, episodes: int = 2_048) -> Any:
    """A metric [E, L] of the learners."""
    make = copies_of(setup)
    return evaluate(lambda n: make({}, n), run.plan, run.policies, episodes, run.seed).metric(name)


@pytest.mark.parametrize("experiment", PRESETS)
def test_presets_run(experiment: str, tmp_path: Path) -> None:
    setup, run = trained(experiment, tmp_path / "run", *TINY, *PRESETS[experiment], "total_steps=32")
    assert np.isfinite(metric(setup, run, setup.game.metrics and next(iter(setup.game.metrics)), 2)).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("preset", ["steady_two", "steady_five", "steady_ten"])
@pytest.mark.parametrize(("reward", "answer"), [("individual", "nash_rent"), ("team_sum", "optimal_rent")])
def test_users_of_a_commons_learn_the_textbooks_rent(reward: str, answer: str, preset: str, seed: int, tmp_path: Path) -> None:
    setup, run = trained("commons", tmp_path / "run", f"env.preset={preset}", f"reward={reward}", f"seed={seed}")
    rent = float(metric(setup, run, "rent").mean())
    known = setup.game.known(setup.params)[answer]
    print(f"commons {preset} {reward} seed {seed}: rent {rent:.4f}, {answer} {known:.4f}, {rent / known - 1:+.2%}")
    assert rent == pytest.approx(known, rel=NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("preset", ["bids_two", "bids_five", "bids_ten"])
def test_bidders_for_shares_learn_the_nash_bid(preset: str, seed: int, tmp_path: Path) -> None:
    setup, run = trained("bids_for_shares", tmp_path / "run", f"env.preset={preset}", f"seed={seed}")
    bid, known = float(metric(setup, run, "action").mean()), setup.game.known(setup.params)["action"]
    print(f"bids {preset} seed {seed}: bid {bid:.4f}, Nash {known:.4f}, {bid / known - 1:+.2%}")
    assert bid == pytest.approx(known, rel=NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("preset", "pays"), [("dominant", False), ("proportional", True)])
def test_a_best_response_to_the_truth_gains_by_lies_where_they_pay(preset: str, pays: bool, seed: int, tmp_path: Path) -> None:
    """One learner among truthful tenants, after `exploitability`: what it gains over the truth on the same draws."""
    setup = compose(["experiment=misreport", f"env.preset={preset}", f"seed={seed}", "opponents=null", "sharing=group"])
    run = run_of(setup, run_folder.RunFolder(tmp_path))
    truthful = {name: scripted(setup) for name in run.plan}
    gain = exploitability(
        copies_of(setup), algorithms.load("ippo"), setup.settings, run.plan, truthful, "tenant",
        steps=RESPONSE, n_envs=64, episodes=2_048, seed=seed,
    )  # fmt: skip
    low, mean, high = (x / gain.present for x in (gain.low, gain.mean, gain.high))
    print(f"misreport {preset} seed {seed}: gain {mean:+.2%} [{low:+.2%}, {high:+.2%}]")
    assert (low > GAIN) if pays else (mean < GAIN)


def scripted(setup: Any) -> Any:
    """The policy that says the truth."""
    from marl.team import ScriptedPolicy

    return ScriptedPolicy(setup.game.baselines["truthful"], setup.params)
