"""Bits that changed, files that are gone, other code than the run was made with: each is said, and a refusal changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from experiments import lineage, run_folder
from experiments.cli import main
from experiments.run_folder import RunFolder
from marl.track import read_metrics
from tests.commons import COMMONS
from tests.experiments.conftest import TINY, Marl

TEAM = [*TINY, "reward=team_mean", "total_steps=60", "evaluation.every=20"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 60 steps with a best policy, and numbered checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(envs.GAMES, "harvest", COMMONS)
        assert main(["train", *TEAM, "checkpoint.keep=2", f"run_dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunFolder:
    """A copy of it, to be damaged."""
    shutil.copytree(finished, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def contents(run: RunFolder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in run.path.iterdir()}


def flipped(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(bytes(data))


def a_number(path: Path) -> int:
    """Where in a checkpoint the bytes of its largest array of weights begin: an archive keeps them as they are."""
    import torch

    content = torch.load(path, weights_only=True)
    (part,) = content["team"].values()
    weights = max((w for w in part["tianshou"].values() if isinstance(w, torch.Tensor)), key=lambda w: w.numel())
    return path.read_bytes().index(weights.contiguous().numpy().tobytes()) + 4


@pytest.mark.parametrize("bit", [1, 6])
def test_one_flipped_bit_of_a_weight_is_a_line(bit: int, run: RunFolder, marl: Marl, tmp_path: Path) -> None:
    """In the third byte of a float32 and in its exponent, whoever reads the checkpoint."""
    for path in (run.best, run.last):
        flipped(path, a_number(path) + (2 if bit == 1 else 3), bit)
    before = contents(run)
    for given, name in (
        (["evaluate", str(run.path)], "best.pt"),
        (["evaluate", str(run.path), "--checkpoint", "last"], "last.pt"),
        (["evaluate", str(run.path), str(run.path), "--ensemble", "mean"], "best.pt"),
        (["replay", str(run.path), "-o", str(tmp_path / "page.png")], "best.pt"),
        (["resume", str(run.path)], "last.pt"),
        (["resume", str(run.path), "total_steps=100"], "last.pt"),
    ):
        assert f"{name} is damaged: its numbers are not those that were saved" in marl(*given).refusal
        assert contents(run) == before


def test_flips_anywhere_are_told_or_change_nothing(run: RunFolder, marl: Marl) -> None:
    """A hundred bits over the whole file: what is loaded is what was saved."""
    from marl import checkpoint
    from marl.errors import UserError

    whole, data = checkpoint.load(run.last), run.last.read_bytes()
    told = 0
    for at in np.linspace(0, len(data) - 1, 100).astype(int):
        flipped(run.last, int(at), int(at) % 8)
        try:
            assert checkpoint.digest(checkpoint.pack(checkpoint.load(run.last))) == checkpoint.digest(checkpoint.pack(whole))
        except UserError:
            told += 1
        run.last.write_bytes(data)
    assert told > 30


@pytest.mark.parametrize("where", [0.1, 0.5, 0.95])
def test_a_flipped_digit_of_a_row_is_a_line(where: float, run: RunFolder, marl: Marl) -> None:
    data = run.metrics.read_bytes()
    at = next(i for i in range(int(where * len(data)), len(data)) if chr(data[i]) in "2345" and chr(data[i - 1]).isdigit())
    run.metrics.write_bytes(data[:at] + bytes([data[at] + 1]) + data[at + 1 :])
    before = contents(run)
    assert "are not those that the checkpoint counts" in marl("resume", str(run.path), "total_steps=100").refusal
    assert contents(run) == before


def cut(run: RunFolder) -> None:
    run.metrics.write_bytes(run.metrics.read_bytes()[:-7])


def garbage(run: RunFolder) -> None:
    run.metrics.write_bytes(run.metrics.read_bytes()[:-7] + b"\x00\xff\x00\xff\x00\xff\x00")


def no_rows(run: RunFolder) -> None:
    run.metrics.unlink()


def half_a_checkpoint(run: RunFolder) -> None:
    run.last.write_bytes(run.last.read_bytes()[:1000])


def of_others(run: RunFolder) -> None:
    from marl import checkpoint

    content = checkpoint.load(run.last)
    (part,) = content["team"].values()
    name = next(n for n in part["tianshou"] if n.endswith("0.weight"))
    part["tianshou"][name] = part["tianshou"][name][:4]
    checkpoint.save(run.last, {key: value for key, value in content.items() if key != "version"})


@pytest.mark.parametrize("damage", [cut, garbage, no_rows, half_a_checkpoint, of_others], ids=lambda f: f.__name__)
def test_a_refused_resume_changes_nothing(damage: Callable[[RunFolder], None], run: RunFolder, marl: Marl) -> None:
    damage(run)
    before = contents(run)
    marl("resume", str(run.path), "total_steps=100", "early_stopping.patience=50").refusal  # noqa: B018  # asserts that there is one
    assert contents(run) == before


def test_rows_behind_the_checkpoint_are_written_again(run: RunFolder, marl: Marl) -> None:
    """A kill leaves whole rows and half a row behind the last checkpoint: no damage."""
    whole = run.metrics.read_bytes()
    run.metrics.write_bytes(whole + b'{"step":80,"train/episodes":3}\n{"ste')
    assert marl("resume", str(run.path)).code == 0
    assert run.metrics.read_bytes() == whole


# ---- last.pt is gone ----------------------------------------------------------------------------------------------------


def test_a_run_without_its_last_checkpoint_does_not_begin_again(run: RunFolder, marl: Marl) -> None:
    """Its numbered checkpoint takes its place; without one, and without a best, the rows say how far it was."""
    run.last.unlink()
    before = contents(run)
    newest = sorted(p.name for p in run.path.glob("step_*.pt"))[-1]
    assert f"has no last.pt, and {newest}" in (said := marl("resume", str(run.path)).refusal) and f"copy {newest} to last.pt" in said
    assert contents(run) == before
    for path in run.path.glob("*.pt"):
        path.rename(path.with_suffix(".kept"))
    assert "and metrics.jsonl with " in marl("resume", str(run.path)).refusal
    for name, kept in (("last.pt", newest.replace(".pt", ".kept")), ("best.pt", "best.kept")):
        shutil.copy(run.path / kept, run.path / name)
    assert marl("resume", str(run.path), "total_steps=80").code == 0
    assert read_metrics(run.metrics)[-1]["step"] == 80


def test_a_run_that_was_killed_at_its_first_row_begins_again(marl: Marl, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    for path in (run, whole):
        assert marl("train", *TEAM, f"run_dir={path}").code == 0
    rows = (run / "metrics.jsonl").read_bytes()
    for name in ("last.pt", "best.pt", "evaluation.json"):
        (run / name).unlink()
    (run / "metrics.jsonl").write_bytes(rows[: rows.index(b"\n") + 1])
    assert marl("resume", str(run)).code == 0
    assert (run / "metrics.jsonl").read_bytes() == rows


# ---- totals, threads, other code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [["total_steps=null"], ["total_steps=null", "total_steps=80"][:1], ["total_episodes=5"]])
def test_a_total_is_not_taken_away(given: list[str], run: RunFolder, marl: Marl) -> None:
    before = contents(run)
    refusal = marl("resume", str(run.path), *given).refusal
    assert "a total keeps its unit and may only grow" in refusal or "a run has one length" in refusal
    assert contents(run) == before
    assert marl("resume", str(run.path), "total_episodes=null").code == 0  # as it is


def test_threads_may_change_and_change_no_byte(run: RunFolder, marl: Marl, tmp_path: Path) -> None:
    other = RunFolder(Path(shutil.copytree(run.path, tmp_path / "other")))
    assert marl("resume", str(run.path), "total_steps=100").code == 0
    assert marl("resume", str(other.path), "total_steps=100", "threads=2").code == 0
    assert run.metrics.read_bytes() == other.metrics.read_bytes() and other.read_config()["threads"] == 2
    assert other.read_manifest()["changes"] == [{"total_steps": 100, "threads": 2}]


OLD: dict[str, tuple[Callable[[dict[str, Any]], Any], str, Any]] = {
    "numpy": (lambda m: m["versions"].update(numpy="1.26.4"), "numpy 1.26.4, now ", "1.26.4"),
    "torch": (lambda m: m["versions"].update(torch="2.0.1"), "torch 2.0.1, now ", "2.0.1"),
    "market-marl": (lambda m: m["versions"].update({"market-marl": "0.0.9"}), "market-marl 0.0.9, now ", "0.0.9"),
    "python": (lambda m: m.update(python="3.11.2"), "python 3.11.2, now ", "3.11.2"),
    "commit": (lambda m: m.update(git={"commit": 40 * "0", "dirty": False}), "commit 000000000000, now ", "000000000000"),
}


@pytest.mark.parametrize("name", OLD)
def test_other_code_is_said_at_resume_and_written_down(name: str, run: RunFolder, marl: Marl) -> None:
    change, words, old = OLD[name]
    manifest = run.read_manifest()
    assert lineage.differing(manifest, run_folder.made_with()) == {}
    change(manifest)
    run.manifest.write_text(json.dumps(manifest))
    said = marl("resume", str(run.path))
    (line,) = [line for line in said.err.splitlines() if "warning" in line]
    assert said.code == 0 and words in line and "may differ from the run that never stopped" in line
    (changed,) = run.read_manifest()["changes"]
    assert changed["made_with"][name][0] == old
    again = marl("resume", str(run.path))
    assert "was made with" not in again.err and len(run.read_manifest()["changes"]) == 1


def test_a_manifest_that_knows_no_versions_is_resumed(run: RunFolder, marl: Marl) -> None:
    manifest = {key: value for key, value in run.read_manifest().items() if key in ("id", "config_hash", "git")}
    run.manifest.write_text(json.dumps(manifest))
    said = marl("resume", str(run.path))
    assert said.code == 0 and "python None, now " in said.err
