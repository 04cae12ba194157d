"""Run folders that were damaged or edited: one line that names the file, exit code 2, and the folder as it was."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import envs
from experiments.cli import main
from marl import checkpoint
from marl.disk import claim
from marl.track import read_metrics
from tests.commons import COMMONS
from tests.experiments.conftest import TINY, Marl

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 60 steps."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(envs.GAMES, "harvest", COMMONS)
        assert main(["train", *TINY, "reward=team_mean", "total_steps=60", "evaluation.every=20", f"run_dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def edited(old: str, new: str) -> Damage:
    def damage(run: Path) -> None:
        text = (run / "config.yaml").read_text()
        assert old in text
        (run / "config.yaml").write_text(text.replace(old, new, 1))

    return damage


def written(name: str, content: bytes) -> Damage:
    return lambda run: (run / name).write_bytes(content) and None


def cut(name: str, size: int) -> Damage:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:size]) and None


def changed(name: str, without: str = "", **values: Any) -> Damage:
    """A checkpoint with other values, and without one."""

    def damage(run: Path) -> None:
        content = torch.load(run / name, weights_only=True)
        torch.save({key: value for key, value in (content | values).items() if key != without}, run / name)

    return damage


def reshaped(run: Path) -> None:
    """best.pt with a layer of another width, whole as a run of other settings would have saved it."""
    content = checkpoint.load(run / "best.pt")
    (part,) = content["team"].values()
    name = next(n for n, values in part["tianshou"].items() if n.endswith("0.weight"))
    part["tianshou"][name] = torch.zeros(16, 2)
    checkpoint.save(run / "best.pt", {key: value for key, value in content.items() if key != "version"})


RESUMED = {
    "truncated checkpoint": (cut("last.pt", 1_000), ["last.pt cannot be read"]),
    "empty checkpoint": (written("last.pt", b""), ["last.pt cannot be read", "EOFError"]),
    "checkpoint that is a text": (written("last.pt", b"hello"), ["last.pt cannot be read"]),
    "checkpoint of another version": (changed("last.pt", version=99), ["last.pt has version 99: expected 1"]),
    "checkpoint without policies": (changed("last.pt", without="team"), ["last.pt lacks 'team'"]),
    "metrics shortened": (cut("metrics.jsonl", 50), ["metrics.jsonl", "was shortened or replaced"]),
    "manifest of another kind": (written("manifest.json", b"[]"), ["manifest.json", "'id' is missing"]),
    "manifest without its keys": (written("manifest.json", b"{}"), ["manifest.json", "'id' is missing"]),
    "binary configuration": (written("config.yaml", b"\xff\xfe\x00"), ["config.yaml"]),
    "another learning rate": (edited("lr: 0.0003", "lr: 0.1"), ["config.yaml was edited", "undo the edit"]),
    "another number of copies": (edited("n_envs: 4", "n_envs: 8"), ["config.yaml was edited"]),
    "a key taken away": (edited("seed: 0\n", ""), ["config.yaml was edited"]),
    "a mistyped key": (edited("seed: 0\n", "sed: 0\n"), ["sed: no such key", "closest: seed"]),
    "an illegal value": (edited("n_agents: 2", "n_agents: 500"), ["n_agents = 500"]),
}  # fmt: skip


@pytest.mark.parametrize("case", RESUMED)
def test_resume_refuses(case: str, run: Path, marl: Marl) -> None:
    damage, expected = RESUMED[case]
    damage(run)
    before = (run / "last.pt").read_bytes()
    refusal = marl("resume", str(run), "total_steps=100").refusal
    assert [words for words in expected if words not in refusal] == []
    assert (run / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (written("best.pt", b""), "best.pt cannot be read"),
        (changed("best.pt", version=99), "version 99"),
        (changed("best.pt", without="trainer"), "lacks 'trainer'"),
        (edited("hidden:\n  - 8", "hidden:\n  - 16"), "config.yaml was edited"),
        (edited("horizon: 5", "horizon: 7"), "config.yaml was edited"),
        (reshaped, "does not fit these settings"),
        (lambda run: (run / "best.pt").unlink(), "no such file"),
    ],
)
def test_evaluate_refuses(damage: Damage, words: str, run: Path, marl: Marl) -> None:
    damage(run)
    assert words in marl("evaluate", str(run)).refusal


def test_a_refused_resume_gives_the_folder_back(run: Path, marl: Marl) -> None:
    """In one process: what is mended afterwards goes on."""
    whole = (run / "last.pt").read_bytes()
    changed("last.pt", without="team")(run)
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    assert "lacks 'team'" in marl("resume", str(run), "total_steps=100").refusal
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before
    (run / "last.pt").write_bytes(whole)
    assert marl("resume", str(run), "total_steps=100").code == 0
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == 100


def test_a_change_that_was_cut_short_is_legal(run: Path, marl: Marl) -> None:
    """Killed between manifest and configuration: the earlier one is known."""
    config = (run / "config.yaml").read_bytes()
    assert marl("resume", str(run), "total_steps=80").code == 0
    (run / "config.yaml").write_bytes(config)
    assert marl("resume", str(run), "total_steps=120").code == 0
    assert len(json.loads((run / "manifest.json").read_text())["earlier_hashes"]) == 2


def test_two_processes_on_one_folder(run: Path, marl: Marl) -> None:
    held = claim(run)
    assert held > 0
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    assert "belongs to one at a time" in marl("resume", str(run), "total_steps=100").refusal
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_a_full_disk_leaves_the_previous_checkpoint(run: Path, marl: Marl) -> None:
    """A limit on the size of files is a disk that is full for last.pt and not for the rows before it."""
    before, (soft, hard) = (run / "last.pt").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        refusal = marl("resume", str(run), "total_steps=100").err.splitlines()[-1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not be written" in refusal
    assert "the previous one is kept" in refusal
    assert (run / "last.pt").read_bytes() == before
    assert [p.name for p in run.glob("*.tmp")] == []
    assert marl("resume", str(run)).code == 0
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == 100
