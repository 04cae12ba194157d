"""Adding an algorithm is one file and one line: a toy one is trained, resumed, listed, refused and asked like those that are shipped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import algorithms
import envs
import experiments
from experiments import training
from experiments.cli import main
from marl.schedule import Progress
from marl.team import seen
from tests.aim import AIM
from tests.lanes import part_of

GIVEN = [
    "env=aim",
    "algorithm=exp3",
    "algorithm.lr=0.3",
    "algorithm.rollout=4",
    "n_envs=16",
    "evaluation.episodes=64",
    "evaluation.every=512",
]
MODULE = ["--module", "tests.toy_algorithm"]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The game by name, the algorithm registered by nobody but its own module, as in a fresh process."""
    monkeypatch.setitem(envs.GAMES, "aim", AIM)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("tests.toy_algorithm", None)
    algorithms.ALGORITHMS.pop("exp3", None)
    yield
    algorithms.ALGORITHMS.pop("exp3", None)


def test_its_update_by_hand() -> None:
    """Three choices, uniform at first: gains 1 and 2 of the first, 3 of the third, of three rows at probability 1/3."""
    from tests.toy_algorithm import Exp3, Exp3Settings

    learner = Exp3(Exp3Settings(lr=0.5, uniform=0.3), part_of("choice"), 1)
    assert np.allclose(learner.policy.chances, 1.0 / 3.0)
    rows: Any = seen(np.zeros((3, 2)))
    rows.__dict__.update(act=np.array([[0.0], [0.0], [2.0]]), rew=np.array([1.0, 2.0, 3.0]))
    rows.__dict__["gain"] = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) * 3.0
    learner._update_with_batch(rows, None, 1)
    assert np.allclose(learner.policy.log_weights, [1.5, 0.0, 1.5])
    mixed = 0.7 * np.exp([1.5, 0.0, 1.5]) / np.exp([1.5, 0.0, 1.5]).sum() + 0.1
    assert np.allclose(learner.policy.chances, mixed)


def test_trained_from_python_it_finds_the_best_arrow_of_who_cannot_see() -> None:
    """The middle one of eleven, which misses by 1/12, squared; a random one by 1/6 and a little."""
    line = {line.split("=")[0]: line.split("=")[1] for line in GIVEN[2:]}
    given = {key: float(value) if "." in value else int(value) for key, value in line.items()}
    result = experiments.train("aim", "exp3", ["tests.toy_algorithm"], total_steps=8_192, seed=3, **given)
    assert result.policy.act(np.zeros((2, 1), np.float32)) == pytest.approx(0.5)
    assert experiments.evaluate(result.run_dir)["return"]["mean"] == pytest.approx(-1.0 / 12.0, abs=0.01)
    assert np.allclose(experiments.ensemble([result.run_dir]).act(np.zeros((5, 2, 1), np.float32)), 0.5)


def test_interrupted_and_resumed_it_is_the_run_that_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    lines = ["train", *GIVEN, "total_steps=1_024", "checkpoint.every=128", *MODULE]
    assert main([*lines, f"run_dir={whole}"]) == 0
    real = training._steps

    def interrupted(setup: Any, folder: Any, run_id: str, watch: Any, resume: bool) -> Any:
        def stop(progress: Progress) -> None:
            if progress.steps >= 700:
                raise KeyboardInterrupt
            watch(progress)

        return real(setup, folder, run_id, stop, resume)

    with monkeypatch.context() as patched:
        patched.setattr(training, "_steps", interrupted)
        assert main([*lines, f"run_dir={broken}"]) == 130
    assert main(["resume", str(broken)]) == 0  # the run knows its module
    for name in ("metrics.jsonl", "evaluation.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    saved = [torch.load(folder / "last.pt", weights_only=True)["team"]["archer"]["tianshou"] for folder in (whole, broken)]
    assert torch.equal(*(state["policy.log_weights"] for state in saved))
    assert saved[0]["policy.log_weights"].abs().max() > 0.0


def test_it_is_listed_and_refused_like_any_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["list", *MODULE]) == 0
    assert "exp3" in capsys.readouterr().out
    assert main(["list", "algorithm=exp3", *MODULE]) == 0
    assert "algorithm.uniform 0.2 a number in [0, 1] e, the share of choices" in " ".join(capsys.readouterr().out.split())
    for wrong, words in (("algorithm.uniform=2", "algorithm.uniform = 2.0: legal range is [0, 1]"), ("algorithm=exp4", "closest: exp3")):
        assert main(["train", *GIVEN, wrong, f"run_dir={tmp_path / 'run'}", *MODULE]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
