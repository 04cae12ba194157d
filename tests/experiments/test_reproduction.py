"""`marl reproduce` on a tiny row: to PASS and to FAIL, interrupted, killed and continued, beside a seed that crashes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import envs
import experiments
from experiments import published, races, recorded, reproduction, seed_run
from experiments.published import Row
from experiments.seed_run import OUTCOME, USAGE, folder_of
from marl.errors import UserError
from tests.commons import COMMONS
from tests.experiments.conftest import ROOT, Marl

VALUES: dict[str, Any] = {
    "name": "tiny",
    "title": "IPPO on a toy",
    "published": {"value": 0.0, "half": 0.5, "where": "nowhere", "read": True},
    "task": {"name": "harvest", "n_agents": 2, "horizon": 5},
    "algorithm": {"name": "ippo", "rollout": 5, "hidden": [8]},
    "run": {"n_envs": 4, "evaluation": {"every": 20, "episodes": 4}},
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


def row(**changed: Any) -> Row:
    return published.make(published.merged(VALUES, changed), "tiny")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished seeds: two of the row that passes, one of the row that fails."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(envs.GAMES, "harvest", COMMONS)
        reproduction.reproduce_all([row(), row(name="high", seeds=1)], root=root, jobs=0)
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that the command knows: one that passes and one that cannot."""
    rows = {r.name: r for r in (row(), row(name="high", passes={"at_least": 1e9}, seeds=1))}
    monkeypatch.setattr(published, "load", lambda: rows)
    monkeypatch.setattr(races, "load_races", dict)


@pytest.mark.usefixtures("known")
def test_pass_and_fail_in_one_call_and_nothing_is_run_twice(marl: Marl, root: Path) -> None:
    log = (root / "progress.log").read_text()
    assert "tiny seed 1: 100% of 100 steps" in log
    assert "tiny seed 1: done" in log
    before = {path: path.stat().st_mtime_ns for path in root.rglob("seed-*/*")}
    said = marl("reproduce", "--all", "--dir", str(root))
    assert (said.code, said.err) == (1, "")
    assert "missed: the mean over 1 is" in said.out
    assert [line.strip() for line in said.out.splitlines() if line.strip() in ("PASS", "FAIL")] == ["PASS", "FAIL"]
    some = marl("reproduce", "tiny", "--dir", str(root), "--seeds", "1,0")
    assert some.code == 0
    assert "  2 seeds: " in some.out
    assert {path: path.stat().st_mtime_ns for path in root.rglob("seed-*/*")} == before


def test_what_a_row_leaves(root: Path) -> None:
    found = experiments.reproduce(row(), root=root)
    outcomes = [json.loads((root / "tiny" / f"seed-{s}" / OUTCOME).read_text()) for s in (0, 1)]
    figures = json.loads((root / "tiny" / "verdict.json").read_text())
    assert figures["mean"] == found.mean == pytest.approx(sum(o["units"][0] for o in outcomes) / 2)
    assert figures["low"] < figures["mean"] < figures["high"]
    assert [point[0] for point in outcomes[0]["curve"]] == [0, 20, 40, 60, 80, 100]
    report = json.loads((root / "tiny" / "seed-0" / "metrics.jsonl").read_text().splitlines()[-1])
    assert outcomes[0]["curve"][-1][1] == pytest.approx(2 * report["evaluation/return"])
    runs = json.loads((root / "tiny" / "marl-eval.json").read_text())["harvest"]["harvest"]["ippo"]
    assert set(runs) == {"seed_0", "seed_1"}
    assert runs["seed_0"]["step_5"]["step_count"] == 100
    assert runs["seed_0"]["step_5"]["return"] == [outcomes[0]["curve"][-1][1]]
    assert len(runs["seed_1"]["absolute_metrics"]["return"]) == 16
    assert (root / "tiny" / "curves.png").stat().st_size > 10_000


