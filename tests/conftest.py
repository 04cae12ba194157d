"""Drawn cases have no time limit each: a busy machine is no bug, and speed is measured as ratios (tests/speed); notices are off."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import settings

from marl import notice

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether rules are compiled, and how long a test takes, is this machine's and changes no command's words."""
    monkeypatch.setattr(notice, "EVERY", inf)
