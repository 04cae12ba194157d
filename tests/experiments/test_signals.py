"""A run that a scheduler ends: SIGTERM is as graceful as Ctrl-C, once, where the program is; what ignores it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments import cli, signals
from marl.track import read_metrics

ROOT = Path(__file__).parents[2]
TRAIN = [
    "train", "env=climbing", "algorithm=ippo", "n_envs=4", "algorithm.rollout=8", "total_steps=3200", "evaluation.episodes=4",
    "checkpoint.every=64", "tracker=wandb", "run_dir=run",
]  # fmt: skip


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_the_first_is_raised_and_the_rest_are_left(
    name: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[str] = []

    def long(_: object) -> int:
        try:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(5.0)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # a scheduler that is impatient
            ended.append("as it should")
        return 0

    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # whoever started the tests may ignore one, as nohup does
    monkeypatch.setattr(cli, "run", long)
    try:
        assert cli.main(["train"]) == code
        assert ended == ["as it should"] and capsys.readouterr().err == f"marl: ended by {name}\n"
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_what_is_ignored_stays_so() -> None:
    """As nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raised():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_gets_no_signals() -> None:
    said: list[int] = []

    def other() -> None:
        with signals.raised():
            said.append(1)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert said == [1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_offline_wandb_has_every_row_after(name: str, tmp_path: Path) -> None:
    """Ended in its middle and continued: the newest file of W&B has every row, and the run is the one that never stopped."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    marl = [sys.executable, "-m", "experiments.cli"]
    run = tmp_path / "run"
    process = subprocess.Popen([*marl, *TRAIN], cwd=tmp_path, env=given, stderr=subprocess.PIPE, text=True)
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_bytes().count(b"\n") < 20:
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    _, said = process.communicate()
    assert process.returncode == {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}[name], said
    assert "Traceback" not in said
    subprocess.run([*marl, "resume", "run"], cwd=tmp_path, env=given, check=True, capture_output=True)
    newest = max((run / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime)
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(newest)]
    records = [json.loads(line) for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]
    told = [record["history"]["item"]["_step"] for record in records if record["type"] == "history"]
    assert told == [row["step"] for row in read_metrics(run / "metrics.jsonl")]
