"""Where drivers and what is compiled of them are kept.

A file is written whole, synced, and sealed with its digest; what is found damaged (a full disk, a power cut, a bit) is removed and made
anew. Where the folder cannot be written (no home, a read-only system, an image that another user warmed) another one of this user serves;
where none can be, rules are compiled by every process.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.core.errors import NumbaError

from marl import notice
from marl.disk import held
from marl.system import sync_folder

SEAL = ".sha256"
"""Ending of the file beside a compiled one that has its digest."""


def cache_folder() -> Path:
    """Where drivers and their compiled code live: $MARL_CACHE, else ~/.cache/marl; where that cannot be written, a temporary folder."""
    return _writable_or_other(wanted())


def wanted() -> Path | None:
    """The folder that is asked for, None where this user has no home."""
    asked = os.environ.get("MARL_CACHE")
    try:
        return Path(asked) if asked else Path.home() / ".cache" / "marl"
    except RuntimeError:
        return None


@lru_cache(maxsize=8)
def _writable_or_other(folder: Path | None) -> Path:
    why = "there is no home directory" if folder is None else _refusal(folder)
    if folder is not None and not why:
        return folder
    other = _own_temporary()
    lost = "compiled rules" if folder is None else f"{folder} cannot be written ({why}): compiled rules"
    reason = f"{why}: " if folder is None else ""
    notice.say(f"{reason}{lost} are kept in {other}; MARL_CACHE names another folder")
    return other


def _refusal(folder: Path) -> str:
    """Why no file can be made in the folder, nothing where one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _own_temporary() -> Path:
    """A folder under the system's temporary one that nobody but this user has written: what lies there is run."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"marl-{user}"
    return folder if _is_own(folder, user) else Path(tempfile.mkdtemp(prefix="marl-"))


def _is_own(folder: Path, user: int | str) -> bool:
    """Whether the folder, made where there is none, is one that this user alone can write."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022 and not _refusal(folder)


def driver_file(name: str, folder: str, text: str) -> Path:
    """The driver's file with this text in `folder` of the cache: written where it is new or not what it should be.

    What another user compiled into a cache that cannot be written is copied, times and all, as compiled code is of a file of that time.
    """
    home = cache_folder()
    file = home / folder / f"{name}.py"
    asked = wanted()
    if asked not in (None, home) and not file.exists() and (asked / folder / f"{name}.py").is_file():
        shutil.copytree(asked / folder, home / folder, dirs_exist_ok=True)
    found = file.read_bytes() if file.exists() else None
    if found != text.encode():
        if found is not None:
            notice.say(f"{file} was damaged: it is made anew")
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, text.encode())
    return file


def write(path: Path, content: bytes) -> None:
    """Replace a file by one that is whole and on disk."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_folder(path.parent)


def ready(function: Any, arguments: tuple[Any, ...], game: str, takes: str) -> Callable[..., None]:
    """A driver's loop for arguments of these types: from the cache, else compiled, which `takes` long and is said.

    One process compiles, others wait for what it keeps.
    """
    types = tuple(numba.typeof(x) for x in arguments)
    if types in function.overloads:
        return function.compile(types)
    with _locked(function):
        cold = not _intact(function)
        with notice.working(f"compiling the rules of {game}, {takes}, once", first=0.0 if cold and _first(function) else notice.EVERY):
            try:
                loop = function.compile(types)
            except NumbaError:
                raise
            except Exception:  # whatever a damaged file that nobody sealed makes of the reader
                if not list(_files(function)):
                    raise
                _drop(function, game)
                loop = function.compile(types)
        _seal(function)
    return loop


_said: set[str] = set()


def _first(function: Any) -> bool:
    """Whether the function is the first of its driver that is compiled."""
    module = function.__module__
    fresh = module not in _said
    _said.add(module)
    return fresh


def _files(function: Any) -> Iterator[Path]:
    """Index and code that numba kept of a function."""
    place = function.stats.cache_path
    if place is not None:
        yield from sorted(Path(place).glob(f"{function.__module__}.{function.__name__}-*.nb[ic]"))


def _intact(function: Any) -> bool:
    """Whether compiled code of the function is there, and all of it is what was sealed; what is not is removed."""
    files = list(_files(function))
    for file in files:
        seal = file.with_name(file.name + SEAL)
        if seal.exists() and seal.read_text().strip() != _digest(file):
            _drop(function, file.name)
            return False
    return bool(files)


def _drop(function: Any, what: str) -> None:
    notice.say(f"compiled code in {function.stats.cache_path} was damaged ({what}): it is made anew")
    for file in _files(function):
        for path in (file, file.with_name(file.name + SEAL)):
            path.unlink(missing_ok=True)


def _seal(function: Any) -> None:
    """Sync what was kept and write its digests down, where that is possible: a cache may be somebody else's."""
    for file in _files(function):
        seal = file.with_name(file.name + SEAL)
        digest = _digest(file)
        try:
            if seal.exists() and seal.read_text().strip() == digest:
                continue
            with file.open("rb") as kept:
                os.fsync(kept.fileno())
            write(seal, digest.encode() + b"\n")
        except OSError:
            return


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def remembered(name: str, key: bytes, search: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What a search finds, searched once for a key of all that it depends on, over processes; sealed as compiled code is.

    `name` says what is searched; a file that is damaged, or cannot be written, is as good as none.
    """
    file = cache_folder() / "searched" / f"{name}_{hashlib.sha256(key).hexdigest()[:24]}.npy"
    with suppress(OSError, ValueError):
        found = file.read_bytes()
        if file.with_name(file.name + SEAL).read_text().strip() == hashlib.sha256(found).hexdigest():
            known: npt.NDArray[Any] = np.load(io.BytesIO(found), allow_pickle=False)
            return known
    answer = search()
    packed = io.BytesIO()
    np.save(packed, answer, allow_pickle=False)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, packed.getvalue())
        write(file.with_name(file.name + SEAL), hashlib.sha256(packed.getvalue()).hexdigest().encode() + b"\n")
    return answer


@contextmanager
def _locked(function: Any) -> Iterator[None]:
    """Alone at a driver's compiled code, where the system can lock."""
    place = function.stats.cache_path
    if place is None or not Path(place).is_dir():
        yield
        return
    with ExitStack() as stack:
        with notice.working("waiting for another process that compiles the same rules"):
            stack.enter_context(held(Path(place) / ".lock"))
        yield
