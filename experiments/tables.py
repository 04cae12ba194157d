"""Tables as aligned plain text and as Markdown, and the summary of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned: texts to the left, numbers to the right, under a rule."""
    cells = [[number(x) for x in row] for row in rows]
    width = [max(len(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
    right = [bool(rows) and all(isinstance(row[i], int | float) or row[i] in ("", None) for row in rows) for i in range(len(head))]

    def line(texts: Sequence[str]) -> str:
        return "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, width, right)).rstrip()

    return "\n".join([line(head), line(["-" * w for w in width]), *(line(c) for c in cells)])


@dataclass(frozen=True)
class Line:
    """A row of a table: values [S, K] of the shown metrics, one line of them for a scripted policy, one a seed for `learners`."""

    label: str
    values: list[list[float]]
    learners: bool = False

    def cells(self) -> list[str]:
        """The row as texts: a number, or the mean over seeds with its interval."""
        label = seeded(self.label, len(self.values)) if self.learners else self.label
        return [label, *(spread(column) for column in zip(*self.values))]


def seeded(label: str, seeds: int) -> str:
    """The label of a row of several seeds."""
    return f"{label}, {seeds} seed{'s' if seeds > 1 else ''}"


WIDE = 140
"""Characters of a line beyond which metrics are turned: a row for each, a column for everyone."""


def players(head: Sequence[str], rows: Sequence[Sequence[Any]], metrics: Sequence[str], values: Sequence[Mapping[str, Any]]) -> str:
    """A row for everyone who played, the name first, then the metrics in its `values`; where these are many, in a table below."""
    whole = table([*head, *metrics], [[*row, *(own[m] for m in metrics)] for row, own in zip(rows, values, strict=True)])
    if max(map(len, whole.splitlines())) <= WIDE:
        return whole
    names = [str(row[0]) for row in rows]
    return f"{table(head, rows)}\n\n{table(['metric', *names], [[m, *(own[m] for own in values)] for m in metrics])}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as a table in Markdown; cells are taken as they are."""
    lines = [list(head), ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: Any) -> str:
    """A cell: floats to four significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def interval(estimate: Mapping[str, float]) -> str:
    """`mean [low, high]` of an estimate with a 95 % interval."""
    return f"{number(float(estimate['mean']))} [{number(float(estimate['low']))}, {number(float(estimate['high']))}]"


def spread(values: Any) -> str:
    """The mean of values [N] with its interval, where there are several."""
    from marl import stats

    if len(values) == 1:
        return number(float(values[0]))
    found = stats.student_interval(values)
    return interval({"mean": round(found.point, 9) + 0.0, "low": found.low, "high": found.high})


def summary(report: Mapping[str, Any], speed: float | None = None) -> str:
    """The end of a run as a table: returns by role and of everybody playing a baseline, score, metrics, steps/s.

    `report` is an evaluation.json: `return` with mean, low, high and episodes, `metrics`, `scores` by role and `together`, of all,
    `baselines` and why some were `refused`. Of a run's own setting also `checkpoint` and `step`, every one of its `checkpoints`, how
    far the `known` answer is, and the `recipe` that finds it.
    """
    own = f"learned ({report['checkpoint']}, step {report['step']:,})" if "checkpoint" in report else "learned"
    played = {own: report, **report["baselines"]}
    rows = [[name, interval(found["return"])] for name, found in played.items()]
    values = [found["metrics"] for found in played.values()]
    text = [players(["everybody plays", "return, mean [95 % interval]"], rows, list(report["metrics"]), values)]
    text += scores(report)
    text += checkpoints(report)
    text += answers(report)
    text += exploited(report)
    speeds = "" if speed is None else f"   env steps/s: {speed:,.0f}"
    return "\n".join([*text, f"episodes: {report['return']['episodes']:,}, of seeds that nothing was trained or chosen on{speeds}"])


def checkpoints(report: Mapping[str, Any]) -> list[str]:
    """A line for every checkpoint of a run, the reported one first; one line where all learn for themselves, which has no best."""
    found = report.get("checkpoints", {})
    if set(found) == {"last"}:
        return (
            ["no best policy: none is chosen where several learn for themselves, the last is what was learned"]
            if report["learners"] > 1
            else []
        )
    if len({kept["step"] for kept in found.values()}) < 2:
        return []
    lines = []
    for name, kept in found.items():
        score = (kept["score"] or {}).get("mean")
        scored = "" if score is None else f", score {number(score)}"
        lines.append(f"{name} policy, step {kept['step']:,}: return {number(kept['return']['mean'])}{scored}")
    return lines


ANSWERS = {"optimum": "optimum", "equilibrium": "equilibrium", "elsewhere": "equilibrium of all, others do not play it here"}
"""What a kind of known answer is called."""


def answers(report: Mapping[str, Any]) -> list[str]:
    """A line for every metric whose value is known where all play the equilibrium or the optimum, and which recipe is made to find it."""
    lines = []
    for name, found in report.get("known", {}).items():
        learned, known = found["learned"], found["known"]
        off = f"off by {number(abs(learned - known))}" + (f" ({abs(learned / known - 1):.0%})" if known else "")
        reached = ": not reached" if found["far"] else ""
        said = f"{number(learned)} +- {number(found['error'])}"
        lines.append(f"known answer ({ANSWERS[found['kind']]}): {name} {number(known)}, learned {said}, {off}{reached}")
    if any(found["far"] for found in report.get("known", {}).values()):
        recipe = report.get("recipe")
        lines.append(f"made to find it: marl train {recipe}" if recipe else "no experiment here is made to find it")
    return lines


def scores(report: Mapping[str, Any]) -> list[str]:
    """A line for the score of every role and of all together, or why there is none."""
    text, whole = [], {} if report["together"] is None else {"all": report["together"]}
    for role, score in (report["scores"] | whole).items():
        against = f"{score['naive_name']} = 0, {score['against']['name']} = 1, {score['kind']}"
        text.append(
            f"score of {role}: {interval(score)} ({against})" if score["mean"] is not None else f"no score of {role}: {score['reason']}"
        )
    return text


def exploited(report: Mapping[str, Any]) -> list[str]:
    """A line for what a best response of every role gains over the policies as they draw, and one over their modes."""
    told = {"drawn": "as they draw", "mode": "at their mode"}
    return [
        f"a best response of {role} to policies {told[way]} gains at least {interval(gain)} over {number(gain['present'])}"
        for role, gains in report.get("exploitability", {}).items()
        for way, gain in gains.items()
    ]


def drawn(report: Mapping[str, Any]) -> list[str]:
    """How the policies acted, where they drew, and why some of them did not."""
    if not report.get("sample"):
        return []
    return ["policies drew from their distributions", *(f"{part} acted at its mode: {why}" for part, why in report["certain"].items())]
