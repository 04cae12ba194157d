"""What operating systems differ in: locks on files, reads and writes at a place, folders that can be synced."""

from __future__ import annotations

import os
from types import ModuleType


def _module(name: str) -> ModuleType | None:
    try:
        return __import__(name)
    except ModuleNotFoundError:
        return None


fcntl, msvcrt = _module("fcntl"), _module("msvcrt")
"""Locks of Unix and of Windows; neither on a system that has none: there nobody watches that a folder belongs to one run at a time."""
OPEN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
"""Of every file that is opened by number: bytes as they are, and no business of a child process."""


def lock(file: int, wait: bool = False) -> None:
    """Take the lock of an open file, which closing it gives back. Raises BlockingIOError where another has it and we do not `wait`."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    elif msvcrt is not None:
        os.lseek(file, 0, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(str(error)) from error


def pread(file: int, count: int, offset: int) -> bytes:
    """Up to `count` bytes from `offset` on."""
    if hasattr(os, "pread"):
        return os.pread(file, count, offset)
    os.lseek(file, offset, os.SEEK_SET)
    return os.read(file, count)


def pwrite(file: int, data: bytes, offset: int) -> int:
    """Write at `offset`; returns how many bytes went."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, data, offset)
    os.lseek(file, offset, os.SEEK_SET)
    return os.write(file, data)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """A new file is lost in a power cut until its folder is on disk as well. Windows opens no folders, and sees to it itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
