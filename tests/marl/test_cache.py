"""Where drivers are kept: damage of every kind is made anew with a word, and another folder serves where the one asked for cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from marl import VectorGame, cache, driver, notice
from tests.commons import COMMONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    cache._writable_or_other.cache_clear()
    monkeypatch.setattr(cache, "_said", set())
    monkeypatch.setattr(notice, "EVERY", 60.0)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the beginning of the toy's episodes is compiled."""
    home = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARL_CACHE", str(home))
        begun(patch)
    return home


def begun(patch: pytest.MonkeyPatch) -> ModuleType:
    """The toy's driver as a new process would load it, and one episode begun; its `stats` say what was compiled."""
    name = driver.load(COMMONS).__name__
    patch.delitem(sys.modules, name)
    copies = VectorGame(COMMONS, 2)
    copies.reset(0)
    assert copies.obs[:, :, 0].tolist() == [[1.0] * copies.n_agents] * 2
    return sys.modules[name]


def hits(module: ModuleType) -> tuple[int, int]:
    """Loops found in the cache, and compiled."""
    stats = module.start.stats
    return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.rglob(pattern)
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 64
    path.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: path.write_bytes(b"") and None,
    "cut": cut,
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 40) and None,
    "a bit": flip,
}


def test_what_is_whole_is_found_again(
    warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(warm, tmp_path / "c")
    monkeypatch.setenv("MARL_CACHE", str(tmp_path / "c"))
    assert hits(begun(monkeypatch)) == (1, 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["*.start-*.nbi", "*.start-*.nbc"])
def test_damaged_code_is_made_anew(
    damage: str, file: str, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(warm, tmp_path / "c")
    monkeypatch.setenv("MARL_CACHE", str(tmp_path / "c"))
    DAMAGES[damage](one(tmp_path / "c", file))
    assert hits(begun(monkeypatch)) == (0, 1)
    first, *more = capsys.readouterr().err.splitlines()
    assert "was damaged" in first and "made anew" in first
    assert more == ["marl: compiling the rules of commons, some seconds, once"]
    assert hits(begun(monkeypatch)) == (1, 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_damaged_code_without_a_seal_is_made_anew(
    damage: str, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed process may leave code that nobody sealed."""
    shutil.copytree(warm, tmp_path / "c")
    monkeypatch.setenv("MARL_CACHE", str(tmp_path / "c"))
    for seal in (tmp_path / "c").rglob("*" + cache.SEAL):
        seal.unlink()
    DAMAGES[damage](one(tmp_path / "c", "*.start-*.nbc"))
    begun(monkeypatch)
    assert "was damaged" in capsys.readouterr().err
    assert hits(begun(monkeypatch)) == (1, 0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_driver_is_written_anew(
    damage: str, warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(warm, tmp_path / "c")
    monkeypatch.setenv("MARL_CACHE", str(tmp_path / "c"))
    file = one(tmp_path / "c", "marl_driver_*.py")
    whole = file.read_text()
    DAMAGES[damage](file)
    begun(monkeypatch)
    assert "was damaged: it is made anew" in capsys.readouterr().err.splitlines()[0]
    assert file.read_text() == whole and not list(file.parent.glob("*.tmp"))


def test_another_folder_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A cache under a file cannot be made; a folder of this user under the temporary one is taken, and said, once."""
    (tmp_path / "file").write_text("")
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    monkeypatch.setenv("MARL_CACHE", str(tmp_path / "file" / "cache"))
    other = cache.cache_folder()
    assert other.parent == tmp_path / "t" and cache.cache_folder() == other
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"marl: {tmp_path / 'file' / 'cache'} cannot be written (Not a directory)") and str(other) in line


def test_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MARL_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache.cache_folder() == tmp_path / f"marl-{os.getuid()}"
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no home directory: compiled rules are kept in" in line and "MARL_CACHE" in line


def test_a_temporary_folder_of_somebody_else_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its compiled code would be run."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    theirs = tmp_path / f"marl-{os.getuid()}"
    theirs.mkdir(mode=0o700)
    assert cache._own_temporary() == theirs
    theirs.chmod(0o777)
    assert cache._own_temporary().name.startswith("marl-") and cache._own_temporary() != theirs


def test_a_warm_cache_that_cannot_be_written_is_copied(
    warm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image that its builder warmed: nothing is compiled again by another user."""
    monkeypatch.setenv("MARL_CACHE", str(warm))
    refusal = cache._refusal
    monkeypatch.setattr(cache, "_refusal", lambda folder: "Read-only file system" if folder == warm else refusal(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    module = begun(monkeypatch)
    assert tmp_path in Path(module.__file__ or "").parents and hits(module) == (1, 0)
    assert "Read-only file system" in capsys.readouterr().err


def test_rules_run_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """numba's own folder cannot be made: every process compiles, and says so."""
    code = "from marl import VectorGame; from tests.commons import COMMONS; c = VectorGame(COMMONS, 2); c.reset(0); print(c.obs[0, 0, 0])"
    (tmp_path / "file").write_text("")
    given = {**os.environ, "PYTHONPATH": str(ROOT), "MARL_CACHE": str(tmp_path / "c"), "NUMBA_CACHE_DIR": str(tmp_path / "file" / "x")}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_two_processes_compile_once(tmp_path: Path) -> None:
    """The second waits for the first, and finds what it kept."""
    code = (
        "import sys; from marl import VectorGame, driver; from tests.commons import COMMONS; c = VectorGame(COMMONS, 2); c.reset(0); "
        "print(sum(driver.load(COMMONS).start.stats.cache_misses.values()))"
    )
    given = {**os.environ, "PYTHONPATH": str(ROOT), "MARL_CACHE": str(tmp_path)}
    runs = [subprocess.Popen([sys.executable, "-c", code], env=given, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(run.communicate()[0].strip() for run in runs) == ["0", "1"]


def test_a_word_before_a_cold_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MARL_CACHE", str(tmp_path))
    compiled: list[str] = []

    class Loop:
        __name__, __module__ = "start", "no_such_driver"
        overloads: ClassVar[dict[object, object]] = {}
        stats = type("Stats", (), {"cache_path": None})

        def compile(self, types: object) -> None:
            compiled.append(capsys.readouterr().err)

    cache.ready(Loop(), (), "auction", "about a minute")
    assert compiled == ["marl: compiling the rules of auction, about a minute, once\n"]
    assert notice._works == []
