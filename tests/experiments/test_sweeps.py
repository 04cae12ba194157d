"""Sweeps that lose runs: the others end, the table says what failed and why, and the same command finishes what is missing."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments import pool
from experiments.multirun import job
from experiments.run_folder import RunFolder
from experiments.sweep_run import Value, outcome, worst
from marl.errors import UserError
from marl.track import read_metrics
from tests.experiments.conftest import ROOT, TINY, Marl

ILL = ["--module", "tests.experiments.ill", "env=ill", *TINY[1:], "total_steps=100", "evaluation.every=20", "checkpoint.every=20"]


def command(folder: Path, *words: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """`marl` as a user calls it, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MARL_ILL": str(folder)}
    call = [sys.executable, "-m", "experiments.cli", *words]
    return subprocess.run(call, capture_output=True, text=True, check=False, env=env, cwd=folder, timeout=timeout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [["hydra/launcher=basic"], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]], ids=["basic", "joblib"]
)
def test_a_sweep_of_six_of_which_one_raises_and_one_is_killed(launcher: list[str], tmp_path: Path) -> None:
    """Growths 2 and 3 are ill, of one seed each; the second command goes on with these two alone, to the bytes of unbroken runs."""
    (tmp_path / "2.0-1").touch()
    (tmp_path / "3.0-0").touch()
    words = ["train", "-m", *ILL, *launcher, "env.growth=1,2,3", "seed=0,1", "run_dir=sweep"]
    first = command(tmp_path, *words)
    assert first.returncode == 1, first.stderr
    rows = first.stdout.splitlines()[2:]
    assert len(rows) == 6
    assert [("failed" in row or "Error" in row or "SIGKILL" in row) for row in rows] == [False, False, True, False, False, True]
    assert "RuntimeError: a fault of the game" in rows[2] and "its process was ended by SIGKILL" in rows[5]
    last = first.stderr.splitlines()[-1]
    assert last.startswith("marl: error: 2 of 6 runs failed: env.growth=2 seed=0: RuntimeError: a fault of the game; env.growth=3 seed=1: ")
    assert "the same command with run_dir=sweep runs what is missing" in last
    made = {n: (tmp_path / "sweep" / n / "evaluation.json").stat().st_mtime_ns for n in "0134"}
    again = command(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr and "why not" not in again.stdout
    assert {n: (tmp_path / "sweep" / n / "evaluation.json").stat().st_mtime_ns for n in "0134"} == made
    assert all("resume in" in (tmp_path / "sweep" / n / "log.jsonl").read_text() for n in "25")
    assert len(again.stdout.splitlines()) == 8
    whole = command(tmp_path, *words[:-1], "run_dir=whole")
    assert whole.returncode == 0 and whole.stdout.replace("whole/", "sweep/") == again.stdout
    for n in "012345":
        assert (tmp_path / "whole" / n / "metrics.jsonl").read_bytes() == (tmp_path / "sweep" / n / "metrics.jsonl").read_bytes()


def test_done_runs_are_not_run_again_and_others_are_refused(marl: Marl, tmp_path: Path) -> None:
    """Two runs, then a third beside them; then the same folder with another learning rate."""
    words = ["train", "-m", *TINY, "--module", "tests.toys", "total_steps=40", f"run_dir={tmp_path / 'sweep'}"]
    assert marl(*words, "seed=0,1").code == 0
    before = {n: (tmp_path / "sweep" / n / "log.jsonl").read_bytes() for n in "01"}
    said = marl(*words, "seed=0,1,2")
    assert said.code == 0 and len(said.out.splitlines()) == 5
    assert {n: (tmp_path / "sweep" / n / "log.jsonl").read_bytes() for n in "01"} == before
    other = marl(*words, "seed=0,1", "algorithm.lr=0.5")
    assert other.code == 2
    assert "holds a run of another configuration (algorithm.lr = 0.0003, now 0.5): name another run_dir" in other.err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["seed=range(0)"], ["override 'seed=range(0)'", "range(0,5)"]),
        (["seed=range(3,3)"], ["override 'seed=range(3,3)': there is no value in it"]),
        (["algorithm.lr=interval(1e-4,1e-2)"], ["basic sweeper takes values", "hydra/sweeper=optuna"]),
        (["run_dir=a,b"], ["run_dir: one folder for the whole sweep"]),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], ["hydra.launcher.n_jobs = 0"]),
        (["hydra/sweeper=nowhere"], ["hydra/sweeper = 'nowhere': no such choice"]),
    ],
)  # fmt: skip
def test_a_sweep_that_cannot_be_is_refused_before_a_run(given: list[str], words: list[str], marl: Marl, tmp_path: Path) -> None:
    refusal = marl("train", "-m", *TINY, *given).refusal
    assert [w for w in words if w not in refusal] == []
    assert not list(tmp_path.glob("*/*/config.yaml"))


