"""One run of a sweep: made, or continued where the same command made it before, and its row of the sweep's table.

Beside what every run has, its folder holds `sweep.json`: the row, written last, and the hash of the configuration that it is of.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import documents
from experiments.compose import Setup, compose, in_folder, resolve
from experiments.lineage import earlier
from experiments.run_folder import RunFolder, config_hash, taken, write
from experiments.stored import stored
from experiments.trust import chosen
from marl.errors import UserError

if TYPE_CHECKING:
    from experiments.training import Result
    from marl.schedule import Progress

RECORD = "sweep.json"


class Value(float):
    """What a run is worth to a sweeper that searches (score, else return; the worst where it failed), and its row of the table."""

    row: dict[str, Any]

    def __new__(cls, value: float, row: dict[str, Any]) -> Value:
        made = super().__new__(cls, value)
        made.row = row
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Value, (float(self), self.row)


def job(config: Any) -> Value:
    """A run that Hydra's sweeper and launcher ask for, perhaps in another process; its row says how it ended, and nothing is raised."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from experiments.cli import load_modules

    folder, lines = Path(HydraConfig.get().runtime.output_dir), list(HydraConfig.get().overrides.task)

    def finish() -> tuple[float, dict[str, Any]]:
        load_modules(OmegaConf.to_container(config.modules))  # type: ignore[arg-type]
        config.run_dir = str(folder)
        setup = resolve(config)
        chosen(setup.config)
        return settle(setup, folder)

    value, row = outcome(finish)
    row = {"folder": str(folder), "overrides": lines, **row}
    if "error" not in row or not (folder / RECORD).exists():  # a row of a run that is done is not replaced by a refusal
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / RECORD, json.dumps(row) + "\n")
    return Value(worst(HydraConfig.get().sweeper) if "error" in row else value, row)


def worst(sweeper: Any) -> float:
    """What a run that failed is worth to a sweeper: the worst that there is in its direction, as nan ends a search of Optuna's."""
    direction = str(sweeper.direction).lower() if "direction" in sweeper else ""
    return -inf if "maximize" in direction else inf if "minimize" in direction else nan


def outcome(finish: Any) -> tuple[float, dict[str, Any]]:
    """(value, row) of a run, also of one that is refused or raises."""
    try:
        value, row = finish()
    except UserError as error:
        return nan, {"ended": "refused", "error": str(error)}
    except Exception as error:
        traceback.print_exc()
        line = (str(error).splitlines() or [""])[0]
        return nan, {"ended": "failed", "error": f"{type(error).__name__}: {line}"}
    return value, row


def work(alone: bool, task: tuple[int, list[str], Path], pipe: Any) -> None:
    """The process of a run: how far it is and how it ended goes into `pipe`; the only one at a time shows its progress itself."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed process leaves behind
    _, lines, folder = task

    def told(progress: Progress) -> None:
        pipe.send(("progress", progress.steps, progress.total, progress.row.get("evaluation/return")))

    def finish() -> tuple[float, dict[str, Any]]:
        from experiments.training import with_modules

        return settle(compose([*with_modules(lines, []), in_folder(folder)]), folder, quiet=not alone, told=told)

    try:
        _, row = outcome(finish)
    except KeyboardInterrupt:
        row = {"ended": "failed", "error": "interrupted"}
    sys.stderr.flush()
    pipe.send(("done", row))


def settle(setup: Setup, path: Path, **how: Any) -> tuple[float, dict[str, Any]]:
    """(value, row) of a run: what is done is read, what was interrupted goes on, what is not there begins. Raises UserError."""
    from experiments import training

    check(setup, path)
    found = done(setup, path)
    if found is not None:
        return found["value"], found
    folder = RunFolder(path)
    if taken(folder) is None:
        result = training.begin(setup, **how)
    else:
        grown = folder.read_manifest()["config_hash"] != config_hash(setup.config)  # by marl resume, since
        result = training.execute(stored(folder) if grown else setup, folder, resume=True, **how)
    row = _row(result)
    record = {"config_hash": config_hash(setup.config), "folder": str(path), "value": result.best_score, **row}
    write(path / RECORD, json.dumps(record) + "\n")
    return result.best_score, record


def _row(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, kept in result.report["checkpoints"].items():
        row |= {f"{name} score": (kept["score"] or {}).get("mean"), f"{name} return": kept["return"]["mean"], f"{name} step": kept["step"]}
    return row


def check(setup: Setup, path: Path) -> None:
    """Raise UserError where another run is in the folder than this one; what never came to its first checkpoint is replaced."""
    folder = RunFolder(path)
    if setup.config["ensemble"]["members"]:
        raise UserError("ensemble.members: an ensemble is trained by marl train without -m, legal is [] here")
    if taken(folder) is None:
        return
    if not folder.config.exists() or not _same(folder, setup):
        raise UserError(f"{path} holds a run of another configuration{_difference(folder, setup)}: name another run_dir")


def _same(folder: RunFolder, setup: Setup) -> bool:
    """Whether the run in a folder was made with this configuration."""
    if not folder.manifest.exists():
        return False
    manifest = folder.read_manifest()
    return config_hash(setup.config) in (manifest["config_hash"], *earlier(manifest))


def _difference(folder: RunFolder, setup: Setup) -> str:
    """The keys in which the configurations differ, in brackets."""
    from experiments.seed_run import flat

    if not folder.config.exists():
        return ""
    there, wanted = dict(flat(folder.read_config())), dict(flat(setup.config))
    keys = [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]
    return f" ({', '.join(f'{key} = {there.get(key)}, now {wanted.get(key)}' for key in keys[:3])})" if keys else ""


def done(setup: Setup, path: Path) -> dict[str, Any] | None:
    """The row of a run that is done, None where it is not, or was made with another configuration."""
    if not (path / RECORD).exists():
        return None
    found: dict[str, Any] = documents.read_json(path / RECORD)
    return found if found.get("config_hash") == config_hash(setup.config) and RunFolder(path).last.exists() else None


def recorded(root: Path) -> list[dict[str, Any]]:
    """The rows that are written in a sweep's folders, in their order."""
    paths: Sequence[Path] = sorted((p for p in root.glob(f"*/{RECORD}") if p.parent.name.isdecimal()), key=lambda p: int(p.parent.name))
    rows: list[Mapping[str, Any]] = [documents.read_json(path) for path in paths]
    return [{"overrides": [path.parent.name], **row} for path, row in zip(paths, rows)]
