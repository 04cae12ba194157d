"""Long work is never silent: a line before or soon, then one every few seconds, the innermost work's; nothing where a bar is up."""

from __future__ import annotations

import time

import pytest

from marl import notice


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of a user's is two hundredths here."""
    monkeypatch.setattr(notice, "EVERY", 0.18)
    monkeypatch.setattr(notice, "SOON", 0.04)
    monkeypatch.setattr(notice, "LOOK", 0.005)


def lasting(seconds: float) -> None:
    time.sleep(seconds)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.removeprefix("marl: ") for line in capsys.readouterr().err.splitlines()]


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with notice.working("a look", first=5.0):
        pass
    assert lines(capsys) == []


def test_work_that_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    with notice.working("compiling", first=0.0):
        assert lines(capsys) == ["compiling"]


def test_work_that_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    notice.heard()
    with notice.working("evaluating", first=0.04):
        notice.at("baseline steady")
        notice.count("tick", 1_200, 5_000)
        lasting(1.0)
    first, *more = lines(capsys)
    assert first == "evaluating, baseline steady, tick 1,200 of 5,000"
    assert more and all(line.startswith("evaluating (") and line.endswith(" s), baseline steady, tick 1,200 of 5,000") for line in more)
    lasting(0.4)
    assert lines(capsys) == []


def test_the_innermost_work_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    with notice.working("outer", first=0.02), notice.working("inner", first=0.02):
        notice.at("there")
        lasting(0.5)
    assert {line.split(" ")[0].rstrip(",") for line in lines(capsys)} == {"inner"}
    with notice.working("outer", first=0.02), notice.shown():
        lasting(0.5)
    assert lines(capsys) == []


def test_what_was_shown_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody else's line every so often: nothing needs to be said."""
    with notice.working("table", first=0.1):
        for _ in range(10):
            notice.heard()
            lasting(0.01)
    assert lines(capsys) == []


def test_details_without_work_go_nowhere() -> None:
    notice.at("nothing")
    notice.count("tick", 1)
    assert notice._works == []