def test_a_default_folder_is_another_each_time(marl: Marl) -> None:
    """Two runs that start in one second do not share their folder."""
    found = {next(x for x in marl("train", *TINY, "--cfg", "job").out.splitlines() if x.startswith("run_dir")) for _ in range(4)}
    assert len(found) == 4 and all(line.endswith("-harvest-ippo-s0") for line in found)


# ---- sweepers that search -------------------------------------------------------------------------------------------


def test_what_a_run_is_worth_is_a_number_that_carries_its_row() -> None:
    """A sweeper that searches casts it to float, a launcher sends it between processes."""
    value = pickle.loads(pickle.dumps(Value(0.5, {"folder": "x"})))
    assert (float(value), value.row, value + 1) == (0.5, {"folder": "x"}, 1.5)
    assert job.__annotations__["return"] == "Value"


@pytest.mark.parametrize(("error", "ended"), [(UserError("not so"), "refused"), (RuntimeError("a fault\nof many lines"), "failed")])
def test_a_run_that_fails_is_worth_nothing(error: Exception, ended: str) -> None:
    def finish() -> Any:
        raise error

    value, row = outcome(finish)
    assert math.isnan(value) and row["ended"] == ended
    assert row["error"] == {"refused": "not so", "failed": "RuntimeError: a fault"}[ended]


@pytest.mark.parametrize(("sweeper", "value"), [({"direction": "Direction.maximize"}, -math.inf), ({"direction": "minimize"}, math.inf)])
def test_a_run_that_fails_is_the_worst_of_a_search(sweeper: Any, value: float) -> None:
    from omegaconf import OmegaConf

    assert worst(OmegaConf.create(sweeper)) == value
    assert math.isnan(worst(OmegaConf.create({})))


@pytest.mark.slow
def test_a_search_by_optuna(tmp_path: Path) -> None:
    """Three trials of an interval; the table has each of them."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="hydra-optuna-sweeper is not installed")
    found = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.direction=maximize", "algorithm.lr=interval(1e-4,1e-2)"]
    said = command(tmp_path, "train", "-m", "env=climbing", "algorithm=ippo", *TINY[3:], "total_steps=40", *found, "run_dir=sweep")
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("algorithm.lr=") == 3
    assert [json.loads((tmp_path / "sweep" / n / "sweep.json").read_text())["value"] for n in "012"]


# ---- the pool -------------------------------------------------------------------------------------------------------


def worked(task: str, pipe: Any) -> None:
    """What a task of this file does."""
    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "raises":
        raise SystemExit(3)
    if task == "sleeps":
        time.sleep(600)
    pipe.send(("progress", 1))
    pipe.send(("done", task.upper()))


def test_a_pool_survives_what_its_processes_do() -> None:
    heard, ended = [], {}

    def over(task: str, why: str, found: Any, left: int) -> None:
        ended[task] = why or found

    pool.run(["a", "killed", "b", "raises", "c"], 2, worked, lambda task, *told: heard.append((task, *told)), over)
    assert ended.pop("killed") == "its process was ended by SIGKILL (out of memory, perhaps)"
    assert ended.pop("raises") == "its process ended with exit code 3"
    assert ended == {"a": "A", "b": "B", "c": "C"}
    assert {x for x in heard if len(x) > 1} == {("a", 1), ("b", 1), ("c", 1)} and len(heard) == 8


def test_a_pool_that_is_interrupted_leaves_no_process() -> None:
    def over(task: str, why: str, found: Any, left: int) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.run(["sleeps", "a"], 2, worked, lambda *_: None, over)
    assert time.monotonic() - began < 300
    import multiprocessing

    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    """Ctrl-C in the second of two runs: exit code 130, and the same command finishes."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = ["train", "-m", "--module", "tests.toys", *TINY, "total_steps=4000", "evaluation.every=40", "seed=0,1", "run_dir=sweep"]
    call = [sys.executable, "-m", "experiments.cli", *words]
    process = subprocess.Popen(call, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    rows, deadline = tmp_path / "sweep" / "1" / "metrics.jsonl", time.monotonic() + 300
    while (not rows.exists() or rows.read_bytes().count(b"\n") < 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert RunFolder(tmp_path / "sweep" / "1").last.exists() and not (tmp_path / "sweep" / "1" / "sweep.json").exists()
    again = command(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    assert [read_metrics(tmp_path / "sweep" / n / "metrics.jsonl")[-1]["step"] for n in "01"] == [4000, 4000]