def test_interrupted_and_continued_is_the_run_that_was_not(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C within training, then between training and judging: the next call goes on, and time spent before counts."""
    whole = experiments.reproduce(row(seeds=1), root=root)
    folder = folder_of(row(), 0, tmp_path / "broken").path

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(seed_run, "measured", interrupt)
        with pytest.raises(KeyboardInterrupt):
            experiments.reproduce(row(seeds=1), root=tmp_path / "broken", jobs=0)
    assert (folder / "metrics.jsonl").exists()
    with monkeypatch.context() as patched:
        patched.setattr(seed_run, "judge", interrupt)
        with pytest.raises(KeyboardInterrupt):
            experiments.reproduce(row(seeds=1), root=tmp_path / "broken", jobs=0)
    assert not (folder / OUTCOME).exists()
    spent = json.loads((folder / USAGE).read_text())["wall"]
    found = experiments.reproduce(row(seeds=1), root=tmp_path / "broken", jobs=0)
    assert found.values == whole.values
    assert found.wall > spent > 0
    assert (folder / "metrics.jsonl").read_bytes() == (root / "tiny" / "seed-0" / "metrics.jsonl").read_bytes()


def test_a_crashed_seed_is_reported_and_the_others_go_on(root: Path) -> None:
    folder = folder_of(row(), 0, root)
    folder.config.unlink()
    folder.manifest.unlink()
    (folder.path / OUTCOME).unlink()
    found = experiments.reproduce(row(), root=root, jobs=0)
    assert not found.passed
    assert list(found.failed) == [0]
    assert (found.seeds, len(found.values)) == ([1], 1)
    assert found.missed[0].startswith("seed 0 has no result (FAILED: run_dir")


def test_a_folder_of_another_recipe_is_refused_before_anything_runs(root: Path) -> None:
    with pytest.raises(UserError, match=r"seed-0 was made with algorithm.lr = 0.0003, now 0.5: move it away"):
        experiments.reproduce(row(seeds=1, algorithm={"lr": 0.5}), root=root)


def test_asked_for_more_episodes_a_finished_run_is_only_judged_again(root: Path) -> None:
    before = (root / "tiny" / "seed-0" / "last.pt").stat().st_mtime_ns
    found = experiments.reproduce(row(seeds=1, episodes=32), root=root, jobs=0)
    assert len(json.loads((root / "tiny" / "seed-0" / OUTCOME).read_text())["returns"]) == 32
    assert found.steps == 100
    assert (root / "tiny" / "seed-0" / "last.pt").stat().st_mtime_ns == before


def test_a_folder_that_was_made_before_a_key_existed_still_counts(root: Path) -> None:
    """A setting that was added since has its default there."""
    import yaml

    folder = folder_of(row(), 0, root)
    config = folder.read_config()
    del config["algorithm"]["agent_id"]
    folder.config.write_text(yaml.safe_dump(config))
    folder.manifest.write_text(json.dumps({**folder.read_manifest(), "config_hash": "of then"}))
    assert seed_run.differences(row(), 0, root) == []


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "rows are expected, or --all; --list shows them"),
        (["tiny", "--all"], "rows are expected, or --all"),
        (["tny"], "row 'tny': no such row: legal are tiny, high (closest: tiny)"),
        (["tiny", "--seeds", "few"], "--seeds = 'few': a number, or numbers like 0,3,4 are expected"),
        (["tiny", "--seeds", "0"], "seeds = 0: a number of seeds from 1"),
        (["tiny", "--seeds", "0,-1"], "seeds = [0, -1]: "),
        (["tiny", "--jobs", "-1"], "jobs = -1 processes: legal are whole numbers from 0"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], text: str, marl: Marl) -> None:
    assert text in marl("reproduce", *arguments).refusal
    assert not Path("runs/reproduce").exists()


@pytest.mark.usefixtures("known")
def test_recorded_and_reported(marl: Marl, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "reproduction.md"
    monkeypatch.setattr(recorded, "PAGE", page)
    monkeypatch.setattr(recorded, "RESULTS", tmp_path / "results")
    assert "docs is not there" in marl("reproduce", "--report").refusal
    page.parent.mkdir()
    assert marl("reproduce", "--report").code == 0
    assert "| `tiny` | 0 ± 0.5 | not run |" in page.read_text()
    few = marl("reproduce", "tiny", "--seeds", "1", "--dir", str(root), "--record")
    assert few.err.splitlines()[-1] == "marl: error: tiny: 1 seeds have a result, 2 are needed to record it"
    assert marl("reproduce", "tiny", "high", "--dir", str(root), "--record").code == 1
    text = page.read_text()
    assert "| PASS | 2 | 100 |" in text
    assert "| **FAIL** | 1 | 100 |" in text
    assert "Missed: the mean over 1 is" in text
    assert text.count("Cause: not known") == 1
    assert "![Learning curves of tiny](curves/tiny.png)" in text
    assert (page.parent / "curves" / "tiny.png").read_bytes() == (root / "tiny" / "curves.png").read_bytes()
    assert recorded.whole_page() == text
    monkeypatch.setattr(published, "load", lambda: {"tiny": row(algorithm={"lr": 0.5})})
    assert "PASS, the recipe has changed since" in recorded.whole_page()


@pytest.mark.slow
def test_processes_are_killed_with_the_command_and_their_runs_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of the command: its processes end with it, and the next call comes to the bytes of one that nobody stopped."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    given = json.dumps(dict(VALUES, steps=3_000, run={**VALUES["run"], "checkpoint": {"every": 300}}))
    script = tmp_path / "call.py"
    script.write_text(
        "import sys, json\nfrom experiments import published, reproduction\n"
        "if __name__ == '__main__':\n"
        "    r = published.make(json.loads(sys.argv[1]), 'tiny')\n"
        "    print(reproduction.reproduce(r, root=sys.argv[2], modules=['tests.toys']).values)\n"
    )
    command = [sys.executable, str(script), given]
    whole = subprocess.run([*command, "whole"], capture_output=True, text=True, check=True).stdout
    broken = tmp_path / "broken"
    metrics = broken / "tiny" / "seed-0" / "metrics.jsonl"
    for rows in (1, 40):
        process = subprocess.Popen([*command, str(broken)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 240
        while (not metrics.exists() or metrics.read_bytes().count(b"\n") < rows) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run([*command, str(broken)], capture_output=True, text=True, check=True).stdout == whole
    assert metrics.read_bytes() == (tmp_path / "whole" / "tiny" / "seed-0" / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_process_that_dies_is_one_failed_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that ends the process of seed 1 without a word."""
    (tmp_path / "fatal.py").write_text(
        "import os, experiments.run_folder as f, tests.toys\nreal = f.create\n"
        "def create(path, config):\n    os._exit(9) if config['seed'] else None\n    return real(path, config)\nf.create = create\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    found = reproduction.reproduce(row(), root=tmp_path / "runs", modules=["tests.toys"])
    assert found.passed
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [row(name="other")]
    failed = reproduction.processes.run_all([(rows[0], 0), (rows[0], 1)], tmp_path / "runs", 2, ["fatal"], print)
    assert failed == {("other", 1): "FAILED: its process ended with exit code 9"}
