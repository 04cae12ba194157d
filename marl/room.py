"""Memory: what is left of it, and the refusal of what does not fit before it is asked for.

A system grants an array that it has no memory for and kills the process when the array is filled; under a limit on addresses
(`ulimit -v`) it is refused at once. Both are told beforehand, with the estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from marl.errors import UserError

CGROUP = Path("/sys/fs/cgroup")
MEMINFO, STATM = Path("/proc/meminfo"), Path("/proc/self/statm")
SMALL = 1 << 26
"""Bytes that are not worth a look at what is left."""
UNLIMITED = 1 << 60
"""Where a limit on memory means none."""


class Left(NamedTuple):
    """Bytes that can still be had, and who says so."""

    bytes: int
    where: str


def left(virtual: bool = False) -> Left | None:
    """The tightest of the limits that are known here, None where none is. `virtual`: of addresses alone, which an unfilled array takes."""
    found = list(_addresses()) if virtual else [*_addresses(), *_container(), *_machine()]
    return min(found, default=None)


def check(needed: int, what: str, remedy: str, virtual: bool = False) -> None:
    """Raise UserError where `needed` bytes are more than what is left."""
    if needed < SMALL:
        return
    have = left(virtual)
    if have is not None and needed > have.bytes:
        raise UserError(f"{what} needs {size(needed)} of memory, and {size(max(have.bytes, 0))} are left ({have.where}): {remedy}")


def size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _addresses() -> Iterator[Left]:
    """The limit of `ulimit -v`, less what the process has."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit not in (resource.RLIM_INFINITY, -1) and STATM.exists():
        used = int(STATM.read_text().split()[0]) * resource.getpagesize()
        yield Left(limit - used, "ulimit -v")


def _container() -> Iterator[Left]:
    """The limit of a control group, of version 2 and 1, less what it uses and could not give back."""
    for folder, limit, used, spare in (
        (CGROUP, "memory.max", "memory.current", "inactive_file"),
        (CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, now = _number(folder / limit), _number(folder / used)
        if most is not None and now is not None and most < UNLIMITED:
            yield Left(most - now + _stat(folder / "memory.stat", spare), "the limit of this container")


def _machine() -> Iterator[Left]:
    """Memory that the machine can give without swapping."""
    free = _stat(MEMINFO, "MemAvailable:")
    if free:
        yield Left(free * 1024, "of this machine's")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _stat(path: Path, name: str) -> int:
    """A number by name in a file of such lines, 0 where it is not there."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
