"""Files of data: opened where they are regular and of bounded size, known by what they hold, and remembered by that alone.

A path says nothing of what a file holds, and neither does its time: a file may be mended, or another moved into its place. So whatever
is made of a file is kept by the file's SHA-256. Computing that for every question would be slow; a digest is kept by size, inode and
times of the file, and only if those are older than `SETTLED`, as a file system's clock is too coarse to tell two writes in one instant.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, BinaryIO

from marl.errors import UserError

MOST_BYTES = 1 << 30
"""Largest file that is read, bytes."""
SETTLED = 2.0
"""Seconds after a file's last change from which its times tell the next change."""
BLOCK = 1 << 20

_digests: dict[str, tuple[tuple[int, ...], str]] = {}
"""Path -> (what the system says of the file, its digest)."""


def warn(text: str) -> None:
    """One line on stderr for what is legal and looks like a slip."""
    print("marl: warning: " + " ".join(text.split()), file=sys.stderr)


def unreadable(path: str, reason: object, wanted: str = "a file of data") -> UserError:
    """The refusal of a file that cannot be read at all."""
    return UserError(f"{path}: cannot be read ({reason}): {wanted} is expected")


def opened(path: str) -> BinaryIO:
    """A regular file of at most `MOST_BYTES`, open to be read. Raises UserError; a pipe or a device is refused before it is waited for."""
    try:
        _check(path, os.stat(path))
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)), "rb")
    except OSError as error:
        raise unreadable(path, error.strerror or error) from error
    except UserError:
        raise
    except ValueError as error:  # a path with a NUL in it
        raise unreadable(repr(path), error) from error
    try:
        _check(path, os.fstat(file.fileno()))
    except UserError:
        file.close()
        raise
    return file


def _check(path: str, found: os.stat_result) -> None:
    """Raise UserError for what is no regular file or is too large."""
    mode = found.st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise unreadable(path, f"it is {kind}", f"a regular file of at most {MOST_BYTES:,} bytes")
    if found.st_size > MOST_BYTES:
        raise unreadable(path, f"it has {found.st_size:,} bytes", f"a regular file of at most {MOST_BYTES:,}")


def _signature(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def digest(path: str) -> str:
    """SHA-256 of a file's bytes, as `sha256sum` prints it. Raises UserError for what `opened` refuses, or what changes meanwhile."""
    with opened(path) as file:
        before = os.fstat(file.fileno())
        if path in _digests and _digests[path][0] == _signature(before):
            return _digests[path][1]
        found, total = hashlib.sha256(), 0
        try:
            while block := file.read(BLOCK):
                found.update(block)
                total += len(block)
                if total > MOST_BYTES:  # what grows, or says that it is empty as files of /proc do
                    raise unreadable(path, "it does not end", f"a regular file of at most {MOST_BYTES:,} bytes")
        except OSError as error:
            raise unreadable(path, error.strerror or error) from error
        after = os.fstat(file.fileno())
    if _signature(before) != _signature(after):
        raise unreadable(path, "it changes while it is read")
    if time.time() - max(after.st_mtime, after.st_ctime) > SETTLED:
        _digests[path] = _signature(after), found.hexdigest()
    else:
        _digests.pop(path, None)
    return found.hexdigest()


class _Aside:
    """What a cache hands on and does not look at: all are alike to it."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Aside)

    def __hash__(self) -> int:
        return 0


def read_once(maxsize: int, built_in: str = "") -> Callable[[Any], Any]:
    """Of a function (path, ...): what it made of a file is made once, and again only where the file holds something else.

    Called with `mark`, a digest, it gives what was made of a file that held that, even if the file is another or gone by now; what is not
    remembered any more is read again, and refused where the file has changed. `built_in` is a word instead of a path, for what is no file.
    """

    def made(read: Any) -> Any:
        @lru_cache(maxsize=maxsize)
        def kept(mark: str, name: str, aside: _Aside, *rest: Any) -> Any:
            path = aside.given[0]
            if path == built_in:
                return read(path, *rest)
            if digest(path) != mark:
                raise unreadable(path, "it has changed since it was read")
            found = read(path, *rest)
            if digest(path) != mark:
                raise unreadable(path, "it changes while it is read")
            return found

        @wraps(read)
        def found(path: str, *rest: Any, mark: str = "") -> Any:
            named = os.path.basename(path)  # which may say how to read it, and whose it is
            return kept(built_in if path == built_in else mark or digest(path), named, _Aside(path), *rest)

        found.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
        return found

    return made


def remembered(maxsize: int) -> Callable[[Any], Any]:
    """`lru_cache` of a function (params, ...): by the parameters, and by what the files that they name hold."""

    def made(function: Any) -> Any:
        @lru_cache(maxsize=maxsize)
        def kept(contents: tuple[str, ...], *given: Any, **named: Any) -> Any:
            return function(*given, **named)

        @wraps(function)
        def found(params: Any, *given: Any, **named: Any) -> Any:
            return kept(params.contents(), params, *given, **named)

        found.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
        return found

    return made
