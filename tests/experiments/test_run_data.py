"""A run and its files: digests in the manifest, absolute paths, a word at evaluate and a refusal at resume where a file has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from experiments import compose, run_data
from experiments.run_folder import RunFolder, create
from experiments.stored import opened
from experiments.training import begin, execute
from marl import UserError
from marl.content import digest
from tests.experiments.conftest import Marl

TINY = [
    "env=allocation_log", "env.n_agents=2", "env.horizon=5", "algorithm=ippo", "n_envs=2", "algorithm.rollout=5", "algorithm.hidden=[4]",
    "evaluation.every=20", "evaluation.episodes=2",
]  # fmt: skip


def trace(path: Path, seed: int) -> None:
    g = np.random.default_rng(seed)
    times, tokens = np.cumsum(g.exponential(1, 80)), g.integers(1, 400 * (1 + seed), (80, 2))
    rows = "".join(f"{t:.3f},{a},{b}\n" for t, (a, b) in zip(times, tokens))
    path.parent.mkdir(exist_ok=True)
    path.write_text("t_s,context_tokens,generated_tokens\n" + rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with data/trace.csv and the run of it, whose path was given relative to the project."""
    root = tmp_path_factory.mktemp("project")
    trace(root / "data" / "trace.csv", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        begin(compose.compose([*TINY, "env.trace=data/trace.csv", "total_steps=20", "run_dir=run"]))
    return root


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in its place, to be changed: it is put back afterwards."""
    kept = tmp_path / "kept"
    shutil.copytree(trained, kept)
    monkeypatch.chdir(trained)
    monkeypatch.setattr("experiments.plots.learning_curves", lambda *_: None)
    yield trained  # type: ignore[misc]
    shutil.rmtree(trained, ignore_errors=True)
    shutil.copytree(kept, trained)


def test_the_manifest_has_path_and_digest_of_every_file(project: Path) -> None:
    path = project / "data" / "trace.csv"
    said = json.loads((project / "run" / "manifest.json").read_text())["data"]
    assert said == {
        "env.trace": {"path": str(path), "sha256": digest(str(path)), "bytes": path.stat().st_size, "beside": "../data/trace.csv"}
    }
    assert yaml.safe_load((project / "run" / "config.yaml").read_text())["env"]["trace"] == str(path)


def test_no_file_is_read_no_digest(tmp_path: Path) -> None:
    assert run_data.read_by(compose.compose(["env=auction_log", "algorithm=ippo"]).config) == {}
    assert run_data.read_by(compose.compose(["env=harvest", "algorithm=ippo"]).config) == {}


def test_evaluate_warns_of_a_file_that_changed_and_resume_refuses_it(project: Path, marl: Marl) -> None:
    trace(project / "data" / "trace.csv", 1)
    said = marl("evaluate", "run", "--episodes", "2")
    lines = [line for line in said.err.splitlines() if line.startswith("marl: warning")]
    assert said.code == 0 and len(lines) == 1
    assert "env.trace = " in lines[0] and "data/trace.csv' is not the file that the run has read: its SHA-256 was" in lines[0]
    before = {path.name: path.read_bytes() for path in (project / "run").iterdir() if path.is_file()}
    refusal = marl("resume", "run", "total_steps=40").refusal
    assert "data/trace.csv' is not the file that the run has read" in refusal and "put it back, or train anew" in refusal
    assert before == {path.name: path.read_bytes() for path in (project / "run").iterdir() if path.is_file()}


def test_a_file_that_is_put_back_is_the_runs_again(project: Path, marl: Marl) -> None:
    own = (project / "data" / "trace.csv").read_bytes()
    trace(project / "data" / "trace.csv", 1)
    assert marl("resume", "run", "total_steps=40").code == 2
    (project / "data" / "trace.csv").write_bytes(own)
    said = marl("resume", "run", "total_steps=40")
    assert said.code == 0 and "warning" not in said.err
    assert marl("evaluate", "run", "--episodes", "2").err == ""


def test_another_file_of_the_name_elsewhere_is_not_taken(
    project: Path, marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = marl("evaluate", "run", "--episodes", "2").out
    trace(tmp_path / "data" / "trace.csv", 2)
    monkeypatch.chdir(tmp_path)
    said = marl("evaluate", str(project / "run"), "--episodes", "2")
    assert (said.out, said.err) == (asked, "")


def test_a_run_that_moves_is_the_same_run(project: Path, marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone: its data are where they were. With its data: an equal file beside it is found, also where another is in the old place."""
    asked = marl("evaluate", "run", "--episodes", "2").out
    shutil.copytree(project / "run", tmp_path / "alone")
    said = marl("evaluate", str(tmp_path / "alone"), "--episodes", "2")
    assert (said.out, said.err) == (asked, "")
    shutil.copytree(project, tmp_path / "moved")
    trace(project / "data" / "trace.csv", 1)
    monkeypatch.chdir(tmp_path)
    said = marl("evaluate", "moved/run", "--episodes", "2")
    assert (said.out, said.err) == (asked, "")
    (project / "data" / "trace.csv").unlink()
    said = marl("resume", "moved/run", "total_steps=40")
    assert said.code == 0 and "warning" not in said.err
    assert yaml.safe_load((tmp_path / "moved" / "run" / "config.yaml").read_text())["env"]["trace"].endswith("moved/data/trace.csv")
    trace(tmp_path / "moved" / "data" / "trace.csv", 1)
    assert "is not the file that the run has read" in marl("resume", "moved/run", "total_steps=60").refusal
    (tmp_path / "moved" / "data" / "trace.csv").unlink()
    assert "no such file, and the run has read it (SHA-256 " in marl("evaluate", "moved/run").refusal


def test_whoever_opens_a_run_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Replay, ensembles and the tables that take `--run` open it so."""
    trace(project / "data" / "trace.csv", 1)
    opened("run")
    assert capsys.readouterr().err.count("is not the file that the run has read") == 1


def test_a_file_that_changes_during_a_run_is_said_at_its_end(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run goes on by what the file held."""
    setup = compose.compose([*TINY, "env.trace=data/trace.csv", "total_steps=40", "run_dir=other"])
    folder = create(Path("other"), setup.config)
    execute(setup, folder, quiet=True, told=lambda progress: trace(project / "data" / "trace.csv", 1))
    assert capsys.readouterr().err.count("is not the file that the run has read") == 1
    assert folder.evaluation.exists()


def test_a_damaged_table_of_files_is_refused(project: Path, marl: Marl) -> None:
    path = project / "run" / "manifest.json"
    whole = json.loads(path.read_text())
    damaged: list[Any] = [3, {"env.trace": 3}, {"env.trace": {"path": "x"}}, {"env.trace": {**whole["data"]["env.trace"], "sha256": 3}}]
    for data in damaged:
        path.write_text(json.dumps({**whole, "data": data}))
        assert "manifest.json: key 'data' is damaged" in marl("evaluate", "run").refusal


def test_a_run_from_before_there_were_digests_is_played(project: Path, marl: Marl) -> None:
    path = project / "run" / "manifest.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "data"}))
    assert marl("evaluate", "run", "--episodes", "2").err == ""


def test_a_file_that_only_a_stage_reads_is_the_runs(tmp_path: Path) -> None:
    """`env=cluster` has drawn arrivals; the last stage of its curriculum replays the trace."""
    trace(tmp_path / "trace.csv", 0)
    lines = ["env=cluster", f"env.trace={tmp_path}/trace.csv", "algorithm=ippo"]
    with pytest.raises(UserError, match="the file is not read, legal is arrivals = 'trace'"):
        compose.compose(lines)
    setup = compose.compose([*lines, "curriculum=resource_allocation", "run_dir=r"])
    folder = create(tmp_path / "r", setup.config)
    assert list(run_data.recorded(folder)) == ["env.trace"]
    with pytest.raises(UserError, match="the file is not read, legal is source = 'bars'"):
        compose.compose(["env=trading", f"env.bars={tmp_path}/trace.csv", "curriculum=trading", "algorithm=ippo"])


@pytest.mark.parametrize(
    "words",
    [
        ["traders", "bars=/no/such/file.csv"], ["train", "env=trading", "env.bars=/no/such/file.csv"],
        ["train", "env=supply_chain", "env.trace=/no/such/file.csv"],
        ["train", "env=cluster", "env.trace=/no/such/file.csv", "--cfg", "job"],
    ],
)  # fmt: skip
def test_a_named_file_that_nothing_reads_is_refused_by_every_command(words: list[str], marl: Marl) -> None:
    assert "'/no/such/file.csv' with" in marl(*words).refusal


def test_tables_of_strategies_are_of_the_adjusted_prices(marl: Marl, tmp_path: Path) -> None:
    """The same bars with Yahoo's headers and with ours, over a split."""
    closes, days = [400.0, 404.0, *[101.0, 100.0] * 14], [f"2020-08-{d:02d}" for d in range(1, 31)]
    rows = [f"KO,{d},{c},{c},{c},{c},{c if i > 1 else c / 4},5" for i, (d, c) in enumerate(zip(days, closes))]
    words = ["source=bars", "mechanism=impact", "assets=1", "market_makers=0", "informed=0", "momentum=0", "horizon=5", "--episodes", "2"]
    out = []
    for header in ("ticker,date,open,high,low,close,adj_close,volume", "Ticker,Date,Open,High,Low,Close,Adj Close,Volume"):
        path = tmp_path / f"{header[0]}.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        out.append(marl("traders", f"bars={path}", *words))
    assert out[0].code == 0 and out[0].err == "" and out[0] == out[1]


def test_a_folder_without_a_manifest_has_no_files(tmp_path: Path) -> None:
    assert run_data.found_again(RunFolder(tmp_path), {"env": {"name": "x"}}) == {"env": {"name": "x"}}
    assert run_data.differences(RunFolder(tmp_path)) == []
