"""`marl benchmark` finds its references where a console script starts it, whose path lacks the working folder; elsewhere it says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from experiments.benchmark import references
from marl import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def console(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path without the checkout, and nothing of tests imported."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(ROOT), str(Path.cwd()))])
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        monkeypatch.delitem(sys.modules, name)


def test_references_are_found_at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert Path(references("measure").__file__) == ROOT / "tests" / "speed" / "measure.py"


def test_elsewhere_it_says_where_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run it at the root of a checkout"):
        references("measure")
