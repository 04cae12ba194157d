"""Exact resume: a run killed with SIGKILL anywhere and resumed is the run that was never killed, byte for byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from algorithms import ALGORITHMS
from marl import checkpoint
from marl.track import read_metrics

ROOT = Path(__file__).parents[2]
KILLS = 5


def spawn(name: str, folder: Path, seed: int, pause: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.resumable", name, str(folder), str(seed), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.strip() == "complete"


def rows(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(process: subprocess.Popen[str], folder: Path, goal: int, delay: float) -> None:
    """SIGKILL a while after row `goal` is written; the run must not have ended by then."""
    deadline = time.monotonic() + 240
    while rows(folder) < goal and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    assert process.poll() is None, process.communicate()[1]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def assert_same(one: Any, other: Any, where: str = "checkpoint") -> None:
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        assert one.tobytes() == other.tobytes(), where
    else:
        assert one == other or one != one, where


def assert_equal_runs(one: Path, other: Path) -> None:
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    assert (one / "best.pt").exists() == (other / "best.pt").exists()
    for name in ("last.pt", "best.pt") if (one / "best.pt").exists() else ("last.pt",):
        a, b = checkpoint.load(one / name), checkpoint.load(other / name)
        for content in (a, b):
            content.get("log", {}).pop("released", None)
        assert_same(a, b, name)


MEMORIES = ["ippo-gru", "ippo-lstm", "ia2c-gru", "mappo-attention", "idqn-attention", "vdn-lstm", "qmix-gru", "hybrid-lstm"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted(ALGORITHMS), "ippo-curriculum", "isac-curriculum", *MEMORIES])
def test_killed_and_resumed_equals_never_killed(name: str, tmp_path: Path) -> None:
    """Five kills at random moments, every resume under another seed on the command line."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    finish(spawn(name, whole, seed=3))
    total, chance = rows(whole), random.Random(name)
    finish_at = sorted(chance.sample(range(1, total - 1), KILLS))
    for i, goal in enumerate(finish_at):
        kill_at(spawn(name, broken, seed=3 if i == 0 else 90 + i, pause=0.05), broken, goal, chance.random() * 0.08)
    finish(spawn(name, broken, seed=99))
    assert_equal_runs(whole, broken)
    stages = {row.get("curriculum/stage") for row in read_metrics(whole / "metrics.jsonl")}
    assert stages == ({0, 1} if name.endswith("curriculum") else {None})


def test_kill_before_the_first_checkpoint_starts_again(tmp_path: Path) -> None:
    """Rows that no checkpoint covers are removed, the seed is the one of the new start."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    (broken / "metrics.jsonl").write_text('{"step":0,"train/episodes":0}\n{"step":32')
    runs = [spawn("ippo", folder, seed=5) for folder in (whole, broken)]
    for run in runs:
        finish(run)
    assert_equal_runs(whole, broken)
