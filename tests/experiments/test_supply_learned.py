"""Known answers of the supply chain, learned: over five seeds (slow), and that each preset runs at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.supply_chain import theory
from experiments import run_folder
from experiments.build import copies_of, run_of
from experiments.compose import compose
from experiments.training import execute
from marl.evaluate import evaluate
from marl.team import parts, scripted

SEEDS = range(5)
TINY = ["n_envs=4", "algorithm.hidden=[8]", "evaluation.episodes=4", "evaluation.every=1000"]
ROLLED = [*TINY, "algorithm.rollout=4"]
PRESETS = {
    "newsvendor": ROLLED,
    "rationing": ROLLED,
    "lost_sales": [*ROLLED, "env.horizon=8", "env.warm_up=2"],
    "base_stock": [*ROLLED, "env.horizon=8", "env.warm_up=2"],
    "clark_scarf": [*ROLLED, "env.horizon=8", "env.warm_up=2"],
    **{name: [*ROLLED, "env.horizon=8"] for name in ("beer_game", "beer_normal", "beer_step")},
    "beer_game_values": [*TINY, "env.horizon=8", "algorithm.warm_up=16", "algorithm.batch=8"],
    "supply_chain_log": [*ROLLED, "env.horizon=20"],
}

BEER = {
    "beer_uniform_2": ["beer_game", "env.preset=beer_uniform_2"],
    "beer_uniform_8": ["beer_game"],
    "beer_normal": ["beer_normal"],
    "beer_step": ["beer_step"],
}
"""The experiment of each setting of the literature."""


def trained(experiment: str, path: Path, *overrides: str) -> Any:
    """(setup, run with its last policies) of a finished run: what looked best owes some of it to the episodes looked at."""
    setup = compose([f"experiment={experiment}", f"run_dir='{path}'", *overrides])
    execute(setup, run_folder.create(path, setup.config), quiet=True)
    run = run_of(setup, run_folder.RunFolder(path))
    run.load("last.pt")
    return setup, run


def metric(setup: Any, run: Any, name: str, episodes: int = 2_048) -> Any:
    """A metric [E, L] of the learners, on episodes that training has not seen."""
    make = copies_of(setup)
    return evaluate(lambda n: make({}, n), run.plan, run.policies, episodes, run.seed + 1_000).metric(name)


def of_baseline(setup: Any, run: Any, baseline: str, name: str, episodes: int = 2_048) -> Any:
    """The same metric where everybody plays a baseline, in the same episodes."""
    make = copies_of(setup)
    copies = make({}, 1)
    plan = parts(copies, "group")
    policies = {key: scripted(copies, part, baseline, 0) for key, part in plan.items()}
    return evaluate(lambda n: make({}, n), plan, policies, episodes, run.seed + 1_000).metric(name)


@pytest.mark.parametrize("experiment", PRESETS)
def test_presets_run(experiment: str, tmp_path: Path) -> None:
    setup, run = trained(experiment, tmp_path / "run", *PRESETS[experiment], "total_steps=32")
    assert np.isfinite(metric(setup, run, "cost", 2)).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_newsvendor_learns_the_critical_fractile(seed: int, tmp_path: Path) -> None:
    """Within 1 % of the optimal cost: the exact expected cost of the learned order, which needs no simulation."""
    setup, run = trained("newsvendor", tmp_path / "run", f"seed={seed}")
    order = float(metric(setup, run, "orders", 64).mean())
    known = setup.game.known(setup.params)
    cost = 0.18 * (order - 50) + 0.88 * float(theory.short_of(np.array([order]), 50, 8)[0])
    print(f"newsvendor seed {seed}: order {order:.2f} (known {known['level']:.2f}), cost {cost:.4f} (known {known['cost']:.4f})")
    assert cost <= 1.01 * known["cost"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("preset", ["lost_sales_1", "lost_sales_2", "base_stock"])
def test_one_node_with_a_lead_time_is_learned_to_three_percent(preset: str, seed: int, tmp_path: Path) -> None:
    setup, run = trained("base_stock" if preset == "base_stock" else "lost_sales", tmp_path / "run", f"env.preset={preset}", f"seed={seed}")
    cost, known = float(metric(setup, run, "cost").mean()), setup.game.known(setup.params)["cost"]
    print(f"{preset} seed {seed}: cost {cost:.4f}, optimum {known:.4f}, {cost / known - 1:+.2%}")
    assert cost <= 1.03 * known


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_three_stages_learn_the_optimum_of_clark_and_scarf(seed: int, tmp_path: Path) -> None:
    setup, run = trained("clark_scarf", tmp_path / "run", f"seed={seed}")
    cost, known = float(metric(setup, run, "network_cost").mean()), setup.game.known(setup.params)["network_cost"]
    print(f"Clark and Scarf seed {seed}: cost {cost:.3f}, optimum {known:.3f}, {cost / known - 1:+.2%}")
    assert cost <= 1.03 * known


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("preset", BEER)
def test_beer_games_are_learned_to_five_percent_of_the_levels(preset: str, seed: int, tmp_path: Path) -> None:
    experiment, *overrides = BEER[preset]
    setup, run = trained(experiment, tmp_path / "run", f"seed={seed}", *overrides)
    cost, levels = (float(x.mean()) for x in (metric(setup, run, "network_cost"), of_baseline(setup, run, "base_stock", "network_cost")))
    print(f"{preset} seed {seed}: cost {cost:.3f}, order-up-to levels {levels:.3f}, {cost / levels - 1:+.2%}")
    assert cost <= 1.05 * levels


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_beer_game_is_learned_by_values_of_a_grid(seed: int, tmp_path: Path) -> None:
    setup, run = trained("beer_game_values", tmp_path / "run", f"seed={seed}")
    cost, levels = (float(x.mean()) for x in (metric(setup, run, "network_cost"), of_baseline(setup, run, "base_stock", "network_cost")))
    print(f"beer_normal by values, seed {seed}: cost {cost:.3f}, order-up-to levels {levels:.3f}, {cost / levels - 1:+.2%}")
    assert cost <= 1.10 * levels


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_competing_retailers_learn_the_equilibrium_of_rationing(seed: int, tmp_path: Path) -> None:
    """Orders agree with the numerical best-response equilibrium: they are inflated beyond the newsvendor's."""
    setup, run = trained("rationing", tmp_path / "run", f"seed={seed}")
    order, known = float(metric(setup, run, "orders", 64).mean()), setup.game.known(setup.params)
    print(f"rationing seed {seed}: order {order:.3f}, equilibrium {known['orders']:.3f}, without rivals {known['newsvendor']:.3f}")
    assert order == pytest.approx(known["orders"], rel=0.03) and order > known["newsvendor"]
