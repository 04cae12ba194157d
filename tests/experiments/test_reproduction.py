"""`marl reproduce` on a tiny row: to PASS and to FAIL, interrupted, killed and continued, beside a seed that crashes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import experiments
from experiments import published, reproduction
from experiments.published import Row
from experiments.seed_run import OUTCOME, folder_of
from marl.errors import UserError
from tests.experiments.conftest import ROOT, Marl

VALUES: dict[str, Any] = {
    "name": "tiny",
    "title": "IPPO on a toy",
    "published": {"value": 0.0, "half": 0.5, "where": "nowhere", "read": True},
    "task": {"name": "commons", "n_agents": 2, "horizon": 5},
    "algorithm": {"name": "ippo", "rollout": 5, "hidden": [8]},
    "run": {"n_envs": 4, "evaluation": {"episodes": 4}},
    "reward": "team_sum",
    "measure": "return_sum",
    "scale": "the sum of both returns",
    "passes": {"of": "mean", "at_least": -1e9},
    "steps": 100,
    "seeds": 2,
    "episodes": 16,
    "minutes": 0.1,
    "note": "a toy",
}
MODULES = ["tests.toys"]


def row(**changed: Any) -> Row:
    return published.make(published.merged(VALUES, changed), "tiny")


def commanded(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> None:
    """The rows that the command knows. Processes of seeds find the toy game by its module."""
    monkeypatch.setattr(published, "load", lambda: {r.name: r for r in rows})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_pass_and_fail_in_one_call_and_nothing_is_run_twice(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commanded(monkeypatch, row(), row(name="high", passes={"at_least": 1e9}, seeds=1))
    said = marl("reproduce", "--all", "--dir", "runs", "--module", "tests.toys")
    assert said.code == 1
    assert "missed: the mean over 1 is" in said.out
    assert [line.split()[-1] for line in said.out.splitlines() if line.strip() in ("PASS", "FAIL")] == ["PASS", "FAIL"]
    assert "tiny seed 1: done" in said.err
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("seed-*/*")}
    again = marl("reproduce", "tiny", "--dir", "runs", "--module", "tests.toys")
    assert (again.code, again.err) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("seed-*/*")} == before
    figures = json.loads(Path("runs/tiny/verdict.json").read_text())
    outcomes = [json.loads((Path("runs/tiny") / f"seed-{s}" / OUTCOME).read_text()) for s in (0, 1)]
    assert figures["mean"] == pytest.approx(sum(o["units"][0] for o in outcomes) / 2)
    assert figures["low"] < figures["mean"] < figures["high"]
    assert len(outcomes[0]["returns"]) == 16
    assert outcomes[0]["curve"][-1][0] == 100


@pytest.mark.slow
def test_killed_at_any_moment_and_continued_is_the_run_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of the command: its processes end with it, and the next call goes on to the same files."""
    commanded(monkeypatch)
    given = dict(VALUES, steps=3_000, seeds=1, run={**VALUES["run"], "checkpoint": {"every": 300}})
    code = (
        "import sys, json\nfrom experiments import published, reproduction\n"
        "r = published.make(json.loads(sys.argv[1]), 'tiny')\n"
        "if __name__ == '__main__': print(reproduction.reproduce(r, root=sys.argv[2], modules=['tests.toys']).mean)"
    )
    script = tmp_path / "call.py"
    script.write_text(code)
    command = [sys.executable, str(script), json.dumps(given)]
    whole = subprocess.run([*command, "whole"], capture_output=True, text=True, check=True).stdout
    broken = tmp_path / "broken"
    metrics = broken / "tiny" / "seed-0" / "metrics.jsonl"
    for rows in (1, 40):
        process = subprocess.Popen([*command, str(broken)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while (not metrics.exists() or metrics.read_bytes().count(b"\n") < rows) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (broken / "tiny" / "seed-0" / OUTCOME).exists()
    assert subprocess.run([*command, str(broken)], capture_output=True, text=True, check=True).stdout == whole
    assert metrics.read_bytes() == (tmp_path / "whole" / "tiny" / "seed-0" / "metrics.jsonl").read_bytes()


def test_a_crashed_seed_is_reported_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commanded(monkeypatch)
    folder = folder_of(row(), 0, tmp_path)
    (folder.path / "config.yaml").mkdir(parents=True)
    folder.path.joinpath("last.pt").write_bytes(b"half")
    monkeypatch.setattr(reproduction, "differences", lambda *_: [])
    found = experiments.reproduce(row(), root=tmp_path, modules=MODULES)
    assert not found.passed
    assert list(found.failed) == [0]
    assert (found.seeds, len(found.values)) == ([1], 1)
    assert found.missed[0].startswith("seed 0 has no result (FAILED: ")


def test_a_folder_of_another_recipe_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commanded(monkeypatch)
    experiments.reproduce(row(seeds=1), root=tmp_path, modules=MODULES)
    other = row(seeds=1, algorithm={"lr": 0.5})
    with pytest.raises(UserError, match=r"seed-0 was made with algorithm.lr = 0.0003, now 0.5: move it away"):
        experiments.reproduce(other, root=tmp_path, modules=MODULES)
    longer = experiments.reproduce(row(seeds=1, episodes=32), root=tmp_path, modules=MODULES)
    assert len(json.loads((tmp_path / "tiny" / "seed-0" / OUTCOME).read_text())["returns"]) == 32
    assert longer.steps == 100
