"""The command line, called in this process, with the toy game registered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import envs
from experiments.cli import main
from tests.commons import COMMONS

TINY = [
    "env=harvest",
    "env.n_agents=2",
    "env.horizon=5",
    "n_envs=4",
    "algorithm.rollout=5",
    "algorithm.hidden=[8]",
    "evaluation.episodes=4",
]
"""Overrides of a run that takes a second: an epoch is 20 steps."""


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line of a refused command, without its prefix; asserts that there is one line, and exit code 2."""
        assert self.code == 2
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("marl: error: ")
        return lines[0].removeprefix("marl: error: ")


Marl = Callable[..., Said]
ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str) -> str:
    """What a Python process of its own prints, with this checkout on its path."""
    command = [sys.executable, "-c", code, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The toy game by name; runs go to a folder of the test's own; W&B stays offline whatever the machine has."""
    monkeypatch.setitem(envs.GAMES, "harvest", COMMONS)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def marl(capsys: pytest.CaptureFixture[str]) -> Marl:
    """`marl("train", "env=harvest")` -> exit code, stdout, stderr."""

    def call(*arguments: str) -> Said:
        code = main(arguments)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call
