"""The run folder: what is in it, where it comes from, what its log says."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path

import pytest

from experiments import run_folder, runlog
from experiments.compose import compose
from marl.errors import UserError


def test_manifest_says_where_a_run_comes_from(tmp_path: Path) -> None:
    folder = run_folder.create(tmp_path / "run", compose(["env=harvest", "seed=5"]).config)
    manifest = folder.read_manifest()
    assert manifest["seed"] == 5
    assert set(run_folder.PACKAGES) == set(manifest["versions"])
    assert manifest["versions"]["numpy"].count(".") == 2
    assert len(manifest["id"]) == 8


def test_git_state(tmp_path: Path) -> None:
    assert run_folder.git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    clean = run_folder.git_state(tmp_path)
    assert clean is not None
    assert (len(clean["commit"]), clean["dirty"]) == (40, False)
    (tmp_path / "file").write_text("2")
    assert run_folder.git_state(tmp_path) == {**clean, "dirty": True}


def test_hash_of_what_determines_the_numbers() -> None:
    base, other_place, other_seed = (
        compose(["env=harvest", *more]).config for more in ([], ["run_dir=x", "log_level=DEBUG", "tracker=wandb"], ["seed=1"])
    )
    assert run_folder.config_hash(base) == run_folder.config_hash(other_place)
    assert run_folder.config_hash(base) != run_folder.config_hash(other_seed)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    config = compose(["env=harvest"]).config
    first = run_folder.create(tmp_path / "run", config)
    with pytest.raises(UserError, match="holds a run"):
        run_folder.create(tmp_path / "run", config)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    run_folder.discard(first)
    assert [p.name for p in first.path.iterdir()] == ["notes.txt"]
    assert run_folder.create(tmp_path / "run", config).read_config()["env"]["name"] == "harvest"


def test_log_lines_know_where_the_run_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.jsonl"
    with runlog.opened(path, "abc", "INFO") as place:
        logging.getLogger("marl.run").debug("too quiet")
        place.step, place.episode = 40, 8
        logging.getLogger("marl.anything").warning("careful %d", 1)
    logging.getLogger("marl.run").error("after the run")
    (line,) = [json.loads(text) for text in path.read_text().splitlines()]
    assert {key: line[key] for key in ("level", "run", "step", "episode", "message")} == {
        "level": "WARNING", "run": "abc", "step": 40, "episode": 8, "message": "careful 1",
    }  # fmt: skip
    assert "marl: WARNING: careful 1" in capsys.readouterr().err


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"), runlog.opened(Path("/dev/full"), "abc", "INFO"):
        logging.getLogger("marl.run").info("a line")
