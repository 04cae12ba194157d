"""Evaluations of a foreign environment take a quarter of its run's steps, or what is given, and are said before the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import experiments
from experiments.compose import compose
from experiments.foresight import SHARE, longest, plan, taken
from experiments.run_folder import RunFolder
from marl.external import vectorize
from marl.track import read_metrics
from tests.experiments.conftest import Marl
from tests.foreign import Closed, Endless, Lanes

STEPS = {"number": 0}


class Counted(Lanes):
    """Counts the steps of all of its kind."""

    horizon = 10

    def step(self, actions: dict[str, Any]) -> Any:
        STEPS["number"] += 1
        return super().step(actions)


SMALL = {"n_envs": 4, "algorithm.rollout": 25, "algorithm.hidden": [8], "algorithm.epochs": 1}


def train(folder: Path, factory: str, total: int, **given: Any) -> Any:
    return experiments.train("pettingzoo", "ippo", total_steps=total, run_dir=folder, **{"env.factory": factory, **SMALL, **given})


@pytest.mark.parametrize(("total", "length"), [(1_000_000, 25), (61_440, 25), (5_000, 100), (5_000, 25), (200_000, 500)])
def test_a_plan_takes_a_quarter_of_the_run(total: int, length: int) -> None:
    episodes, every = plan(total, length)
    assert episodes >= 2 and SHARE * taken(total, episodes, every) * length <= total


def test_plans_by_hand() -> None:
    """24 evaluations of 32 episodes of 25 ticks are 19,200 steps, a quarter of 76,800."""
    assert plan(76_800, 25) == (32, 3_840)
    assert plan(76_799, 25) == (16, 3_839)
    assert plan(5_000, 100) == (2, 2_500), "six of two episodes are 1,200 of 1,250 steps"
    assert plan(5_000, 500) == (2, 5_000), "an interval needs two episodes: five of two, as many steps as the run"
    assert plan(5_000, 500, episodes=8) == (8, 5_000) and plan(5_000, 500, every=100) == (2, 100)
    assert plan(5_000, 500, 8, 100) == (8, 100), "what is given counts"
    assert plan(9, 1) == (2, 9)


def test_a_run_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    STEPS["number"] = 0
    result = train(tmp_path / "run", f"{__name__}:Counted", 2_000)
    config = RunFolder(tmp_path / "run").read_config()
    assert config["evaluation"] | {"episodes": 4, "every": 400} == config["evaluation"] and config["checkpoint"]["every"] == 100
    assert config["env"]["longest"] == 1_000
    assert 2_000 <= STEPS["number"] <= 2_000 + 2_000 // SHARE + 30, "and three episodes that were tried"
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "evaluation" in line)
    assert said == (
        "marl: evaluation.episodes=4 evaluation.every=400: 4 episodes every 400 steps, at 10 ticks each 360 steps, 18 % of the training's"
    )
    assert len([row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "evaluation/return" in row]) == 6
    assert result.report["return"]["episodes"] == 4


def test_what_is_given_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = train(tmp_path / "run", f"{__name__}:Counted", 200, evaluation={"every": 100, "episodes": 6})
    assert "6 episodes every 100 steps, at 10 ticks each 360 steps, 180 % of the training's" in capsys.readouterr().err
    assert result.report["return"]["episodes"] == 6


def test_episodes_as_the_unit(marl: Marl, tmp_path: Path) -> None:
    given = ["env=pettingzoo", "env.factory=tests.foreign:Lanes", "n_envs=2", "algorithm.rollout=4", "algorithm.hidden=[8]"]
    said = marl("train", *given, "total_episodes=100", f"run_dir={tmp_path / 'run'}")
    assert said.code == 0 and "2 episodes every 20 episodes, 18 episodes in all" in said.err


def test_an_environment_without_an_end(marl: Marl, tmp_path: Path) -> None:
    given = [
        "env=pettingzoo",
        "env.factory=tests.foreign:Endless",
        "env.longest=30",
        "n_envs=2",
        "algorithm.rollout=20",
        "algorithm.hidden=[8]",
    ]
    said = marl("train", *given, "total_steps=80", f"run_dir={tmp_path / 'run'}")
    assert said.code == 0
    assert "drawn actions ended none within 4 ticks: up to 300 steps (env.longest=30)" in said.err
    assert said.err.count("an episode goes on after 30 ticks (env.longest): such a one is cut there, truncated") >= 1
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["evaluation/length"] for row in rows if "evaluation/length" in row] == [30, 30]
    assert rows[-1]["train/episodes"] == 2, "two copies, 40 ticks each"


def test_an_illegal_choice_is_not_learned(marl: Marl, tmp_path: Path) -> None:
    """The lane that pays is closed, as infos say under another name."""
    given = ["env=pettingzoo", "env.factory=tests.foreign:Available", "n_envs=4", "algorithm.rollout=20", "algorithm.hidden=[8]"]
    assert marl("train", *given, "total_steps=400", f"run_dir={tmp_path / 'run'}").code == 0
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["return"]["mean"] == 0


@pytest.mark.parametrize(
    ("given", "ticks"),
    [(["total_steps=800", "n_envs=4"], 1_000), (["total_steps=16_000", "n_envs=4"], 4_000), (["total_episodes=5"], 10_000), ([], 10_000)],
)
def test_how_long_an_episode_may_be(given: list[str], ticks: int) -> None:
    own = ["env=pettingzoo", "env.factory=a:b"]
    assert compose([*own, *given]).config["env"]["longest"] == ticks
    assert compose([*own, *given, "env.longest=7"]).config["env"]["longest"] == 7


def test_lengths_of_drawn_actions() -> None:
    assert longest(vectorize(Closed), 0, 100) == 4
    assert longest(vectorize(Closed), 0, 9) == 4 and longest(vectorize(Closed), 0, 3) is None and longest(vectorize(Endless), 0, 50) is None
