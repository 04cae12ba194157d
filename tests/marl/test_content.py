"""What is made of a file is made anew where the file holds something else, whatever its path and its times say."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from marl import UserError, content
from marl.params import Params, choice, data_file, param

made: list[str] = []


@content.read_once(4, built_in="none")
def first_line(path: str, times: int) -> str:
    made.append(path)
    return "-" if path == "none" else Path(path).read_text().splitlines()[0] * times


@dataclass(frozen=True)
class FileParams(Params):
    n_agents: int = param(1, 1, 8, "agents")
    kind: str = choice("plain", ("plain", "read"))
    file: str = data_file("none", "a file of lines", read=("kind", "read"))
    always: str = data_file("none", "a file of lines", built_in="none|nothing")


@content.remembered(8)
def of(p: FileParams, times: int = 1) -> tuple[str, int]:
    made.append(p.always)
    return first_line(p.always, times, mark=p.mark("always")), times


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()
    first_line.cache_clear()
    of.cache_clear()


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("one\n")
    return str(tmp_path / "file")


def test_the_digest_is_that_of_sha256sum(path: str) -> None:
    assert content.digest(path) == subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]


def test_the_same_content_is_read_once_and_another_at_once(path: str) -> None:
    assert [first_line(path, 1), first_line(path, 1), first_line(path, 2)] == ["one", "one", "oneone"] and len(made) == 2
    Path(path).write_text("two\n")
    assert first_line(path, 1) == "two" and len(made) == 3
    Path(path).write_text("one\n")
    assert first_line(path, 1) == "one" and len(made) == 3
    assert first_line("none", 1) == "-"


def test_times_do_not_tell_a_change(path: str) -> None:
    """The same size, inode and time of the last change, as `cp --preserve` or an editor in the same instant leaves them."""
    before = os.stat(path)
    assert first_line(path, 1) == "one"
    with open(path, "r+") as file:
        file.write("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns and first_line(path, 1) == "two"


def test_an_old_file_is_hashed_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = content.digest(path)
    monkeypatch.setattr(content.time, "time", lambda: os.stat(path).st_ctime + content.SETTLED + 1)
    assert content.digest(path) == asked
    monkeypatch.setattr(content.hashlib, "sha256", lambda: pytest.fail("hashed again"))
    assert content.digest(path) == asked


def test_a_mark_means_what_the_file_held(path: str) -> None:
    mark = content.digest(path)
    assert first_line(path, 1, mark=mark) == "one"
    os.unlink(path)
    assert first_line(path, 1, mark=mark) == "one"
    with pytest.raises(UserError, match="cannot be read"):
        first_line(path, 1)
    Path(path).write_text("two\n")
    assert first_line(path, 1, mark=mark) == "one" and first_line(path, 1) == "two"
    first_line.cache_clear()
    with pytest.raises(UserError, match="it has changed since it was read"):
        first_line(path, 1, mark=mark)


def test_what_is_made_of_parameters_is_made_anew_for_another_file(path: str) -> None:
    p = FileParams(always=path)
    assert of(p) == of(FileParams(always=path)) == ("one", 1) and made == [path, path]
    Path(path).write_text("two\n")
    assert of(p) == ("one", 1) and of(replace(p)) == of(FileParams(always=path)) == ("two", 1)
    assert p == FileParams(always=path) and p.contents() != FileParams(always=path).contents()
    with pytest.raises(UserError, match="it has changed since it was read"):
        of(p, times=2)  # what p means is gone, and nothing else takes its place


def test_a_file_that_is_named_and_not_read_is_refused(path: str) -> None:
    p = FileParams(file=path)
    assert p.unread() == {"file": ("kind", "read")} and p.contents() == ()
    with pytest.raises(UserError, match=r"FileParams.file = '.*' with kind = 'plain': the file is not read, legal is kind = 'read'"):
        p.check_read()
    read = FileParams(file=path, kind="read").check_read()
    assert read.files() == {"file": path} and len(read.contents()) == 1
    assert FileParams(always="nothing").files() == {}


def test_paths_are_kept_from_the_root_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "inner")
    assert FileParams(always="a/b").always == str(tmp_path / "a" / "b")
    assert FileParams(always="link/../x").always == str(tmp_path / "real" / "x")  # as the system walks, not as the text reads
    assert FileParams(always=tmp_path / "x").always == str(tmp_path / "x")  # type: ignore[arg-type]
    for value in ("", " ", 3, None):
        with pytest.raises(UserError, match="the path of a file of lines is expected, or none"):
            FileParams(always=value)  # type: ignore[arg-type]
