"""The metrics file: exact bytes, cut back on resume, whole rows under a full disk; trackers behind the checkpoint."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl.errors import UserError
from marl.track import BLOCK, MetricsLog, Pending, TimingsLog, read_metrics

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


class Told:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def row(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def close(self) -> None:
        self.closed = True


def test_rows_are_compact_sorted_and_exact(path: Path) -> None:
    log = MetricsLog(path)
    log.append(0, {"loss/b": 0.1, "loss/a": np.float32(0.1), "n": np.int64(3)})
    log.append(128, {})
    assert path.read_text() == '{"step":0,"loss/a":0.10000000149011612,"loss/b":0.1,"n":3}\n{"step":128}\n'
    assert log.offset == path.stat().st_size


@given(st.lists(st.tuples(st.integers(0, 2**40), st.dictionaries(st.text(min_size=1), FINITE | st.integers(-(2**60), 2**60)))))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, dict[str, float]]]) -> None:
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    log = MetricsLog(path)
    rows = [(step, {k: v for k, v in values.items() if k != "step"}) for step, values in rows]
    for step, values in rows:
        log.append(step, values)
    log.close()
    assert read_metrics(path) == [{"step": step, **values} for step, values in rows]


def test_metrics_know_no_wall_clock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path.with_name("other.jsonl")
    MetricsLog(path).append(1, {"a": 1.0})
    monkeypatch.setattr(time, "time", lambda: 1e12)
    MetricsLog(other).append(1, {"a": 1.0})
    assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), "high", None, True, np.zeros(2), 1j])
def test_what_is_no_finite_number_is_refused_by_key(path: Path, value: Any) -> None:
    log = MetricsLog(path)
    with pytest.raises(UserError, match=r"loss/actor = .* at step 7: a finite number is expected"):
        log.append(7, {"a": 1.0, "loss/actor": value})
    assert log.offset == path.stat().st_size == 0


@pytest.mark.parametrize("step", [-1, 1.0, True, None])
def test_bad_step_is_refused(path: Path, step: Any) -> None:
    with pytest.raises(UserError, match=r"metrics.jsonl: step = .*: legal are whole numbers from 0"):
        MetricsLog(path).append(step, {})


def test_keys_of_the_log_are_refused(path: Path) -> None:
    with pytest.raises(UserError, match="key 'step' is the row's own"):
        MetricsLog(path).append(1, {"step": 2.0})
    with pytest.raises(UserError, match="key 'time' is the log's own"):
        TimingsLog(path).append(1, {"time": 2.0})


def test_cut_and_rewritten_is_the_file_that_was_never_cut(path: Path) -> None:
    log = MetricsLog(path)
    offsets = []
    for step in range(10):
        log.append(step, {"a": step / 3})
        offsets.append(log.offset)
    whole = path.read_bytes()
    for kept in (9, 4, 0):
        log.cut(offsets[kept])
        assert path.read_bytes() == whole[: offsets[kept]]
        for step in range(kept + 1, 10):
            log.append(step, {"a": step / 3})
        assert path.read_bytes() == whole
    log.cut(0)
    assert path.read_bytes() == b""


def test_a_file_that_the_checkpoint_does_not_know_is_refused(path: Path) -> None:
    log = MetricsLog(path)
    log.append(1, {"a": 1.0})
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"metrics.jsonl has {len(before)} bytes: the checkpoint counts {len(before) + 1}"):
        log.cut(len(before) + 1)
    with pytest.raises(UserError, match="no row ends at byte 3"):
        log.cut(3)
    with pytest.raises(UserError, match="the checkpoint counts -1"):
        log.cut(-1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("half", [b'{"step":2,"a', b"x" * (3 * BLOCK)])
def test_half_a_row_of_a_killed_process_is_removed(path: Path, half: bytes) -> None:
    whole = b'{"step":1}\n'
    path.write_bytes(whole + half)
    log = MetricsLog(path)
    assert log.offset == len(whole)
    log.append(2, {})
    assert path.read_bytes() == b'{"step":1}\n{"step":2}\n'
    path.write_bytes(half)
    assert MetricsLog(path).offset == 0


@pytest.mark.parametrize("failing", ["pwrite", "fsync"])
@pytest.mark.parametrize("first", [0, 7])
def test_full_disk_is_one_line_and_leaves_whole_rows(path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, first: int) -> None:
    """The disk takes `first` bytes of the row, or all, and then no more."""
    log = MetricsLog(path)
    log.append(1, {"a": 1.0})
    before, offset, real = path.read_bytes(), log.offset, os.pwrite
    calls: list[int] = []

    def full(*given: Any) -> int:
        calls.append(1)
        if failing == "pwrite" and len(calls) == 1 and first:
            return real(given[0], given[1][:first], given[2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(UserError, match=r"^cannot write .*metrics.jsonl: No space left on device$"):
            log.append(2, {"a": 2.0})
        assert calls
    assert (path.read_bytes(), log.offset) == (before, offset)
    log.append(2, {"a": 2.0})
    assert [r["step"] for r in read_metrics(path)] == [1, 2]


FULL = """
import resource, sys
from marl.errors import UserError
from marl.track import MetricsLog
log = MetricsLog(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    for step in range(100):
        log.append(step, {"a": 1.0})
except UserError as error:
    print(log.offset, error)
    raise SystemExit(2)
"""


def test_limit_of_the_system_is_one_line_and_leaves_whole_rows(path: Path) -> None:
    """A real refusal in the middle of a row: the system lets the file grow to 100 bytes and no further."""
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    offset, _, message = done.stdout.partition(" ")
    assert message.strip() == f"cannot write {path}: File too large"
    assert int(offset) == path.stat().st_size <= 100
    assert [r["step"] for r in read_metrics(path)] == list(range(5))


def test_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^cannot open .*: No such file or directory$"):
        MetricsLog(tmp_path / "missing" / "metrics.jsonl")
    with pytest.raises(UserError, match=r"^cannot read .*: No such file or directory$"):
        read_metrics(tmp_path / "missing.jsonl")
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.close()
    log.close()
    with pytest.raises(UserError, match="cannot write"):
        log.append(1, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step":1}\n{"step":2', "line 2: the row is cut off"),
        ('{"step":1}\n\n', "line 2: .*one JSON object"),
        ('{"step":1}\n{"step":2,"a":NaN}\n', "line 2: NaN is no finite number"),
        ('{"step":1,"a":Infinity}\n', "line 1: Infinity is no finite number"),
        ("[1]\n", "line 1: .*whole number 'step'"),
        ('{"a":1}\n', "line 1: .*whole number 'step'"),
        ('{"step":1.5}\n', "line 1: .*whole number 'step'"),
        ('{"step":1,"a":"x"}\n', "line 1: a = 'x', a number"),
        ('{"step":1,"a":true}\n', "line 1: a = True, a number"),
        ("\xff\xfe\n", "line 1: .*one JSON object"),
    ],
)
def test_broken_rows_are_refused_by_file_and_line(path: Path, text: str, message: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=rf"metrics.jsonl {message}"):
        read_metrics(path)


def test_timings_have_the_wall_clock_and_are_history(path: Path) -> None:
    before = time.time()
    TimingsLog(path).append(5, {"steps_per_second": 10.0})
    TimingsLog(path).append(5, {"steps_per_second": 11.0})
    rows = read_metrics(path)
    assert [r["steps_per_second"] for r in rows] == [10.0, 11.0]
    assert before <= rows[0]["time"] <= rows[1]["time"] <= time.time()


def test_trackers_wait_for_the_checkpoint(path: Path) -> None:
    told, other = Told(), Told()
    pending = Pending(MetricsLog(path), [told, other])
    pending.row(1, {"a": np.float32(0.5)})
    saved = pending.state_dict()
    pending.row(2, {"a": 2.0})
    assert told.rows == []
    pending.release(saved["offset"])
    assert told.rows == other.rows == [(1, {"a": 0.5})]
    assert json.loads(path.read_text().splitlines()[1]) == {"step": 2, "a": 2.0}
    pending.release(pending.state_dict()["offset"])
    assert [step for step, _ in told.rows] == [1, 2]
    pending.close()
    assert told.closed and other.closed


def test_release_of_what_is_not_written_is_refused(path: Path) -> None:
    pending = Pending(MetricsLog(path))
    pending.row(1, {})
    end = pending.state_dict()["offset"]
    pending.release(end)
    for offset in (end + 1, end - 1):
        with pytest.raises(UserError, match=rf"release of byte {offset}, legal range is \[{end}, {end}\]"):
            pending.release(offset)


@given(st.lists(st.sampled_from(["row", "checkpoint", "killed before release", "killed"]), max_size=30))
def test_killed_runs_leave_the_rows_of_one_that_was_not(tmp_path_factory: pytest.TempPathFactory, events: list[str]) -> None:
    """However often a run is killed, its file ends as if it never was, and trackers have each covered row, in order."""
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    told = Told()
    pending, step, saved = Pending(MetricsLog(path), [told]), 0, ({"offset": 0, "released": 0}, 0)
    for event in events:
        if event == "row":
            step += 1
            pending.row(step, {"a": step / 7})
            continue
        if event != "killed":
            saved = (pending.state_dict(), step)
        if event == "checkpoint":
            pending.release(saved[0]["offset"])
            assert {s for s, _ in told.rows} == set(range(1, step + 1))
            continue
        pending = Pending(MetricsLog(path), [told])
        pending.load_state_dict(saved[0])
        step = saved[1]
        assert {s for s, _ in told.rows} == set(range(1, step + 1))
    assert path.read_text() == "".join(json.dumps({"step": s, "a": s / 7}, separators=(",", ":")) + "\n" for s in range(1, step + 1))
    assert all(values == {"a": s / 7} for s, values in told.rows)
