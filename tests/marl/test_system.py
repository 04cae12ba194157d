"""Systems that lack a call of Unix: locks by other means or none, and the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from marl import system
from marl.disk import claim, held
from marl.errors import UserError

ROOT = Path(__file__).parents[2]

WITHOUT = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "fcntl":
            raise ModuleNotFoundError("No module named 'fcntl'", name="fcntl")
sys.meta_path.insert(0, Hide())
sys.modules.pop("fcntl", None)
from experiments.cli import main
sys.exit(max(main(command.split()) for command in sys.argv[1:]))
"""
TRAIN = "train env=climbing algorithm=ippo n_envs=4 algorithm.rollout=8 total_steps=64 evaluation.episodes=8 run_dir=run"


def test_a_run_without_fcntl(tmp_path: Path) -> None:
    """What Windows does first: no module of that name."""
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands = [TRAIN, "resume run total_steps=96", "evaluate run --episodes 4"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *commands], cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) >= 4


class Msvcrt:
    """The locks of Windows: a byte of an open file, whose other opener is refused with EACCES."""

    LK_LOCK, LK_NBLCK = 1, 2

    def __init__(self) -> None:
        self.taken: set[tuple[int, int]] = set()

    def locking(self, file: int, mode: int, count: int) -> None:
        found = os.fstat(file)
        if (found.st_dev, found.st_ino) in self.taken:
            raise PermissionError(13, "Permission denied")
        self.taken.add((found.st_dev, found.st_ino))


def test_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "fcntl", None)
    monkeypatch.setattr(system, "msvcrt", Msvcrt())
    os.close(claim(tmp_path))
    with pytest.raises(UserError, match="is being written by another run"):
        claim(tmp_path)


def test_a_lock_is_waited_for_and_given_back(tmp_path: Path) -> None:
    with held(tmp_path / "lock"):
        other = os.open(tmp_path / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            system.lock(other)
    system.lock(other)
    os.close(other)


def test_reads_and_writes_at_a_place_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT | system.OPEN)
    for found in (True, False):
        if not found:
            monkeypatch.delattr(os, "pread")
            monkeypatch.delattr(os, "pwrite")
        assert system.pwrite(file, b"abcdef", 3) == 6
        assert (system.pread(file, 4, 4), system.pread(file, 9, 9)) == (b"bcde", b"")
    os.close(file)
