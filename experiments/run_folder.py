"""A run's folder: what lies where in it, and the refusal to write one run over another.

Who makes a folder holds its lock from before the first look until the run has ended, so that two that are started in one instant never
touch each other's files. The manifest is written first and config.yaml behind it; what never came to its first checkpoint keeps nobody out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments import documents, run_data
from marl.disk import Busy, claim
from marl.errors import UserError
from marl.remains import beyond_start

PACKAGES = ("market-marl", "torch", "tianshou", "numpy", "numba", "pettingzoo", "gymnasium", "hydra-core")
"""Whose versions a manifest records."""
IDENTITY = ("id", "config_hash", "git")
"""Keys of a manifest that are read back."""
LOCK = ".lock"
"""The file that a run holds while it writes (`marl.track.claim`)."""
SAME_NUMBERS = ("run_dir", "log_level", "profile", "tracker")
"""Keys of the configuration that change no number of a run: they stay out of its hash."""


class Hold:
    """The lock on a folder, given back once. `made`: whether the folder was made with it."""

    def __init__(self, folder: Path, made: bool = False) -> None:
        self._file, self.made = claim(folder), made

    @property
    def held(self) -> bool:
        """Whether it was not given back yet."""
        return self._file >= 0

    def release(self) -> None:
        """Give it back."""
        if self.held:
            os.close(self._file)
        self._file = -1


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run. `create` makes a new one, with its lock in `hold`; `find` opens one that is there."""

    path: Path
    hold: Hold | None = field(default=None, compare=False, repr=False)

    @contextmanager
    def held(self) -> Iterator[RunFolder]:
        """The folder while its lock is held: the one that it has, else a new one. Given back in the end. Raises Busy."""
        kept = self.hold if self.hold is not None and self.hold.held else Hold(self.path)
        try:
            yield replace(self, hold=kept)
        finally:
            kept.release()

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.path / "config.yaml"

    @property
    def manifest(self) -> Path:
        """Where the run comes from: commit, versions, seed, W&B id, hash of the configuration."""
        return self.path / "manifest.json"

    @property
    def log(self) -> Path:
        """Structured log, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def metrics(self) -> Path:
        """One object a line by environment step; no wall clock in it."""
        return self.path / "metrics.jsonl"

    @property
    def timings(self) -> Path:
        """The wall clock of the rows."""
        return self.path / "timings.jsonl"

    @property
    def last(self) -> Path:
        """The newest checkpoint, whole."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The policies of the best evaluation: of a team that is paid together, or of a single learner."""
        return self.path / "best.pt"

    def checkpoint(self, asked: str) -> str:
        """The checkpoint that is meant: "result" is the best where there is one, else the last. Raises UserError for a best that is not."""
        if asked == "result":
            return "best" if self.best.exists() else "last"
        if asked == "best" and not self.best.exists() and self.last.exists():
            raise UserError(
                f"{self.path} has no best.pt: where several learn for themselves there is no best, and none before the first update; "
                "legal is last"
            )
        return asked

    @property
    def evaluation(self) -> Path:
        """The final evaluation: return, score, baselines."""
        return self.path / "evaluation.json"

    @property
    def cursor(self) -> Path:
        """How far the trackers have been told."""
        return self.path / "trackers.json"

    def read_config(self) -> dict[str, Any]:
        """The configuration as nested dicts. Raises UserError where it is no YAML mapping."""
        values = documents.read_yaml(self.config)
        if not isinstance(values, dict):
            raise UserError(f"{self.config}: a table of keys is expected")
        return values

    def read_manifest(self) -> dict[str, Any]:
        """The manifest. Raises UserError where it is no JSON object."""
        values = documents.read_json(self.manifest)
        missing = [key for key in IDENTITY if not isinstance(values, dict) or key not in values]
        if missing:
            raise UserError(f"{self.manifest}: key {missing[0]!r} is missing, an object with {', '.join(IDENTITY)} is expected")
        return dict(values)


