"""W&B (`experiments.wandb_run`) and TensorBoard beside metrics.jsonl.

Rows come once a checkpoint covers them; after a kill some come again. A file beside the checkpoint says up to which
step TensorBoard was told, so that it is told no row twice. W&B is asked what it has: it may have lost what it was told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from experiments.run_folder import RunFolder, write
from experiments.wandb_run import Wandb
from marl.errors import UserError
from marl.track import Tracker


class Once:
    """Hands every row on at most once, over all resumptions of a run: the step is written down before the row is handed on."""

    def __init__(self, folder: RunFolder, trackers: Sequence[Tracker]) -> None:
        self._path, self._trackers = folder.cursor, tuple(trackers)
        self._told = told(folder)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics by name at `step` environment steps; a step that was told before is left out."""
        if step <= self._told:
            return
        write(self._path, json.dumps({"step": step}) + "\n")
        self._told = step
        for tracker in self._trackers:
            tracker.row(step, values)

    def close(self) -> None:
        """No more rows will come."""
        for tracker in self._trackers:
            tracker.close()


def told(folder: RunFolder) -> int:
    """Environment steps up to which the trackers have rows; -1 before the first."""
    if not folder.cursor.exists():
        return -1
    try:
        return int(json.loads(folder.cursor.read_text())["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{folder.cursor}: {error!r}, an object like {{"step": 1000}} is expected') from error


class TensorBoard:
    """Event files in the run folder."""

    def __init__(self, folder: RunFolder) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder.path / "tensorboard"))

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics by name at `step` environment steps."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class Trackers:
    """The trackers of a run, as the one that it tells. They begin with the first row: a run that is refused before it leaves nothing there.

    The run's rows end (`close`) before its final evaluation does, which `conclude` tells; `finish` is the end.
    """

    def __init__(self, folder: RunFolder, config: Mapping[str, Any], run_id: str) -> None:
        self._folder, self._config, self._id = folder, config, run_id
        self._board: Once | None = None
        self._wandb: Wandb | None = None

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics by name at `step` environment steps."""
        self._begin(step)
        for tracker in (self._board, self._wandb):
            if tracker is not None:
                tracker.row(step, values)

    def catch_up(self) -> None:
        """A run goes on: W&B gets what it lacks of the rows so far, each of which a checkpoint covers, though no new one may come."""
        self._begin(None)

    def _begin(self, step: int | None) -> None:
        kinds = self._config["tracker"]["kinds"]
        if "tensorboard" in kinds and self._board is None:
            self._board = Once(self._folder, [TensorBoard(self._folder)])
        if "wandb" in kinds and self._wandb is None:
            self._wandb = Wandb(self._folder, self._config, self._id)
            self._wandb.catch_up(step)

    def close(self) -> None:
        """The run's rows have ended."""

    def conclude(self, report: Mapping[str, Any]) -> list[str]:
        """Tell the final evaluation; returns lines for the summary: where the rows are, and how they get to where they are not."""
        return [] if self._wandb is None else self._wandb.conclude(report)

    def finish(self) -> None:
        """Nothing more will come."""
        for tracker in (self._board, self._wandb):
            if tracker is not None:
                tracker.close()


@contextmanager
def opened(folder: RunFolder, config: Mapping[str, Any], run_id: str) -> Iterator[Trackers]:
    """The trackers that the configuration names, which finish with the context however it ends; found by `of` within it."""
    _open[folder.path] = told = Trackers(folder, config, run_id)
    try:
        yield told
    finally:
        del _open[folder.path]
        told.finish()


_open: dict[Any, Trackers] = {}


def of(folder: RunFolder) -> Trackers:
    """The open trackers of a run."""
    return _open[folder.path]
