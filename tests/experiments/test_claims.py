"""Who may make a run's folder: two at once, halves that a kill or a full disk left, crashes before the first checkpoint."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from experiments import run_folder
from experiments import training as command
from experiments.compose import compose
from experiments.run_folder import LOCK, RunFolder, create, discard
from marl.disk import Busy, claim
from marl.errors import UserError
from marl.track import read_metrics
from tests.experiments.conftest import TINY, Marl

SHORT = [*TINY, "total_steps=40"]


def test_of_many_who_begin_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    """Eight at a barrier, six times: one makes the run, the others are refused, and every file of the one is there."""
    config = compose(["env=harvest"]).config
    for turn in range(6):
        barrier, found = threading.Barrier(8), []

        def begin(path: Path = tmp_path / str(turn), barrier: Any = barrier, found: list[Any] = found) -> None:
            barrier.wait()
            try:
                found.append(create(path, config))
            except UserError as error:
                found.append(str(error))

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (made,) = (folder for folder in found if isinstance(folder, RunFolder))
        assert all("holds a run" in text for text in found if isinstance(text, str))
        assert {p.name for p in made.path.iterdir()} == {LOCK, "config.yaml", "manifest.json"}
        discard(made)


def test_of_many_who_begin_and_give_up_nobody_takes_anothers_files(tmp_path: Path) -> None:
    """They make the folder and take it back, over and over: whoever has made it finds its own files until it takes them back."""
    config, path, lost = compose(["env=harvest"]).config, tmp_path / "run", []

    def again(path: Path = path) -> None:
        for _ in range(8):
            with suppress(UserError):
                folder = create(path, config)
                lost.extend(p.name for p in (folder.config, folder.manifest) if not p.exists())
                discard(folder)

    threads = [threading.Thread(target=again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == [] and not path.exists()


def test_a_lock_of_a_folder_that_was_taken_back_is_none(tmp_path: Path) -> None:
    """One opens the lock's file, its holder removes it: the next claims the file that is there, not the one that was."""
    held = claim(tmp_path)
    (tmp_path / LOCK).unlink()
    os.close(held)
    again = claim(tmp_path)
    with pytest.raises(Busy, match="belongs to one at a time"):
        claim(tmp_path)
    os.close(again)


def test_whoever_is_refused_touches_nothing(marl: Marl, tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = create(run, compose(["env=harvest"]).config)
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    assert "holds a run that is being written by another process" in marl("train", *SHORT, f"run_dir={run}").refusal
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before
    discard(folder)


def manifest_alone(folder: RunFolder) -> None:
    folder.config.unlink()


def draft(folder: RunFolder) -> None:
    folder.config.rename(folder.config.with_name("config.yaml.tmp"))


def first_row(folder: RunFolder) -> None:
    folder.metrics.write_text('{"step":0,"train/episodes":0}\n')
    folder.log.write_text("{}\n")


def half_a_row(folder: RunFolder) -> None:
    folder.metrics.write_text('{"step":0,"train')


def half_a_checkpoint(folder: RunFolder) -> None:
    (folder.path / "last.tmp").write_bytes(b"half")


def empty_manifest(folder: RunFolder) -> None:
    folder.manifest.write_text("")


def nothing(folder: RunFolder) -> None:
    """Both files are there, and no row."""


HALVES = [nothing, manifest_alone, draft, first_row, half_a_row, half_a_checkpoint, empty_manifest]


@pytest.mark.parametrize("half", HALVES, ids=lambda f: f.__name__)
def test_a_folder_half_made_keeps_nobody_out(half: Callable[[RunFolder], None], marl: Marl, tmp_path: Path) -> None:
    """The corrected command starts, and is the run that began in an empty folder."""
    run, clean = (RunFolder(tmp_path / name) for name in ("run", "clean"))
    folder = create(run.path, compose([*SHORT, "seed=7", f"run_dir='{run.path}'"]).config)
    assert folder.hold is not None
    folder.hold.release()
    half(run)
    for where in (run, clean):
        assert marl("train", *SHORT, f"run_dir={where.path}").code == 0
    assert run.metrics.read_bytes() == clean.metrics.read_bytes() and run.read_config()["seed"] == 0
    assert {p.name for p in run.path.iterdir()} == {p.name for p in clean.path.iterdir()}


def test_a_run_that_was_begun_is_not_begun_over(marl: Marl, tmp_path: Path) -> None:
    """Its first checkpoint, a second row, an evaluation, or files whose manifest somebody took away: each is a run."""
    config = compose(["env=harvest"]).config
    rows = '{"step":0}\n{"step":20}\n'
    for i, (name, text) in enumerate([("last.pt", "x"), ("step_000000000020.pt", "x"), ("evaluation.json", "{}"), ("metrics.jsonl", rows)]):
        folder = create(tmp_path / str(i), config)
        assert folder.hold is not None
        folder.hold.release()
        (folder.path / name).write_text(text)
        assert f"holds a run ({name}" in marl("train", *SHORT, f"run_dir={folder.path}").refusal
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_text("seed: 0\n")
    assert "holds a run (config.yaml)" in marl("train", *SHORT, f"run_dir={bare}").refusal


@pytest.mark.parametrize("size", [100, 1000])
def test_a_disk_that_is_full_before_the_run_begins_leaves_nothing(size: int, marl: Marl, tmp_path: Path) -> None:
    """A limit on the size of files, below the manifest and between it and the configuration."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        said = marl("train", *SHORT, f"run_dir={tmp_path / 'run'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in said.refusal
    assert not (tmp_path / "run").exists()
    assert marl("train", *SHORT, f"run_dir={tmp_path / 'run'}").code == 0


def test_a_crash_before_the_first_checkpoint_leaves_nothing(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder that was there, what was in it; the traceback is the defect's."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")

    def crash(*_: Any) -> None:
        raise RuntimeError("a defect")

    for run, left in ((mine, ["notes.txt"]), (tmp_path / "new", None)):
        with monkeypatch.context() as patched:
            patched.setattr(command, "_steps", crash)
            with pytest.raises(RuntimeError, match="a defect"):
                marl("train", *SHORT, f"run_dir={run}")
        assert ([p.name for p in run.iterdir()] if run.exists() else None) == left
        assert marl("train", *SHORT, f"run_dir={run}").code == 0


def test_an_interrupted_run_keeps_its_folder(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the first checkpoint: `marl resume` begins it, and so does the command again."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    for name, again in (("a", ["resume"]), ("b", ["train", *SHORT])):
        run = tmp_path / name
        with monkeypatch.context() as patched:
            patched.setattr(command, "_steps", interrupted)
            assert marl("train", *SHORT, f"run_dir={run}").code == 130
        words = [*again, str(run) if name == "a" else f"run_dir={run}"]
        assert marl(*words).code == 0
        assert read_metrics(run / "metrics.jsonl")[-1]["step"] == 40


def test_a_lock_is_given_back_once(tmp_path: Path) -> None:
    """With the folder of `create` as with one that is found, also where what happens in between fails."""
    folder = create(tmp_path / "run", compose(["env=harvest"]).config)
    for given in (folder, run_folder.find(folder.path)):
        with suppress(ZeroDivisionError), given.held() as held:
            assert held.hold is not None and held.hold.held
            with pytest.raises(Busy):
                claim(folder.path)
            raise ZeroDivisionError
        assert not held.hold.held
    os.close(claim(folder.path))