def create(path: Path, config: Mapping[str, Any]) -> RunFolder:
    """Make the folder of a new run, claim it, and write manifest.json and config.yaml. Raises UserError where a run is in it already.

    What a run left there that never came to its first checkpoint is replaced. The lock is the caller's to give back: `RunFolder.held`.
    """
    folder = RunFolder(path)
    _refuse_taken(folder)  # before anything is touched; the look that counts is the one under the lock
    text = documents.yaml_text(config, str(folder.config))
    folder = replace(folder, hold=_entered(path))
    try:
        _refuse_taken(folder)
    except UserError:
        folder.hold.release()  # type: ignore[union-attr]
        raise
    try:
        _clear(folder)
        write(folder.manifest, json.dumps(manifest(config), indent=2) + "\n")
        write(folder.config, text)
    except BaseException:
        discard(folder)
        raise
    return folder


def taken(folder: RunFolder) -> str | None:
    """What says that a run is in a folder; None where there is none, or one that never came to its first checkpoint."""
    found = beyond_start(folder.path) or (folder.evaluation.name if folder.evaluation.exists() else None)
    if found is None and not folder.manifest.exists():
        return next((p.name for p in (folder.config, folder.metrics) if p.exists()), None)  # of somebody who took files away
    return found


def _refuse_taken(folder: RunFolder) -> None:
    found = taken(folder)
    if found is not None:
        raise UserError(
            f"run_dir = {str(folder.path)!r} holds a run ({found}): name another folder, or continue it with: marl resume {folder.path}"
        )


def _entered(path: Path) -> Hold:
    """The lock on a folder that is made where it is not there. Raises Busy where another run has it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
            made = True
        except FileExistsError:
            made = False
        try:
            return Hold(path, made)
        except Busy as error:
            raise Busy(f"run_dir = {str(path)!r} holds a run that is being written by another process: name another folder") from error
        except UserError:
            if os.path.lexists(path):
                raise  # else a run that was refused has just taken its folder back


def _clear(folder: RunFolder) -> None:
    """Remove the files of a run that has no checkpoint, and drafts of its files; anything else in the folder stays."""
    for path in (folder.config, folder.manifest, folder.log, folder.metrics, folder.timings):
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".tmp").unlink(missing_ok=True)
    for draft in ("last.tmp", "best.tmp"):
        (folder.path / draft).unlink(missing_ok=True)


def discard(folder: RunFolder) -> None:
    """Take back what `create` and a run that could not begin left, the folder too where it was made for them; then the lock."""
    _clear(folder)
    folder.best.unlink(missing_ok=True)
    own = (folder.hold is None or folder.hold.made) and all(path.name == LOCK for path in folder.path.iterdir())
    place = _aside(folder.path) if own else folder.path
    (place / LOCK).unlink(missing_ok=True)
    if own:
        place.rmdir()
    if folder.hold is not None:
        folder.hold.release()


def _aside(path: Path) -> Path:
    """A folder under a name that nobody knows, in one step: else who comes between lock and folder locks the folder and does not own it."""
    away = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        return path.rename(away)
    except OSError:  # Windows moves no folder in which a file is open
        return path


def find(path: Path) -> RunFolder:
    """The folder of a run that is there. Raises UserError where none is."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise UserError(f"RUN = {str(path)!r}: no run there, a folder with config.yaml is expected")
    return folder


def write(path: Path, text: str) -> None:
    """Replace a text file: a reader finds the old one or the new one."""
    draft = path.with_name(path.name + ".tmp")
    try:
        draft.write_text(text)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def config_hash(config: Mapping[str, Any]) -> str:
    """Digest of what determines a run's numbers: its configuration without where and how it is recorded."""
    kept = {key: value for key, value in config.items() if key not in SAME_NUMBERS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def manifest(config: Mapping[str, Any]) -> dict[str, Any]:
    """Where a run comes from. The id names it in the log and in W&B, so that a resumed run continues there."""
    return {
        "id": secrets.token_hex(4),
        "config_hash": config_hash(config),
        "seed": config["seed"],
        **made_with(),
        "platform": platform.platform(),
        run_data.KEY: run_data.read_by(config),
    }


def made_with() -> dict[str, Any]:
    """Which code this is: its commit, Python, the libraries."""
    return {
        "git": git_state(Path(__file__).parent),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # A bare checkout on the path has no distribution: its commit says which code it is.
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that holds `folder` and whether tracked files differ from it; None outside a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None  # git is not installed
    return done.stdout.strip() if done.returncode == 0 else None
