"""Drawn cases have no time limit each: a busy machine is no bug, and speed is measured as ratios (tests/speed)."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
