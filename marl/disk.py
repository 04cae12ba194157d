"""What the disk does and refuses: locks, folders made durable, refusals as one line."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marl.errors import UserError


def claim(folder: Path) -> int:
    """A lock on a run's folder, as a file that `os.close` gives back; it goes with the process, however that ends.

    Raises UserError where another run holds it.
    """
    with told("open", folder / ".lock"):
        file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise UserError(f"{folder} is being written by another run: a run folder belongs to one at a time") from error
    return file


def sync_folder(folder: Path) -> None:
    """A new file is lost in a power cut until its folder is on disk as well."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    """The system's refusal as one line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot {what} {path}: {error.strerror or error}") from error
