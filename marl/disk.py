"""What the disk does and refuses: locks, folders made durable, refusals as one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from marl import system
from marl.errors import UserError


class Busy(UserError):
    """Another run writes the folder."""


def claim(folder: Path) -> int:
    """A lock on a run's folder, as a file that `os.close` gives back; it goes with the process, however that ends.

    Raises Busy where another run holds it, UserError where it cannot be opened.
    """
    path = folder / ".lock"
    while True:
        with told("open", path):
            file = os.open(path, os.O_RDWR | os.O_CREAT | system.OPEN, 0o644)
        try:
            system.lock(file)
        except BlockingIOError as error:
            os.close(file)
            raise Busy(f"{folder} is being written by another run: a run folder belongs to one at a time") from error
        if _is_there(file, path):
            return file
        os.close(file)  # opened just before its holder took the folder back: what is there now, if anything, is another file


def _is_there(file: int, path: Path) -> bool:
    """Whether an open file is the one that the path names."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """The lock on a run's folder while the context lasts."""
    file = claim(folder)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """The lock of a file, waited for, while the context lasts; where it cannot be had, none."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | system.OPEN, 0o644)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            system.lock(file, wait=True)
        yield
    finally:
        os.close(file)


@contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    """The system's refusal as one line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot {what} {path}: {error.strerror or error}") from error
