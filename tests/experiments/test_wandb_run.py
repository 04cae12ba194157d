"""W&B is no part of a run: without a key, without a network, with one that dies, it is a line; a login is seen."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from experiments import wandb_run
from experiments.run_folder import RunFolder
from experiments.wandb_run import Wandb, has_key, unreachable
from marl.track import MetricsLog

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without keys, whose server is a closed port of this machine."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{_closed()}")


def _closed() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Session:
    """What `wandb.init` returns, as far as it is used."""

    def __init__(self, step: int = 0, offline: bool = False, fails_at: int = -1) -> None:
        self.step, self.offline, self.url, self.fails_at = step, offline, None if offline else "https://wandb.ai/me/p/runs/id", fails_at
        self.rows: list[int] = []
        self.summary: dict[str, Any] = {}
        self.dir, self.finished = "/runs/wandb/offline-run-1-id/files", False

    def log(self, values: dict[str, float], step: int) -> None:
        if step == self.fails_at:
            raise ConnectionError("the service died")
        self.rows.append(step)

    def finish(self) -> None:
        self.finished = True


class Server:
    """`wandb.init`: what it was asked, and what it answers by mode."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str | None, Any]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers = answers
        monkeypatch.setattr("wandb.init", self)
        monkeypatch.setattr("wandb.Settings", dict)

    def __call__(self, **given: Any) -> Any:
        self.asked.append(given)
        answer = self.answers[given["mode"]]
        if isinstance(answer, Exception):
            raise answer
        return answer


CONFIG = {
    "env": {"name": "kyle"},
    "algorithm": {"name": "ippo"},
    "seed": 3,
    "tracker": {"project": "p", "group": "g", "job_type": "train", "tags": ["kyle"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with rows at steps 0, 10 and 20, of a sweep."""
    made = RunFolder(tmp_path / "monday-sweep" / "4")
    made.path.mkdir(parents=True)
    (made.path.parent / "multirun.yaml").write_text("")
    made.manifest.write_text('{"id": "id", "config_hash": "x", "git": null}')
    log = MetricsLog(made.metrics)
    for step in (0, 10, 20):
        log.append(step, {"x": 1.0})
    log.close()
    return made


def test_a_login_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `wandb login` keeps it: netrc, of the server that is meant."""
    monkeypatch.delenv("WANDB_BASE_URL")
    assert not has_key() and unreachable() == "no key: wandb login, or WANDB_API_KEY"
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_key() and not has_key("https://wandb.my.firm")
    (tmp_path / ".netrc").write_text("machine nonsense nonsense")
    assert not has_key()
    monkeypatch.setenv("NETRC", str(tmp_path / "mine"))
    (tmp_path / "mine").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert has_key()
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert has_key()


def test_no_network_is_found_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert "cannot be reached: [Errno 111] Connection refused" in unreachable()


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(wandb_run, "PATIENCE", 0.05)
    waiting = threading.Event()
    monkeypatch.setattr(wandb_run.urllib.request, "urlopen", lambda *_, **__: BytesIO(b"late" if waiting.wait(5.0) else b""))
    assert unreachable().endswith("no answer in 0 s")
    waiting.set()


class Forbidden(BaseHTTPRequestHandler):
    """A server that is there."""

    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *_: Any) -> None:
        pass


def test_any_answer_is_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), Forbidden)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    assert unreachable() == ""
    server.shutdown()
    server.server_close()


def test_without_a_network_the_run_is_offline(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    server = Server(monkeypatch, {"offline": Session(offline=True)})
    Wandb(folder, CONFIG, "id")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("marl: W&B: offline (http://127.0.0.1:") and "Connection refused" in line
    (asked,) = server.asked
    assert (asked["name"], asked["tags"], asked["group"]) == ("kyle-ippo-s3", ["kyle", "seed3", "monday-sweep"], "g")
    assert asked["config"]["manifest"]["id"] == "id" and asked["resume"] == "allow"


def test_a_key_that_is_refused(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(wandb_run, "unreachable", lambda: "")
    Server(monkeypatch, {None: ValueError("API key must have 40 characters\nit has 3"), "offline": Session(offline=True)})
    told = Wandb(folder, CONFIG, "id")
    told.row(0, {"x": 1.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert "W&B: offline (API key must have 40 characters it has 3)" in line


def test_what_is_asked_for_is_not_doubted(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """WANDB_MODE=offline: no key is needed and no word either."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    Server(monkeypatch, {"offline": Session(offline=True)})
    Wandb(folder, CONFIG, "id")
    assert capsys.readouterr().err == ""


def test_no_wandb_at_all(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    Server(monkeypatch, {"offline": OSError("no space")})
    told = Wandb(folder, CONFIG, "id")
    told.catch_up(None)
    told.close()
    assert told.conclude({}) == []
    assert [line.partition("W&B: ")[2].partition(" (")[0] for line in capsys.readouterr().err.splitlines()] == [
        "offline",
        "nothing is told",
    ]


@pytest.mark.parametrize(
    ("held", "before", "expected"),
    [
        (0, None, [0, 10, 20]),  # a new file: all
        (11, None, [20]),  # the server has rows up to step 10
        (21, None, []),
        (0, 20, [0, 10]),  # the row of step 20 is told next
        (0, 0, []),
    ],
)
def test_what_is_lacking_is_told_again(
    held: int, before: int | None, expected: list[int], folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_run, "unreachable", lambda: "")
    session = Session(step=held)
    Server(monkeypatch, {None: session})
    told = Wandb(folder, CONFIG, "id")
    told.catch_up(before)
    for step in expected:
        told.row(step, {"x": 1.0})  # a tracker may meet a row again
    assert session.rows == expected


def test_a_service_that_dies_ends_no_run(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(wandb_run, "unreachable", lambda: "")
    session = Session(fails_at=10)
    Server(monkeypatch, {None: session})
    told = Wandb(folder, CONFIG, "id")
    told.catch_up(None)
    told.close()
    assert session.rows == [0]
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing more is told (the service died)" in line and "marl resume" in line


def test_the_page_is_named_and_the_session_ends(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_run, "unreachable", lambda: "")
    session = Session()
    Server(monkeypatch, {None: session})
    told = Wandb(folder, CONFIG, "id")
    report = {"return": {"mean": 1.5}, "scores": {"maker": {"mean": 0.5, "against": {}}}, "score": {"mean": 0.5}, "together": None}
    assert told.conclude({**report, "metrics": {}, "baselines": {}, "step": 7}) == ["W&B: https://wandb.ai/me/p/runs/id"]
    assert session.summary == {"final/step": 7, "final/return": 1.5, "final/score/maker": 0.5, "final/score": 0.5}
    told.close()
    assert session.finished


def test_a_network_that_goes_away_at_the_end(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left is waited for, not for ever."""
    waiting = threading.Event()
    monkeypatch.setattr(wandb_run, "unreachable", lambda: "")
    monkeypatch.setattr(wandb_run, "SENDING", 0.05)
    monkeypatch.setattr(Session, "finish", lambda self: waiting.wait(5.0))
    Server(monkeypatch, {None: Session()})
    Wandb(folder, CONFIG, "id").close()
    waiting.set()
    assert "send the rest with: wandb sync" in capsys.readouterr().err
