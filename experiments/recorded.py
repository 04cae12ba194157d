"""Recorded results of published rows: small files of figures beside the rows, and the page that is made of them.

`docs/reproduction.md` is text made from `experiments/rows/` alone, so that it can be made again and compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import run_folder
from experiments.published import ROWS, SESSIONS, Row
from experiments.tables import number
from experiments.verdict import Verdict, clock, content, published
from marl.errors import UserError

RESULTS = ROWS / "results"
PAGE = Path(__file__).parents[1] / "docs" / "reproduction.md"


def record(v: Verdict, folder: Path = RESULTS) -> Path:
    """Keep a verdict. Raises UserError where seeds are missing that the row asks for."""
    if len(v.seeds) < v.row.seeds:
        raise UserError(f"{v.row.name}: {len(v.seeds)} seeds have a result, {v.row.seeds} are needed to record it")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{v.row.name}.json"
    run_folder.write(path, json.dumps(content(v), indent=1) + "\n")
    return path


def results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What is recorded, by row. Raises UserError for a file that is none."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: {error}, one JSON object is expected") from error
    return found


def write_page(rows: Mapping[str, Row], found: Mapping[str, Mapping[str, Any]], path: Path = PAGE) -> Path:
    """Make the page again. Raises UserError outside a checkout."""
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not there: the page lives in a checkout")
    run_folder.write(path, page(list(rows.values()), found))
    return path


INTRODUCTION = """# Published results, rerun

Made by `marl reproduce --report` from `experiments/rows/`; do not edit. One command reruns a row: `marl reproduce spread-mappo`.

Better than published passes. A seed is judged on fresh greedy episodes of its last policy, which neither chose anything nor were
seen in training. The interval is Student's over seeds (over sessions in the duopoly). *Maximum* is what papers print, the best
evaluation point of the mean over seeds; it is biased upward. Values marked "from memory" were not read in the paper: verify
them before you quote them. CPU is of all seeds together.
"""


def page(rows: Sequence[Row], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page."""
    head = ["row", "published", "ours, mean [95 %]", "asked", "verdict", "seeds", "steps a seed", "CPU"]
    lines = [_cells(row, found.get(row.name)) for row in rows]
    details = [_details(row, found[row.name]) for row in rows if row.name in found]
    never = [row for row in rows if row.name not in found]
    text = [INTRODUCTION, _markdown(head, lines), "\n## Rows that were run\n", *details]
    if never:
        text += ["\n## Rows that were not run\n", *(f"- `{row.name}`: {_recipe(row)}" for row in never)]
    return "\n".join(text) + "\n"


def _cells(row: Row, kept: Mapping[str, Any] | None) -> list[str]:
    asked = [f"`{row.name}`", published(row)]
    if kept is None:
        return [*asked, "not run", row.passes.words(), "not run", "", f"{row.steps:,}", ""]
    said = ("PASS" if kept["passed"] else "**FAIL**") + ("" if kept["fingerprint"] == row.fingerprint else ", the recipe has changed since")
    seeds = str(len(kept["seeds"])) + (f", {len(kept['values'])} sessions" if row.kind == SESSIONS else "")
    return [*asked, _mean(kept), row.passes.words(), said, seeds, f"{kept['steps']:,}", clock(kept["cpu"])]


def _mean(kept: Mapping[str, Any]) -> str:
    return (
        "none"
        if kept["mean"] is None
        else f"{number(kept['mean'])}" + ("" if kept["low"] is None else f" [{number(kept['low'])}, {number(kept['high'])}]")
    )


def _details(row: Row, kept: Mapping[str, Any]) -> str:
    lines = [f"### `{row.name}`: {row.title}", "", f"Measured: {row.measure}, {row.scale}. {_recipe(row)}."]
    unit = "Sessions" if row.kind == SESSIONS else "Seeds"
    lines.append(f"{unit}: {', '.join(number(float(x)) for x in kept['values'])}.")
    if kept["counts"]:
        lines.append("Outcomes of episodes: " + ", ".join(f"{value} x {n:,}" for value, n in kept["counts"].items()) + ".")
    if kept["maximum"] is not None:
        lines.append(
            f"Evaluations during training: mean {number(kept['over_training'])}, maximum {number(kept['maximum'])}; "
            f"best checkpoints on fresh episodes {number(kept['best'])}."
        )
    lines += [f"Missed: {text}." for text in kept["missed"]]
    lines.append(f"Source: {row.published.where}. {row.note}")
    lines.append(f"Code: {', '.join(commit[:10] for commit in kept['commits']) or 'no commit known'}.")
    return "\n".join(lines) + "\n"


def _recipe(row: Row) -> str:
    return f"{row.conventions.capitalize()}; {row.protocol}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
