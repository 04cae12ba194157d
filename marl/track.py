"""What a run writes down while it runs: metrics.jsonl, timings.jsonl, and the trackers beside them.

A row is on disk (fsync) before the checkpoint that counts it, and a checkpoint holds the byte offset behind its last
row. A resumed run cuts the file back to that offset and writes the same rows again; therefore metrics.jsonl knows no
wall clock. Trackers cannot be cut back: they get a row only once a checkpoint covers it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NoReturn, Protocol

from marl import system
from marl.disk import told
from marl.errors import UserError
from marl.system import sync_folder

BLOCK = 1 << 16
Row = dict[str, float]


class Tracker(Protocol):
    """Whoever is told a run's metrics: W&B, TensorBoard, a progress bar."""

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics by name at `step` environment steps."""

    def close(self) -> None:
        """No more rows will come."""


class MetricsLog:
    """metrics.jsonl: one JSON object a line, `step` first and the other keys sorted, floats exact.

    `offset` is the end of the last whole row, in bytes. Half a row that a killed process or a full disk left is removed.
    """

    durable = True
    """A row is on disk when `append` returns."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with told("open", self.path):
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | system.OPEN, 0o644)
            self.offset = _end_of_rows(self._file, os.fstat(self._file).st_size)
            os.ftruncate(self._file, self.offset)
            sync_folder(self.path.parent)
        self._digest = self._read(self.offset)

    @property
    def digest(self) -> str:
        """SHA-256 of the rows so far."""
        return self._digest.hexdigest()

    def _read(self, size: int) -> Any:
        """The running digest of the first `size` bytes."""
        with self.path.open("rb") as file:
            return hashlib.sha256(file.read(size))

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Write a row. One that cannot be written leaves file and offset as they were: UserError."""
        row = _encoded(self._columns(step, values))
        with told("write", self.path):
            try:
                sent = 0
                while sent < len(row):
                    sent += system.pwrite(self._file, row[sent:], self.offset + sent)
                if self.durable:
                    os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self.offset)
                raise
        self.offset += len(row)
        self._digest.update(row)

    def _columns(self, step: int, values: Mapping[str, float]) -> Row:
        return plain(self.path, step, values)

    def cut(self, offset: int) -> None:
        """Remove what stands behind `offset`, the end of a row that a checkpoint counted."""
        with told("cut", self.path):
            size = os.fstat(self._file).st_size
            if not 0 <= offset <= size:
                raise UserError(
                    f"{self.path} has {size} bytes: the checkpoint counts {offset}, the file was shortened or replaced after it"
                )
            if _end_of_rows(self._file, offset) != offset:
                raise UserError(f"{self.path}: no row ends at byte {offset}, which the checkpoint counts, the file was changed after it")
            os.ftruncate(self._file, offset)
            os.fsync(self._file)
        self.offset, self._digest = offset, self._read(offset)

    def close(self) -> None:
        """Give the file back; the log takes no more rows."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


class TimingsLog(MetricsLog):
    """timings.jsonl: rows with the wall clock as `time` (s since 1970). It is history: a resumed run adds to it and cuts nothing."""

    durable = False

    def _columns(self, step: int, values: Mapping[str, float]) -> Row:
        if "time" in values:
            raise UserError(f"{self.path}: key 'time' is the log's own, give {values['time']!r} another name")
        return plain(self.path, step, {**values, "time": time.time()})


class Pending:
    """A run's rows: in the log at once, with the trackers as soon as a checkpoint covers them.

    A checkpoint is written with `state_dict()`, then `release(offset)` hands its rows on. A run that is killed between
    the two has trackers that lack rows; so a resumed run hands on again what came after the last release that the
    checkpoint knows of: a tracker meets a row twice then, with the same step and values, but never misses one and
    never has one that the resumed run takes back.
    """

    def __init__(self, log: MetricsLog, trackers: Sequence[Tracker] = ()) -> None:
        self._log, self._trackers = log, tuple(trackers)
        self._rows: list[tuple[int, Row]] = []  # (end in bytes, row)
        self._released = log.offset

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Write a row; trackers wait for it."""
        self._log.append(step, values)
        self._rows.append((self._log.offset, plain(self._log.path, step, values)))

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: bytes that it covers, their digest, and bytes whose rows the trackers have."""
        return {"offset": self._log.offset, "digest": self._log.digest, "released": self._released}

    def release(self, offset: int) -> None:
        """A checkpoint that covers `offset` bytes is on disk: hand its rows to the trackers."""
        if not self._released <= offset <= self._log.offset:
            raise UserError(f"{self._log.path}: release of byte {offset}, legal range is [{self._released}, {self._log.offset}]")
        while self._rows and self._rows[0][0] <= offset:
            end, row = self._rows.pop(0)
            self._hand(row)
            self._released = end
        self._released = offset

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Resume: cut the log back to what the checkpoint covers, and hand on what the trackers may lack of it."""
        self._log.cut(saved["offset"])
        self._rows.clear()
        for row in read_metrics(self._log.path, start=saved["released"]):
            self._hand(row)
        self._released = saved["offset"]

    def _hand(self, row: Row) -> None:
        values = {key: value for key, value in row.items() if key != "step"}
        for tracker in self._trackers:
            tracker.row(int(row["step"]), values)

    def close(self) -> None:
        """Close log and trackers. Rows that no checkpoint covers stay in the log alone: a resumed run writes them again."""
        self._log.close()
        for tracker in self._trackers:
            tracker.close()


def plain(path: Path, step: int, values: Mapping[str, float]) -> Row:
    """`step`, then the values by sorted key, as Python's numbers. Refuses by key what is no finite number."""
    if not isinstance(step, Integral) or isinstance(step, bool) or step < 0:
        raise UserError(f"{path}: step = {step!r}: legal are whole numbers from 0")
    row: Row = {"step": int(step)}
    for key in sorted(values):
        value = values[key]
        if key == "step":
            raise UserError(f"{path}: key 'step' is the row's own, give {value!r} another name")
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise UserError(f"{path}: {key} = {value!r} at step {step}: a finite number is expected")
        row[key] = int(value) if isinstance(value, Integral) else float(value)
    return row


def _encoded(row: Row) -> bytes:
    return json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_metrics(path: str | os.PathLike[str], start: int = 0) -> list[Row]:
    """Rows of a metrics.jsonl or timings.jsonl from byte `start` on. What is no whole row is refused by file and line."""
    with told("read", Path(path)):
        data = Path(path).read_bytes()
    first = data.count(b"\n", 0, start) + 1
    lines = data[start:].split(b"\n")
    if lines.pop():
        raise UserError(f"{path} line {first + len(lines)}: the row is cut off, a killed run that is resumed mends it")
    return [_decoded(line, f"{path} line {first + i}") for i, line in enumerate(lines)]


def _decoded(line: bytes, where: str) -> Row:
    try:
        row: Any = json.loads(line, parse_constant=_refused_constant)
    except ValueError as error:
        raise UserError(f"{where}: {error}, one JSON object of numbers is expected") from error
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise UserError(f"{where}: {line[:40]!r}, an object with a whole number 'step' is expected")
    for key, value in row.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise UserError(f"{where}: {key} = {value!r}, a number is expected")
    return row


def _refused_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def _end_of_rows(file: int, size: int) -> int:
    """Bytes up to and with the last line end among the first `size`."""
    while size > 0:
        low = max(0, size - BLOCK)
        found = system.pread(file, size - low, low).rfind(b"\n")
        if found >= 0:
            return low + found + 1
        size = low
    return 0
