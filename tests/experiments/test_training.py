"""A small run from the command line to its summary, its resumption, the same from Python, and sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import experiments
from curricula import CURRICULA, Stage
from experiments import training as command
from experiments.run_folder import RunFolder
from marl.errors import UserError
from marl.schedule import Progress
from marl.track import read_metrics
from tests.experiments.conftest import TINY, Marl

SHORT = [*TINY, "total_steps=100", "evaluation.every=40"]
FILES = {".lock", "config.yaml", "manifest.json", "log.jsonl", "metrics.jsonl", "timings.jsonl", "last.pt", "evaluation.json"}


def test_what_a_run_leaves(marl: Marl, tmp_path: Path) -> None:
    said = marl("train", *SHORT, f"run_dir={tmp_path / 'run'}")
    assert said.code == 0
    folder = RunFolder(tmp_path / "run")
    assert {p.name for p in folder.path.iterdir()} == FILES | {"return.png", "losses.png"}
    rows = read_metrics(folder.metrics)
    assert rows[-1]["step"] >= 100
    assert [row["step"] for row in rows if "evaluation/return" in row] == [0, 40, 80, 100]
    report = json.loads(folder.evaluation.read_text())
    assert set(report["return"]) == {"mean", "low", "high", "episodes"}
    assert report["baselines"]["random"]["return"]["episodes"] == 4
    assert "learned" in said.out
    assert f"run folder: {folder.path}" in said.out
    assert "100% of 100 steps" in said.err
    messages = [json.loads(line)["message"] for line in folder.log.read_text().splitlines()]
    assert messages[0].startswith("start in")
    assert messages[-1].startswith("ended: complete")


def test_interrupted_and_resumed_under_another_seed(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    marl("train", *SHORT, f"run_dir={whole.path}")
    real = command._steps

    def interrupted(setup: Any, folder: Any, run_id: str, watch: Any, resume: bool) -> Any:
        def stop(progress: Progress) -> None:
            if progress.steps >= 60:
                raise KeyboardInterrupt
            watch(progress)

        return real(setup, folder, run_id, stop, resume)

    with monkeypatch.context() as patched:
        patched.setattr(command, "_steps", interrupted)
        assert marl("train", *SHORT, f"run_dir={broken.path}").code == 130
    assert not broken.evaluation.exists()
    said = marl("resume", str(broken.path), "seed=9")
    assert said.code == 0
    assert "seed=9 is ignored" in said.err
    assert broken.metrics.read_bytes() == whole.metrics.read_bytes()
    assert broken.evaluation.read_bytes() == whole.evaluation.read_bytes()


def test_what_may_change_on_resume(marl: Marl, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    marl("train", *SHORT, f"run_dir={run.path}")
    assert "legal on resume are" in marl("resume", str(run.path), "n_envs=2").refusal
    assert "may only grow" in marl("resume", str(run.path), "total_steps=50").refusal
    assert "keeps its unit" in marl("resume", str(run.path), "total_steps=null", "total_episodes=50").refusal
    assert marl("resume", str(run.path), "total_steps=160", "early_stopping.patience=1_000").code == 0
    assert read_metrics(run.metrics)[-1]["step"] == 160
    assert run.read_config()["total_steps"] == 160
    assert run.read_manifest()["changes"] == [{"total_steps": 160, "early_stopping": {"patience": 1000}}]


def test_the_best_is_by_return_where_scores_are_refused(marl: Marl, tmp_path: Path) -> None:
    """Two episodes do not tell the references apart: the best policy is still the best seen, not the untrained one."""
    few = ["env=auction", "env.preset=first_price_two", "algorithm.lr=0.01", "algorithm.rollout=16", "evaluation.episodes=2"]
    alone = ["opponents=truthful", "env.horizon=4", "env.auctions_per_tick=1", "n_envs=4", "total_steps=256", "evaluation.every=64"]
    said = marl("train", *few, *alone, f"run_dir={tmp_path / 'run'}")
    assert "no score of advertiser: gap between" in said.out
    returns = {
        row["step"]: row["evaluation/return"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "evaluation/return" in row
    }
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert report["checkpoint"] == "best" and returns[report["step"]] == max(value for step, value in returns.items() if step)


def flat() -> tuple[Stage, ...]:
    """Stages in which what scores 0 and what scores 1 are one policy."""
    game = {"mode": "uniform_ipv", "n_agents": 2}
    ends = {"reference": "truthful", "naive": "truthful"}
    return (Stage("second", {**game, "format": "second"}, promote=0.5, **ends), Stage("first", {**game, "format": "first"}, **ends))


def test_a_curriculum_by_score_needs_one(marl: Marl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(CURRICULA, "flat", f"{__name__}:flat")
    few = ["env=auction", "curriculum=flat", "evaluation.episodes=2", f"run_dir={tmp_path / 'run'}"]
    refusal = marl("train", *few).refusal
    assert "curriculum stage 'second' is judged by the score, and there is none: gap between truthful and truthful is 0" in refusal
    assert not (tmp_path / "run").exists()


def test_early_stopping_says_why(marl: Marl, tmp_path: Path) -> None:
    still = ["algorithm.lr=0", "early_stopping.patience=40", "total_steps=1000", "evaluation.every=20"]
    said = marl("train", *TINY, *still, f"run_dir={tmp_path / 'run'}")
    assert "ended at step 60: no better evaluation for 40 steps; the highest was at step 20" in said.err
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 60


def test_evaluate_again(marl: Marl, tmp_path: Path) -> None:
    marl("train", *SHORT, f"run_dir={tmp_path / 'run'}")
    said = marl("evaluate", str(tmp_path / "run"), "--episodes", "6", "--checkpoint", "last")
    assert "episodes: 6" in said.out
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (report["checkpoint"], report["step"], report["return"]["episodes"]) == ("last", 100, 6)
    assert "episodes = 0" in marl("evaluate", str(tmp_path / "run"), "--episodes", "0").refusal
    assert "checkpoint = 'first'" in marl("evaluate", str(tmp_path / "run"), "--checkpoint", "first").refusal
    assert "no best policy: none is chosen where several learn for themselves" in said.out
    assert "has no best.pt" in marl("evaluate", str(tmp_path / "run"), "--checkpoint", "best").refusal
    (tmp_path / "run" / "best.pt").write_bytes(b"half")
    assert "best.pt cannot be read" in marl("evaluate", str(tmp_path / "run")).refusal


def test_episodes_end_a_run(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *TINY, "total_episodes=10", f"run_dir={tmp_path / 'run'}").code == 0
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["train/episodes"] == 12


def test_a_foreign_environment(marl: Marl, tmp_path: Path) -> None:
    given = ["env=pettingzoo", "env.factory=mpe2.simple_speaker_listener_v4:parallel_env", "n_envs=2", "evaluation.episodes=2"]
    said = marl("train", *given, "total_steps=100", "algorithm.rollout=25", "algorithm.hidden=[8]", f"run_dir={tmp_path / 'run'}")
    assert said.code == 0
    assert {"evaluation/speaker/return", "evaluation/listener/return"} <= set(read_metrics(tmp_path / "run" / "metrics.jsonl")[0])


def test_the_same_from_python(tmp_path: Path) -> None:
    given: dict[str, Any] = {"env.n_agents": 2, "env.horizon": 5, "n_envs": 4, "evaluation": {"every": 40, "episodes": 4}}
    learner = {"algorithm.rollout": 5, "algorithm.hidden": [8]}
    result = experiments.train("harvest", "ippo", total_steps=100, run_dir=tmp_path / "run", **given, **learner)
    report = json.loads((result.run_dir / "evaluation.json").read_text())
    assert result.best_score == report["return"]["mean"]
    assert result.policy.act(np.zeros((7, 2, 2), np.float32)).shape == (7, 2, 1)
    assert experiments.resume(result.run_dir, total_steps=140).policy.act({"harvester_0": [0.5, 1.0]})["harvester_0"].shape == (1,)


@pytest.mark.parametrize(
    ("obs", "text"),
    [
        ({"bob": [0, 1]}, "unknown agent 'bob'"),
        ({"harvester_0": [0.0]}, "has 1 columns: expected 2"),
        ({"harvester_0": "high"}, "harvester_0 = 'high': 2 numbers are expected"),
        ({"harvester_0": [0.0, np.nan]}, "column 'time_left' = nan: a finite number"),
        (np.zeros(4), r"shape \(4,\)"),
    ],
)
def test_observations_that_a_policy_refuses(obs: Any, text: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"env.n_agents": 2, "env.horizon": 5, "n_envs": 4, "algorithm.rollout": 5, "evaluation.episodes": 4}
    policy = experiments.train("harvest", "ippo", total_steps=20, run_dir=tmp_path / "run", **given).policy
    with pytest.raises(UserError, match=text):
        policy.act(obs)


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep(launcher: str, marl: Marl, tmp_path: Path) -> None:
    """Every run has its own folder; one that is refused leaves the others theirs."""
    root = tmp_path / "sweep"
    said = marl(
        "train", "-m", *SHORT, f"hydra/launcher={launcher}", "env.horizon=5,0", "seed=0,1", f"run_dir={root}", "--module", "tests.toys"
    )
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("marl: error: 2 of 4 runs refused: env.horizon=0 seed=0: CommonsParams.horizon = 0")
    assert {p.name for p in root.iterdir()} == {"0", "1", "2", "3", "multirun.yaml"}
    assert [RunFolder(root / n).evaluation.exists() for n in "0123"] == [True, True, False, False]
    assert [RunFolder(root / n).read_config()["seed"] for n in "01"] == [0, 1]
    assert RunFolder(root / "0").metrics.read_bytes() != RunFolder(root / "1").metrics.read_bytes()
    assert "env.horizon=5 seed=1" in said.out
    assert all("start in" in RunFolder(root / n).log.read_text() for n in "01")


def test_a_sweep_with_a_mistyped_key(marl: Marl) -> None:
    assert "env.horizn" in marl("train", "-m", *TINY, "env.horizn=5,6").refusal


def test_a_best_response_beside_the_evaluation(marl: Marl, tmp_path: Path) -> None:
    run = tmp_path / "run"
    marl("train", *SHORT, f"run_dir={run}")
    said = marl("evaluate", str(run), "--episodes", "4", "--best-response", "60")
    assert said.code == 0
    (role,) = json.loads((run / "evaluation.json").read_text())["exploitability"].items()
    for way, told in (("drawn", "as they draw"), ("mode", "at their mode")):
        assert f"a best response of {role[0]} to policies {told} gains" in said.out
        assert role[1][way]["low"] <= role[1][way]["mean"] <= role[1][way]["high"]
    assert "best_response = -1 steps" in marl("evaluate", str(run), "--best-response", "-1").refusal
