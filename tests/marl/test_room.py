"""Memory: the tightest limit is found wherever it is set, and what does not fit is refused with an estimate before it is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import envs
from marl import UserError, VectorGame, room
from marl.evaluate import evaluate
from marl.replay import LaneBuffer
from marl.team import parts, scripted
from tests.commons import COMMONS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 100 MB left."""
    monkeypatch.setattr(room, "left", lambda virtual=False: room.Left(100_000_000, "of this machine's"))


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system that says nothing of its memory."""
    monkeypatch.setattr(room, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(room, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(room, "_addresses", lambda: iter(()))
    (tmp_path / "cgroup" / "memory").mkdir(parents=True)
    return tmp_path


def test_a_system_that_says_nothing_refuses_nothing(system: Path) -> None:
    assert room.left() is None
    room.check(1 << 50, "all", "none")


def test_what_the_machine_has(system: Path) -> None:
    (system / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000000 kB\n")
    assert room.left() == (2_048_000_000, "of this machine's")


@pytest.mark.parametrize("folder", ["", "memory"])
def test_what_a_container_has(folder: str, system: Path) -> None:
    """Its limit, less what it uses, of which files can be given back."""
    at = system / "cgroup" / folder
    names = {
        "": ("memory.max", "memory.current", "inactive_file"),
        "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }
    limit, used, spare = names[folder]
    (at / limit).write_text("1000000000\n")
    (at / used).write_text("400000000\n")
    (at / "memory.stat").write_text(f"anon 5\n{spare} 100000000\n")
    (system / "meminfo").write_text("MemAvailable:    2000000 kB\n")
    assert room.left() == (700_000_000, "the limit of this container")
    (at / limit).write_text("max\n" if not folder else f"{(1 << 63) - 4096}\n")
    assert room.left() == (2_048_000_000, "of this machine's")


def test_copies_that_do_not_fit(little: None) -> None:
    with pytest.raises(
        UserError, match=r"commons in 1,000,000 copies of 4 agents needs \d+ MB of memory, and 100 MB are left .*lower n_envs"
    ):
        VectorGame(COMMONS, 1_000_000)
    with pytest.raises(UserError, match="lower n_envs"):
        envs.make("trading", 20_000)


@pytest.mark.parametrize("name", ["commons", "auction", "trading", "supply_chain", "cluster", "spread", "kyle"])
def test_the_estimate_is_what_copies_take(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tenth of the bytes of their arrays, above which it would refuse what fits."""
    asked: list[int] = []
    monkeypatch.setattr(room, "check", lambda needed, *_: asked.append(needed))
    few, many = (sum(_arrays(envs.make(name, n))) for n in (10, 60))
    per_copy = (asked[2] + asked[3] - asked[0] - asked[1]) / 50
    assert per_copy == pytest.approx((many - few) / 50, rel=0.1)


def _arrays(copies: VectorGame) -> list[int]:
    found = [*vars(copies).values(), *copies.world]
    owned = {id(x if x.base is None else x.base): x if x.base is None else x.base for x in found if isinstance(x, np.ndarray)}
    return [x.nbytes for x in owned.values()]


@pytest.mark.parametrize(("ring", "words"), [(True, "lower algorithm.replay"), (False, "lower n_envs or algorithm.rollout")])
def test_rows_that_do_not_fit(ring: bool, words: str, little: None) -> None:
    with pytest.raises(UserError, match=words):
        LaneBuffer(2, 1, 50_000_000, 4, 1, fields=(), keep_next=ring, seed=0)


def test_a_replay_that_is_never_filled_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring takes addresses at once, and memory as it is written: a short run may have a long one."""
    ring = LaneBuffer(2, 1, 1_000_000, 4, 1, fields=(), keep_next=True, seed=0)
    monkeypatch.setattr(room, "left", lambda virtual=False: room.Left(80_000_000, "of this machine's"))
    ring.check_room(100_000)
    with pytest.raises(UserError, match="a replay of 2,000,000 agent rows needs 1"):
        ring.check_room(float("inf"))


def test_evaluations_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = VectorGame(COMMONS, 4, horizon=2)
    plan = parts(copies, "group")
    seats = {name: scripted(copies, part, "random") for name, part in plan.items()}
    monkeypatch.setattr(room, "SMALL", 0)
    monkeypatch.setattr(room, "left", lambda virtual=False: room.Left(100, "of this machine's"))
    with pytest.raises(UserError, match=r"lower evaluation\.episodes"):
        evaluate(lambda n: copies, plan, seats, 4, 0)


def test_a_limit_on_addresses_is_told_in_one_line(tmp_path: Path) -> None:
    """What a user types, under `ulimit -v`: no traceback, and no folder."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = "train env=trading algorithm=ippo n_envs=1_000_000 run_dir=run"
    command = f"ulimit -v 8000000; exec {sys.executable} -m experiments.cli {words}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "trading in 1,000,000 copies of 4 agents needs" in done.stderr and "ulimit -v" in done.stderr
    assert not (tmp_path / "run").exists()
