"""W&B and TensorBoard beside metrics.jsonl.

Rows come once a checkpoint covers them; after a kill some come again. A file beside the checkpoint says up to which
step the trackers were told, so that nobody is told a row twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.run_folder import RunFolder, write
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


class Wandb:
    """A Weights & Biases run; offline, in the run folder, where neither WANDB_API_KEY nor WANDB_MODE is set."""

    def __init__(self, folder: RunFolder, config: Mapping[str, Any], run_id: str) -> None:
        import wandb

        tracker = config["tracker"]
        offline = "WANDB_API_KEY" not in os.environ and "WANDB_MODE" not in os.environ
        self._run = wandb.init(
            project=tracker["project"],
            group=tracker["group"],
            job_type=tracker["job_type"],
            tags=list(tracker["tags"]),
            id=run_id,
            name=folder.path.name,
            resume="allow",
            config=dict(config),
            dir=str(folder.path),
            mode="offline" if offline else None,
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics by name at `step` environment steps."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the W&B run; everything is on disk afterwards."""
        self._run.finish()


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


def start(folder: RunFolder, config: Mapping[str, Any], run_id: str) -> list[Tracker]:
    """The trackers that the configuration names, behind one that lets no row through twice; none where it names none."""
    kinds = config["tracker"]["kinds"]
    made: list[Tracker] = [Wandb(folder, config, run_id)] if "wandb" in kinds else []
    if "tensorboard" in kinds:
        made.append(TensorBoard(folder))
    return [Once(folder, made)] if made else []
