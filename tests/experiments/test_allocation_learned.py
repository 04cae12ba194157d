"""Known answers of shared capacity: the rows ask for what theory says, presets are their recipes, and (slow) five seeds learn them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import published, run_folder
from experiments.allocation_page import FILES
from experiments.build import copies_of, run_of
from experiments.compose import compose
from experiments.reproduction import reproduce
from experiments.training import execute
from marl.errors import UserError
from marl.evaluate import evaluate, seed_of

NEAR = 0.05
"""Farthest that a learned rent or bid may lie from the textbook's, as a share of it."""
GAIN = 0.01
"""Most that a best response to the truth may gain where nothing beats the truth."""
ROWS = {row.name: row for file in FILES for row in published.read(published.ROWS / file)}
ANSWERS = {"nash": {"commons": "nash_rent", "bids": "action"}, "optimum": {"commons": "optimal_rent"}}
TINY = ["n_envs=4", "algorithm.rollout=4", "algorithm.hidden=[8]", "evaluation.episodes=4", "evaluation.every=1000"]
PRESETS = {
    "commons": ["env.preset=steady_five"],
    "bids_for_shares": ["env.preset=bids_five"],
    "misreport": ["env.preset=proportional"],
    "allocation_log": ["env.n_agents=3", "env.horizon=20", "env.mechanism=arbiter"],
}


@pytest.fixture(autouse=True)
def fishery(toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The game, not the toy of its name."""


@pytest.mark.parametrize("experiment", PRESETS)
def test_presets_run(experiment: str, tmp_path: Path) -> None:
    setup = compose([f"experiment={experiment}", f"run_dir='{tmp_path / 'run'}'", *TINY, *PRESETS[experiment], "total_steps=32"])
    execute(setup, run_folder.create(tmp_path / "run", setup.config), quiet=True)
    run, make = run_of(setup, run_folder.RunFolder(tmp_path / "run")), copies_of(setup)
    run.load("last.pt")
    assert np.isfinite(evaluate(lambda n: make({}, n), run.plan, run.policies, 2, run.seed).metrics).all()


def test_the_demo_is_the_one_that_is_documented() -> None:
    config = compose(["experiment=resource_allocation_demo"]).config
    own = config["algorithm"]
    assert (config["env"]["name"], config["env"]["n_agents"], config["curriculum"]["name"]) == ("cluster", 8, "resource_allocation")
    assert (own["name"], own["hidden"], own["lr"], own["epochs"], own["clip"]) == ("ippo", [256, 256], 3e-4, 4, 0.2)
    assert (own["entropy"], own["value"], config["total_episodes"]) == (0.01, 0.5, 2_500)
    assert own["rollout"] * config["n_envs"] * config["env"]["n_agents"] / own["minibatches"] == 256  # rows of a batch


@pytest.mark.parametrize("name", [name for name in ROWS if "misreport" not in name])
def test_rows_ask_for_what_theory_says(name: str) -> None:
    row = ROWS[name]
    setup = row.setup(0, Path("runs/x"))
    assert setup.game is not None and setup.game.known is not None
    game, _, answer = name.split("-")
    known = setup.game.known(setup.params)[ANSWERS[answer][game]]
    assert row.published.value == pytest.approx(known, abs=5e-5)
    assert row.passes.at_least == pytest.approx((1 - NEAR) * known, rel=1e-5) and row.passes.share == 1.0
    if answer == "nash":
        assert row.passes.at_most == pytest.approx((1 + NEAR) * known, rel=1e-5)


def test_rows_of_lies_ask_for_the_theorem() -> None:
    assert (ROWS["misreport-dominant"].passes.at_most, ROWS["misreport-proportional"].passes.at_least) == (GAIN, GAIN)


@pytest.mark.parametrize(
    ("row", "experiment", "preset"),
    [
        ("commons-five-nash", "commons", "steady_five"),
        ("bids-two-nash", "bids_for_shares", "bids_two"),
        ("misreport-dominant", "misreport", "dominant"),
    ],
)
def test_a_preset_is_its_rows_recipe(row: str, experiment: str, preset: str) -> None:
    def shown(config: Any) -> Any:
        return {key: config[key] for key in ("env", "algorithm", "n_envs", "total_steps", "sharing", "opponents", "reward")}

    assert shown(compose([f"experiment={experiment}", f"env.preset={preset}"]).config) == shown(ROWS[row].setup(0, Path("runs/x")).config)


def test_what_a_response_gains_is_paired_with_what_stands_in_its_seat(tmp_path: Path) -> None:
    """A run that learned nothing at all: the gain by hand, and refused where nobody stands there."""
    small = {"name": "tiny", "steps": 32, "episodes": 64, "passes": {"of": "mean", "at_least": -9.0}}
    quick = {"algorithm": {"hidden": [8]}, "run": {"n_envs": 4, "evaluation": {"episodes": 4}}}
    tiny = published.make(published.merged({**ROWS["misreport-proportional"].__dict__, **small}, quick), "tiny")
    found = reproduce(tiny, seeds=1, jobs=0, root=tmp_path)
    setup = tiny.setup(0, tmp_path / "tiny" / "seed-0")
    run, make = run_of(setup, run_folder.RunFolder(tmp_path / "tiny" / "seed-0")), copies_of(setup)
    run.load("last.pt")
    own = evaluate(lambda n: make({}, n), run.plan, run.policies, 64, seed_of(run.seed, "published")).returns[:, 0]
    truth = make({}, 64)
    truth.reset(seed_of(seed_of(run.seed, "published")))
    truth.step(np.ones(truth.action.shape))
    assert found.mean == pytest.approx(own.mean() / truth.reward[:, 0].mean() - 1, abs=1e-6)
    with pytest.raises(UserError, match="measure = 'gain': legal are return_sum, return_mean, payoff"):
        published.make({**tiny.__dict__, "run": {}}, "tiny").check()


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_known_answers_are_learned(name: str, tmp_path: Path) -> None:
    """Five seeds each, as `marl reproduce` runs them."""
    found = reproduce(name, jobs=0, root=tmp_path)
    print(f"{name}: {[round(x, 4) for x in found.values]}, asked {found.row.passes.words()}, textbook {found.row.published.value}")
    assert found.passed, found.missed
