"""`evaluation.sample`, `--sample` and `policy.act(..., sample=True)`: as a user asks for draws, and what is printed of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import experiments
from experiments import run_folder
from experiments.compose import compose
from experiments.replay import replay
from experiments.run_folder import RunFolder
from experiments.training import execute
from marl import checkpoint
from marl.schedule import Progress
from marl.track import read_metrics
from tests.experiments.conftest import Marl

RPS = [
    "env=rock_paper_scissors", "n_envs=4", "total_steps=300", "evaluation.every=100", "evaluation.episodes=8",
    "algorithm.hidden=[8]", "seed=2",
]  # fmt: skip
ON_POLICY = [*RPS, "algorithm=ippo", "algorithm.rollout=25"]


def report(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "evaluation.json").read_text())
    return found


@pytest.fixture
def a_run(marl: Marl, tmp_path: Path) -> Path:
    path = tmp_path / "run"
    assert marl("train", *ON_POLICY, f"run_dir={path}").code == 0
    return path


def test_a_run_that_draws_in_its_evaluations_learns_the_same(a_run: Path, marl: Marl, tmp_path: Path) -> None:
    """Evaluations and the report differ, nothing else does: rows of training, parameters, generators."""
    drawn = tmp_path / "drawn"
    said = marl("train", *ON_POLICY, "evaluation.sample=true", f"run_dir={drawn}")
    assert said.code == 0 and "policies drew from their distributions" in said.out
    one, two = (read_metrics(RunFolder(path).metrics) for path in (a_run, drawn))
    plain = [[{k: v for k, v in row.items() if not k.startswith("evaluation/")} for row in rows] for rows in (one, two)]
    assert plain[0] == plain[1]
    shares = [[row["evaluation/share_0"] for row in rows if "evaluation/share_0" in row] for rows in (one, two)]
    assert all(x in (0.0, 0.5, 1.0) for x in shares[0])
    assert all(0.1 < x < 0.6 for x in shares[1])
    saved = [checkpoint.load(RunFolder(path).last) for path in (a_run, drawn)]
    for key in ("team", "random", "collector"):
        assert str(saved[0][key]) == str(saved[1][key])
    assert (report(a_run)["sample"], report(drawn)["sample"]) == (False, True)


def test_a_run_that_draws_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.steps >= 200:
            raise Stop

    paths = [tmp_path / name for name in ("whole", "broken")]
    for path in paths:
        setup = compose([*ON_POLICY, "evaluation.sample=true", f"run_dir='{path}'"])
        folder = run_folder.create(path, setup.config)
        if path.name == "whole":
            execute(setup, folder, quiet=True)
        else:
            with pytest.raises(Stop):
                execute(setup, folder, quiet=True, told=stop)
            experiments.resume(path)
    assert RunFolder(paths[0]).metrics.read_bytes() == RunFolder(paths[1]).metrics.read_bytes()
    assert report(paths[0]) == report(paths[1])


def test_an_evaluation_draws_on_demand_and_repeats(a_run: Path, marl: Marl) -> None:
    said = [marl("evaluate", str(a_run), "--episodes", "16", *how) for how in ([], ["--sample"], ["--sample"], ["--no-sample"])]
    assert [s.code for s in said] == [0] * 4
    assert said[0].out == said[3].out != said[1].out == said[2].out
    assert "policies drew from their distributions" in said[1].out and "drew" not in said[0].out
    found = experiments.evaluate(a_run, 16, sample=True)
    assert (found["sample"], found["certain"], found) == (True, {}, report(a_run))
    assert 0.1 < found["metrics"]["share_0"] < 0.6


def test_a_replay_is_the_episode_that_was_evaluated(a_run: Path, marl: Marl, tmp_path: Path) -> None:
    shares = [replay(a_run, episode=k, sample=True).metric("share_0").mean() for k in range(4)]
    assert np.mean(shares) == pytest.approx(experiments.evaluate(a_run, 4, sample=True)["metrics"]["share_0"])
    assert len(np.unique(replay(a_run, episode=1).did("choice"))) <= 2 < len(np.unique(replay(a_run, episode=1, sample=True).did("choice")))
    said = marl("replay", str(a_run), "--episode", "1", "--sample", "-o", str(tmp_path / "page.png"))
    assert said.code == 0 and "last checkpoint, step" in said.out and ", drawn, episode 1: 25 ticks" in said.out


def test_what_is_handed_back_acts_and_draws() -> None:
    result = experiments.train("rock_paper_scissors", "ippo", total_steps=50, n_envs=2, **{"evaluation.episodes": 2})
    obs = np.ones((500, 2, 1), np.float32)
    assert len(np.unique(result.policy.act(obs)[:, 0])) == 1
    assert np.bincount(result.policy.act(obs, sample=True)[:, 0, 0].astype(int)).min() > 100
    assert set(result.policy.act({"player_0": [1.0]}, sample=True)) == {"player_0"}


def test_exploitability_of_what_was_learned_and_of_its_mode(a_run: Path, marl: Marl) -> None:
    """Nearly equal shares: their mode loses nearly every tick to its best response, they themselves hardly anything."""
    said = marl("evaluate", str(a_run), "--episodes", "64", "--best-response", "2000")
    assert said.code == 0
    drawn, mode = (report(a_run)["exploitability"]["player"][way] for way in ("drawn", "mode"))
    assert mode["mean"] > 20.0
    assert drawn["mean"] < 5.0
    assert (drawn["players"], mode["players"], drawn["sample"], mode["sample"]) == (2, 2, True, False)
    assert "a best response of player to policies as they draw gains at least" in said.out
    assert "a best response of player to policies at their mode gains at least" in said.out


def test_values_have_no_distribution_and_say_so(marl: Marl, tmp_path: Path) -> None:
    run = tmp_path / "run"
    marl("train", *RPS, "algorithm=idqn", "algorithm.warm_up=50", f"run_dir={run}")
    said = [marl("evaluate", str(run), "--episodes", "4", *how) for how in ([], ["--sample"])]
    assert "player acted at its mode: it takes the choice of the highest value, others only to explore" in said[1].out
    assert said[1].out.startswith(said[0].out.rstrip())
    marl("evaluate", str(run), "--episodes", "4", "--best-response", "100")
    gains = report(run)["exploitability"]["player"]
    assert gains["drawn"] == gains["mode"]


def test_an_ensemble_does_not_draw(a_run: Path, marl: Marl) -> None:
    said = marl("evaluate", str(a_run), str(a_run), "--ensemble", "vote", "--sample", "--episodes", "4")
    assert said.refusal == "--sample: an ensemble combines what its members do to one action, there is nothing to draw from"
