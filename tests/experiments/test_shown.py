"""What people look at: tables, pictures, the progress line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import plots, tables
from experiments.progress import Bar
from marl.schedule import Progress


def test_table_aligns() -> None:
    text = tables.table(["name", "n", "x"], [["a", 1_000, 0.5], ["long", 2, None]])
    assert text.splitlines() == ["name      n    x", "----  -----  ---", "a     1,000  0.5", "long      2"]
    assert tables.table(["empty"], []).splitlines() == ["empty", "-----"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (-1234.56, "-1,235"), (123456.7, "123,457"), (7, "7"), (12345, "12,345"), (True, "True"), (None, "")],
)
def test_numbers_to_four_digits(value: object, text: str) -> None:
    assert tables.number(value) == text


def test_summary_says_score_and_why_there_is_none() -> None:
    found = {"return": {"mean": 1.0, "low": 0.5, "high": 1.5, "episodes": 8}, "metrics": {"spend": 2.0}}
    against = {"naive_name": "random", "against": {"name": "best"}, "kind": "cooperative"}
    scores = {"buyer": {"mean": 0.25, "low": 0.2, "high": 0.3, **against}, "seller": {"mean": None, "reason": "too few", **against}}
    whole = {"mean": 0.5, "low": 0.4, "high": 0.6, **against, "kind": "welfare"}
    text = tables.summary({**found, "baselines": {"random": found}, "scores": scores, "together": whole}, speed=1234.5)
    assert "learned          1 [0.5, 1.5]" in text
    assert "score of buyer: 0.25 [0.2, 0.3] (random = 0, best = 1, cooperative)" in text
    assert "no score of seller: too few" in text
    assert "score of all: 0.5 [0.4, 0.6] (random = 0, best = 1, welfare)" in text
    assert "env steps/s: 1,234" in text


def test_learning_curves_of_what_is_there(tmp_path: Path) -> None:
    rows = [{"step": 0.0, "evaluation/return": 1.0}, {"step": 10.0, "evaluation/return": 2.0, "loss/a": 3.0}]
    assert plots.learning_curves(rows, tmp_path) == [tmp_path / "return.png", tmp_path / "losses.png"]
    assert plots.learning_curves([], tmp_path) == []
    crowd = [{"step": step, **{f"loss/user_{i}/{kind}": i + step / 10 for i in range(60) for kind in "abc"}} for step in (0, 1, 2)]
    assert plots.learning_curves(crowd, tmp_path) == [tmp_path / "losses.png"]  # a warning of a legend without room is an error here
    assert plots.alike(["loss/a_0/x", "loss/a_11/x", "loss/b/x"]) == {
        "loss/a/x (mean and range of 2)": ["loss/a_0/x", "loss/a_11/x"], "loss/b/x": ["loss/b/x"]
    }  # fmt: skip
    _, ax = plots.figure()
    assert ax.get_lines() == []


def test_bid_functions_over_theory_and_how_they_were_learned(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 50)
    bids = (values, {"seed 0": 0.9 * values}, 0.5 * values)
    points = {"seed 0": [(0.0, 0.9), (10.0, 0.5)]}
    one = plots.bid_functions({"a": bids}, {"a": points}, {"a": 0.5}, tmp_path / "one.png")
    two = plots.bid_functions({"a": bids, "b": bids}, {"a": points, "b": points}, {"a": 0.5, "b": 0.5}, tmp_path / "two.png")
    wide, wider = (np.asarray(Image.open(path)) for path in (one, two))
    assert wider.shape[1] > wide.shape[1]
    assert len(np.unique(wide.reshape(-1, wide.shape[2]), axis=0)) > 2


def progress(done: int, row: dict[str, float]) -> Progress:
    return Progress(done, 1_000, done * 2, row)


def test_plain_lines_are_few() -> None:
    out = io.StringIO()
    bar = Bar("steps", out)
    for done in range(1_001):
        bar(progress(done, {"evaluation/return": 1.5} if done == 0 else {}))
    bar.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "  0% of 1,000 steps, return 1.5"
    assert lines[-1].startswith("100% of 1,000 steps")
    assert lines[-1].endswith("env steps/s, return 1.5")


def test_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    bar = Bar("episodes", out)
    bar(progress(0, {}))
    bar(progress(500, {"evaluation/return": 1.5, "evaluation/score": 0.75}))
    bar.close()
    assert " 50%" in out.getvalue()
    assert "env steps/s, score 0.75" in out.getvalue()
    assert bar.speed is not None
    assert bar.speed > 0
