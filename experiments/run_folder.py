"""A run's folder: what lies where in it, and the refusal to write one run over another."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import run_data
from marl.errors import UserError

PACKAGES = ("market-marl", "torch", "tianshou", "numpy", "numba", "pettingzoo", "gymnasium", "hydra-core")
"""Whose versions a manifest records."""
IDENTITY = ("id", "config_hash", "git")
"""Keys of a manifest that are read back."""
LOCK = ".lock"
"""The file that a run holds while it writes (`marl.track.claim`)."""
SAME_NUMBERS = ("run_dir", "log_level", "profile", "tracker")
"""Keys of the configuration that change no number of a run: they stay out of its hash."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run. `create` makes a new one, `find` opens one that is there."""

    path: Path

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
        import yaml

        try:
            values = yaml.safe_load(self.config.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{self.config}: {' '.join(str(error).split())}") from error
        if not isinstance(values, dict):
            raise UserError(f"{self.config}: a table of keys is expected")
        return values

    def read_manifest(self) -> dict[str, Any]:
        """The manifest. Raises UserError where it is no JSON object."""
        try:
            values = json.loads(self.manifest.read_text())
        except ValueError as error:
            raise UserError(f"{self.manifest}: {error}, one JSON object is expected") from error
        missing = [key for key in IDENTITY if not isinstance(values, dict) or key not in values]
        if missing:
            raise UserError(f"{self.manifest}: key {missing[0]!r} is missing, an object with {', '.join(IDENTITY)} is expected")
        return dict(values)


def create(path: Path, config: Mapping[str, Any]) -> RunFolder:
    """Make the folder of a new run and write config.yaml and manifest.json. Raises UserError where a run is in it already."""
    import yaml

    folder = RunFolder(path)
    taken = [p.name for p in (folder.config, folder.metrics, folder.last, folder.manifest) if p.exists()]
    if taken:
        raise UserError(f"run_dir = {str(path)!r} holds a run ({taken[0]}): name another folder, or continue it with: marl resume {path}")
    path.mkdir(parents=True, exist_ok=True)
    write(folder.manifest, json.dumps(manifest(config), indent=2) + "\n")
    write(folder.config, yaml.safe_dump(dict(config), sort_keys=False))
    return folder


def discard(folder: RunFolder) -> None:
    """Take back what `create` and a run that could not begin left; anything else in the folder stays."""
    for path in (folder.config, folder.manifest, folder.log, folder.metrics, folder.timings, folder.best, folder.path / LOCK):
        path.unlink(missing_ok=True)
    if not any(folder.path.iterdir()):
        folder.path.rmdir()


def find(path: Path) -> RunFolder:
    """The folder of a run that is there. Raises UserError where none is."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise UserError(f"RUN = {str(path)!r}: no run there, a folder with config.yaml is expected")
    return folder


def write(path: Path, text: str) -> None:
    """Replace a text file: a reader finds the old one or the new one."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text)
    os.replace(draft, path)


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
        "git": git_state(Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        run_data.KEY: run_data.read_by(config),
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
