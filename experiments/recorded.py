"""Recorded results of published rows: small files of figures beside the rows, and the page that is made of them.

`docs/reproduction.md` is text made from `experiments/rows/` alone, so that it can be made again and compared; it shows the
learning curves of recorded rows, which lie as pictures in the folder `curves` beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import published, races, run_folder
from experiments.curves import PICTURE
from experiments.published import ROWS, SESSIONS, Row
from experiments.races import OURS, THEIRS, Comparison, Race, mean_of, steps_of
from experiments.tables import markdown, number
from experiments.verdict import Verdict, clock, content
from experiments.verdict import published as value_of
from marl.errors import UserError

RESULTS = ROWS / "results"
RACED = "races"
PAGE = Path(__file__).parents[1] / "docs" / "reproduction.md"


def record(v: Verdict, root: Path) -> Path:
    """Keep a verdict, and the picture that its runs under `root` left. Raises UserError where seeds are missing that the row asks for."""
    if len(v.seeds) < v.row.seeds:
        raise UserError(f"{v.row.name}: {len(v.seeds)} seeds have a result, {v.row.seeds} are needed to record it")
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{v.row.name}.json"
    run_folder.write(path, json.dumps(content(v), indent=1) + "\n")
    drawn, kept = root / v.row.name / PICTURE, picture(v.row.name)
    if drawn.exists() and PAGE.parent.is_dir():
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(drawn, kept)
    return path


def picture(name: str) -> Path:
    """Where the picture of a recorded row is kept."""
    return PAGE.parent / "curves" / f"{name}.png"


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What is recorded, by row. Raises UserError for a file that is none."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: {error}, one JSON object is expected") from error
    return found


def record_race(c: Comparison) -> Path:
    """Keep a comparison. Raises UserError where seeds are missing that the race asks for."""
    if min(len(c.ours), len(c.theirs)) < c.race.seeds:
        raise UserError(f"{c.race.name}: {len(c.ours)} and {len(c.theirs)} seeds have a result, {c.race.seeds} are needed to record it")
    (RESULTS / RACED).mkdir(parents=True, exist_ok=True)
    path = RESULTS / RACED / f"{c.race.name}.json"
    run_folder.write(path, json.dumps(races.content(c), indent=1) + "\n")
    return path


def write_page() -> Path:
    """Make the page again from what is declared and recorded. Raises UserError outside a checkout."""
    if not PAGE.parent.is_dir():
        raise UserError(f"{PAGE.parent} is not there: the page lives in a checkout")
    run_folder.write(PAGE, whole_page())
    return PAGE


def whole_page() -> str:
    """The page of what is declared and recorded here."""
    return page(list(published.load().values()), results(RESULTS)) + races_page(list(races.load_races().values()), results(RESULTS / RACED))


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
    text = [INTRODUCTION, markdown(head, lines), *(["\n## Rows that were run\n", *details] if details else [])]
    return "\n".join(text) + "\n"


def _cells(row: Row, kept: Mapping[str, Any] | None) -> list[str]:
    asked = [f"`{row.name}`", value_of(row)]
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
            f"Evaluations during training: mean {number(kept['over_training'])}, maximum {number(kept['maximum'])}"
            + ("." if kept["best"] is None else f"; best checkpoints on fresh episodes {number(kept['best'])}.")
        )
    lines += [f"Missed: {text}." for text in kept["missed"]]
    if not kept["passed"]:
        lines.append(f"Cause: {row.cause or 'not known'}")
    lines.append(f"Source: {row.published.where}{'' if row.published.read else ', from memory'}.{row.note and ' ' + row.note}")
    lines.append(f"Code: {', '.join(commit[:10] for commit in kept['commits']) or 'no commit known'}.")
    kind = "Sessions" if row.kind == SESSIONS else "Learning curves"
    if (shown := picture(row.name)).exists():
        lines += ["", f"![{kind} of {row.name}](curves/{shown.name})"]
    return "\n".join(lines) + "\n"


def _recipe(row: Row) -> str:
    return f"{row.conventions.capitalize()}; {row.protocol}"


RACES_INTRODUCTION = """
## Sample efficiency

Environment steps until a goal is reached, ours tuned, theirs as published: `marl reproduce --efficiency --all`. Means count a seed
that never gets there (censored) with the cap, so that a censored seed of theirs makes the ratio a lower bound. The interval is a
bootstrap over the seeds of both sides; a race passes where all of it is at least what is asked.
"""


def races_page(contests: Sequence[Race], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The part of the page about races."""
    head = ["race", "goal", "ours, mean steps", "theirs", "theirs / ours [95 %]", "asked", "verdict", "CPU"]
    text = [RACES_INTRODUCTION, markdown(head, [_race_cells(race, found.get(race.name)) for race in contests]), ""]
    for race in contests:
        text.append(f"### `{race.name}`: {race.title}\n\nMeasured: {race.measure}, {race.scale}. {race.note}")
        if race.name in found:
            text += [f"{side.capitalize()}: {steps_of(found[race.name][side])}." for side in (OURS, THEIRS)]
        text.append("")
    return "\n".join(text)


def _race_cells(race: Race, kept: Mapping[str, Any] | None) -> list[str]:
    goal = f"{race.measure} {race.goal.words().removeprefix('mean ')}"
    if kept is None:
        return [f"`{race.name}`", goal, "not run", "not run", "", f">= {race.ratio:g}", "not run", ""]
    low = "none" if kept["ratio"] is None else "{} [{}, {}]".format(*map(number, kept["ratio"]))
    said = "PASS" if kept["passed"] else "**FAIL**"
    if kept["fingerprints"] != [race.row(side).fingerprint for side in (OURS, THEIRS)]:
        said += ", the recipe has changed since"
    sides = [mean_of(mean, kept[side]) for mean, side in zip(kept["means"], (OURS, THEIRS))]
    return [f"`{race.name}`", goal, *sides, low, f">= {race.ratio:g}", said, clock(kept["cpu"])]
