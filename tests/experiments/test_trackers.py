"""W&B and TensorBoard get every row once, and what they were told arrived."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import trackers
from experiments.compose import compose
from experiments.run_folder import RunFolder, create
from marl.errors import UserError
from tests.experiments.conftest import python


class Listener:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def row(self, step: int, values: Any) -> None:
        self.rows.append((step, dict(values)))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create(tmp_path / "run", compose(["env=harvest", "tracker=both", "tracker.group=g", "tracker.tags=[a,b]"]).config)


def test_rows_that_come_again_are_left_out(folder: RunFolder) -> None:
    first = Listener()
    before = trackers.Once(folder, [first])
    for step in (0, 10, 20, 20, 10):
        before.row(step, {"x": float(step)})
    again = Listener()
    resumed = trackers.Once(folder, [again])
    for step in (10, 20, 30):
        resumed.row(step, {"x": float(step)})
    resumed.close()
    assert [step for step, _ in first.rows] == [0, 10, 20]
    assert again.rows == [(30, {"x": 30.0})]
    assert (first.closed, again.closed) == (False, True)


def test_a_tracker_that_fails_is_not_told_twice(folder: RunFolder) -> None:
    class Failing(Listener):
        def row(self, step: int, values: Any) -> None:
            super().row(step, values)
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError, match="killed here"):
        trackers.Once(folder, [Failing()]).row(5, {"x": 1.0})
    after = Listener()
    trackers.Once(folder, [after]).row(5, {"x": 1.0})
    assert after.rows == []


def test_broken_cursor(folder: RunFolder) -> None:
    folder.cursor.write_text("{}")
    with pytest.raises(UserError, match=r"trackers\.json"):
        trackers.told(folder)


def test_no_trackers_by_default(folder: RunFolder) -> None:
    with trackers.opened(folder, compose(["env=harvest"]).config, "id") as told:
        told.row(0, {"x": 1.0})
        assert told.conclude({}) == []
    assert {p.name for p in folder.path.iterdir()} == {".lock", "config.yaml", "manifest.json"}


def test_nothing_begins_before_the_first_row(folder: RunFolder) -> None:
    """A run that is refused before it leaves nothing at W&B."""
    with trackers.opened(folder, folder.read_config(), "id") as told:
        assert trackers.of(folder) is told
    assert {p.name for p in folder.path.iterdir()} == {".lock", "config.yaml", "manifest.json"}


ROWS = """
import sys
from pathlib import Path
from experiments.run_folder import RunFolder
from experiments.trackers import opened
from marl.track import MetricsLog
folder = RunFolder(Path(sys.argv[1]))
log = MetricsLog(folder.metrics)
with opened(folder, folder.read_config(), folder.read_manifest()["id"]) as told:
    for step in map(int, sys.argv[2:]):
        log.append(step, {"evaluation/return": step / 10})
        told.row(step, {"evaluation/return": step / 10})
    report = {"step": 30, "return": {"mean": 2.5, "low": 2.0, "episodes": 4}, "scores": {}, "score": None, "together": None,
              "metrics": {"stock": 7.0}, "baselines": {"random": {"return": {"mean": 1.5}}}}
    print(*told.conclude(report), sep="\\n")
"""


def test_what_arrived_in_two_sessions_of_a_run(folder: RunFolder) -> None:
    """Group, tags, job type, name and one id in both. The second has the whole history and the summary says to send it; TensorBoard has
    every row once. Nothing is sent: W&B is offline."""
    python(ROWS, str(folder.path), "0", "10", "20")
    said = python(ROWS, str(folder.path), "30")
    sessions = sorted((folder.path / "wandb").glob("offline-run-*"))
    records = [_records(session) for session in sessions]
    assert len(sessions) == 2
    for session in records:
        (run,) = [r["run"] for r in session if r["type"] == "run"]
        assert (run["run_group"], run["tags"], run["job_type"], run["project"]) == ("g", ["a", "b", "seed0"], "train", "market-marl")
        assert (run["run_id"], run["display_name"]) == (folder.read_manifest()["id"], "harvest-ippo-s0")
        assert run["config"]["update"]["env"]["name"] == "harvest"
        assert run["config"]["update"]["manifest"]["versions"]["numpy"]
        assert run["telemetry"]["feature"]["offline"]
        summary = {key: value for r in session if r["type"] == "summary" for key, value in r["summary"]["update"].items()}
        assert (summary["final/return"], summary["final/return/low"], summary["final/metric/stock"]) == (2.5, 2.0, 7.0)
        assert (summary["final/baseline/random"], summary["final/step"]) == (1.5, 30)
    history = [[_row(r["history"]) for r in session if r["type"] == "history"] for session in records]
    assert history == [[(0, 0.0), (10, 1.0), (20, 2.0)], [(0, 0.0), (10, 1.0), (20, 2.0), (30, 3.0)]]
    assert said.splitlines()[0].startswith(f"W&B: offline in {sessions[1]} (it has all rows of the run, also those of 1 earlier")
    assert said.splitlines()[1] == f"send it with: wandb sync {sessions[1]}"
    assert _events(folder) == [(0, 0.0), (10, 1.0), (20, 2.0), (30, 3.0)]


def _records(session: Path) -> list[dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(session)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def _row(history: dict[str, Any]) -> tuple[int, float]:
    return history["item"]["_step"], history["item"]["evaluation/return"]


def _events(folder: RunFolder) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder.path / "tensorboard"))
    read.Reload()
    return [(event.step, round(event.value, 6)) for event in read.Scalars("evaluation/return")]
